// Builds small ELF files, right ones and wrong ones.

import Foundation

/// A kernel image of one segment and the direct-entry note, every field of which can be changed before it is written.
struct TestELF {
    struct Segment {
        var address: UInt64
        var bytes: [UInt8]
        var fileSize: UInt64?
        var memorySize: UInt64?
        var offset: UInt64?
    }

    var magic: [UInt8] = [0x7f, 0x45, 0x4c, 0x46]
    var elfClass: UInt8 = 2
    var machine: UInt16 = 62
    var type: UInt16 = 2
    var entry: UInt64 = 0x20_0000
    var segments = [Segment(address: 0x20_0000, bytes: [0xf4, 0xeb, 0xfd])]
    var noteEntry: UInt64? = 0x20_0000
    var noteRoot: UInt64 = 0x20_0000
    /// Program headers claimed; nil: as many as there are.
    var headerCount: UInt16?
    var headerOffset: UInt64 = 64

    /// The file's bytes.
    func bytes() -> [UInt8] {
        func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
            withUnsafeBytes(of: value.littleEndian) { Array($0) }
        }
        var note: [UInt8] = []
        if let noteEntry {
            note = little(UInt32(8)) + little(UInt32(16)) + little(UInt32(1)) + Array("Vitrine\0".utf8)
            note += little(noteEntry) + little(noteRoot)
        }
        let count = segments.count + (note.isEmpty ? 0 : 1)
        var file = magic + [elfClass, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        file += little(type) + little(machine) + little(UInt32(1)) + little(entry) + little(headerOffset)
        file += little(UInt64(0)) + little(UInt32(0)) + little(UInt16(64)) + little(UInt16(56))
        file += little(headerCount ?? UInt16(count)) + little(UInt16(0)) + little(UInt16(0)) + little(UInt16(0))
        var offset = UInt64(64 + 56 * count)
        var contents: [UInt8] = []
        func header(_ kind: UInt32, _ address: UInt64, _ at: UInt64, _ fileSize: UInt64, _ memorySize: UInt64) {
            file += little(kind) + little(UInt32(7)) + little(at) + little(address) + little(address)
            file += little(fileSize) + little(memorySize) + little(UInt64(4096))
        }
        for segment in segments {
            let size = UInt64(segment.bytes.count)
            header(1, segment.address, segment.offset ?? offset, segment.fileSize ?? size, segment.memorySize ?? size)
            contents += segment.bytes
            offset += size
        }
        if !note.isEmpty {
            header(4, 0, offset, UInt64(note.count), UInt64(note.count))
            contents += note
        }
        return file + contents
    }

    /// Writes the file and gives its path.
    func write(in folder: URL, _ name: String = "kernel.elf", truncatedTo count: Int? = nil) throws -> String {
        let url = folder.appending(path: name)
        try Data(bytes().prefix(count ?? .max)).write(to: url)
        return url.path
    }
}

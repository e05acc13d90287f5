// Cores as a test wants them, byte by byte.

import Addresses
import Cores
import Glibc

/// Builds an ELF core.
struct TestCore {
    struct Segment {
        var type: UInt32 = 1
        var offset: UInt64 = 0
        var virtual: UInt64 = 0
        var physical: UInt64 = 0
        var fileSize: UInt64 = 0
        var memorySize: UInt64?
    }

    var is64Bit = true
    var machine: UInt16 = 62
    var type: UInt16 = 4
    var segments: [Segment] = []
    var entrySize: UInt16?
    var count: UInt16?
    var programHeaders: UInt64?
    var sections: UInt64 = 0
    /// What lies at which place in the file.
    var contents: [(offset: Int, bytes: [UInt8])] = []

    /// The file, grown to `size` at least.
    func bytes(size: Int = 0) -> [UInt8] {
        let wide = is64Bit
        let table = programHeaders ?? (wide ? 64 : 52)
        var head: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        head += little(type) + little(machine) + little(1 as UInt32)
        head += address(0) + address(table) + address(sections) + little(0 as UInt32)
        head += little(UInt16(wide ? 64 : 52)) + little(entrySize ?? (wide ? 56 : 32))
        head += little(count ?? UInt16(segments.count)) + little(0 as UInt16) + little(0 as UInt16)
        head += little(0 as UInt16)
        var file = head
        for segment in segments {
            let memory = segment.memorySize ?? segment.fileSize
            let numbers =
                address(segment.offset) + address(segment.virtual) + address(segment.physical)
                + address(segment.fileSize) + address(memory)
            file += little(segment.type)
            file +=
                wide ? little(4 as UInt32) + numbers + address(0) : numbers + little(4 as UInt32) + little(0 as UInt32)
        }
        for (offset, bytes) in contents {
            if file.count < offset + bytes.count {
                file += [UInt8](repeating: 0, count: offset + bytes.count - file.count)
            }
            file.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
        if file.count < size { file += [UInt8](repeating: 0, count: size - file.count) }
        return file
    }

    private func address(_ number: UInt64) -> [UInt8] {
        is64Bit ? little(number) : little(UInt32(truncatingIfNeeded: number))
    }

    /// A note as QEMU writes it, with `cr` as control registers.
    static func note(
        name: String = "QEMU", type: UInt32 = 0, version: UInt32 = 1, size: UInt32 = 440, actual: Int? = nil,
        cr: [UInt64] = [0x8005_0033, 0, 0xdead_b000, 0x1000, 0x20]
    ) -> [UInt8] {
        var body = little(version) + little(size)
        for index in 0..<18 as Range<UInt64> { body += little(index) }
        for index in 0..<10 as Range<UInt32> {
            body += little(index) + little(0xffff as UInt32) + little(0x00a0_9b00 as UInt32) + little(0 as UInt32)
            body += little(UInt64(index) << 32)
        }
        for value in cr { body += little(value) }
        body += little(0x1234 as UInt64)
        if let actual { body = Array(body.prefix(actual)) }
        let text = Array(name.utf8) + [0]
        let padded = text + [UInt8](repeating: 0, count: (4 - text.count % 4) % 4)
        return little(UInt32(text.count)) + little(UInt32(body.count)) + little(type) + padded + body
            + [UInt8](repeating: 0, count: (4 - body.count % 4) % 4)
    }
}

func little(_ number: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
}

/// A file that goes away with its owner.
final class TemporaryFile {
    let path: String

    init(_ bytes: [UInt8]) {
        var name = Array("/tmp/vitrine-core-XXXXXX".utf8CString)
        let file = mkstemp(&name)
        path = name.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { write(file, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            if count <= 0 { break }
            done += count
        }
        close(file)
    }

    deinit { unlink(path) }
}

/// Opens a core of these bytes; the file itself is gone by then.
func open(_ bytes: [UInt8]) throws(CoreError) -> CoreFile {
    let file = TemporaryFile(bytes)
    return try CoreFile(path: file.path)
}

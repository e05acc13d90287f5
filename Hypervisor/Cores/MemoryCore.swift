// Writes a machine's whole memory as an ELF core (gABI chapter 5; the notes are QEMU's and Linux's).
//
//     a file     header | program headers | notes | slot ... slot     zero pages are holes
//     a stream   header | program headers | notes | run ... run       zero pages are the rest of a segment's memory
//
// A segment's bytes beyond those in the file are zeros (gABI, p_memsz): so a stream carries only what is not zero, and needs
// no seeking.

import Addresses

/// A run of pages that are not all zeros.
public struct CoreRun: Hashable, Sendable {
    /// The first address, a multiple of 4096.
    public var start: GPA
    /// The size in bytes, a multiple of 4096.
    public var size: UInt64

    /// A run.
    public init(start: GPA, size: UInt64) {
        self.start = start
        self.size = size
    }
}

/// A core of everything: registers and memory.
public struct MemoryCore: Sendable {
    /// Where a core goes.
    public enum Shape: Sendable {
        /// A file that can be written anywhere and be as long as is said: each memory slot is a segment.
        case file
        /// A pipe.
        case stream
    }

    /// A piece of the core.
    public enum Piece {
        /// Bytes of its beginning.
        case head([UInt8])
        /// Memory.
        case memory(CoreRun)
    }

    private var head: [UInt8] = []
    private let base: UInt64
    private let segments: [(run: CoreRun, memory: UInt64, offset: UInt64)]
    private let runs: [CoreRun]
    /// The size of the whole core in bytes.
    public let size: UInt64

    /// Zero pages between two runs that a stream carries rather than beginning a new segment (56 bytes and a seek for
    /// every reader), in bytes.
    private static let gap: UInt64 = 16 * 4096

    /// Lays a core out.
    ///
    /// - Parameters:
    ///   - shape: where it goes.
    ///   - slots: RAM, by ascending address.
    ///   - runs: what of it is not zero, by ascending address, none across a slot's end.
    ///   - notes: registers and layout; its pages and ranges are not used.
    public init(_ shape: Shape, slots: [CoreRun], runs: [CoreRun], notes: CoreWriter) {
        let pieces =
            shape == .file ? slots.map { ($0, $0.size) } : MemoryCore.streamed(slots: slots, runs: runs)
        let machine = notes.machine
        let notes = notes.memoryNotes
        let count = 1 + pieces.count
        let hasSection = count >= 0xffff
        let notesAt = 64 + 56 * UInt64(count)
        let sectionAt = (notesAt + UInt64(notes.count) + 7) & ~7
        base = (sectionAt + (hasSection ? 64 : 0) + 4095) & ~4095
        var offset = base
        var segments: [(run: CoreRun, memory: UInt64, offset: UInt64)] = []
        for (run, memory) in pieces {
            segments.append((run, memory, offset))
            offset += run.size
        }
        size = offset
        self.segments = segments
        self.runs = shape == .file ? runs : pieces.map(\.0)
        var header = CoreHeader(machine: machine, segments: count, sectionAt: hasSection ? sectionAt : nil)
        header.segment(ProgramHeader.note, offset: notesAt, physical: 0, fileSize: UInt64(notes.count))
        for segment in segments {
            header.segment(
                ProgramHeader.load, offset: segment.offset, physical: segment.run.start.rawValue,
                fileSize: segment.run.size, memorySize: segment.memory)
        }
        header.bytes += notes
        if hasSection { header.section(at: sectionAt, segments: count) }
        header.bytes += [UInt8](repeating: 0, count: Int(base) - header.bytes.count)
        head = header.bytes
    }

    /// Runs with the zeros that follow each: every slot begins with one, of zeros if need be.
    private static func streamed(slots: [CoreRun], runs: [CoreRun]) -> [(CoreRun, UInt64)] {
        var result: [(CoreRun, UInt64)] = []
        var next = 0
        for slot in slots {
            let end = slot.start &+ slot.size
            var inside: [CoreRun] = []
            while next < runs.count, runs[next].start < end {
                let run = runs[next]
                next += 1
                if let last = inside.last, run.start &- (last.start &+ last.size) <= gap {
                    inside[inside.count - 1].size = run.start &+ run.size &- last.start
                } else {
                    inside.append(run)
                }
            }
            if inside.first.map({ $0.start != slot.start }) ?? true {
                inside.insert(CoreRun(start: slot.start, size: 4096), at: 0)
            }
            for (index, run) in inside.enumerated() {
                let following = index + 1 < inside.count ? inside[index + 1].start : end
                result.append((run, following &- run.start))
            }
        }
        return result
    }

    /// The bytes before the memory.
    public var headSize: UInt64 { base }

    /// Where the byte of an address is in the core; nil if it is in no segment's part of it.
    public func offset(of address: GPA) -> UInt64? {
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            if segments[middle].run.start <= address { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return nil }
        let segment = segments[low - 1]
        let inside = address &- segment.run.start
        return inside < segment.run.size ? segment.offset + inside : nil
    }

    /// Hands over the core piece by piece, by ascending offset. In a stream each begins where the last one ended; in a
    /// file what lies between is a hole.
    public func write<Failure: Error>(
        _ body: (UInt64, Piece) throws(Failure) -> Void
    ) throws(Failure) {
        try body(0, .head(head))
        for run in runs {
            guard let offset = offset(of: run.start) else { continue }
            try body(offset, .memory(run))
        }
    }
}

/// The first bytes of a core: ELF header and program headers.
struct CoreHeader {
    var bytes: [UInt8] = []

    /// - Parameter sectionAt: where the section header is that says how many segments there are, if they are too many.
    init(machine: CoreWriter.Machine, segments: Int, sectionAt: UInt64?) {
        bytes = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        bytes += Cores.bytes(4 as UInt16) + Cores.bytes(machine.rawValue) + Cores.bytes(1 as UInt32)
        bytes += Cores.bytes(0 as UInt64) + Cores.bytes(64 as UInt64) + Cores.bytes(sectionAt ?? 0)
        bytes += Cores.bytes(0 as UInt32) + Cores.bytes(64 as UInt16) + Cores.bytes(56 as UInt16)
        // PN_XNUM: from 65,535 segments on the number is in the first section header's sh_info.
        bytes += Cores.bytes(UInt16(sectionAt == nil ? segments : 0xffff)) + Cores.bytes(64 as UInt16)
        bytes += Cores.bytes(UInt16(sectionAt == nil ? 0 : 1)) + Cores.bytes(0 as UInt16)
    }

    /// - Parameter memorySize: `fileSize`, if it is not given.
    mutating func segment(
        _ type: UInt32, offset: UInt64, physical: UInt64, fileSize: UInt64, memorySize: UInt64? = nil
    ) {
        bytes += Cores.bytes(type) + Cores.bytes(4 as UInt32)
        for number in [offset, 0, physical, fileSize, memorySize ?? fileSize, 0] as [UInt64] {
            bytes += Cores.bytes(number)
        }
    }

    mutating func section(at offset: UInt64, segments: Int) {
        bytes += [UInt8](repeating: 0, count: Int(offset) - bytes.count + 44)
        bytes += Cores.bytes(UInt32(segments)) + [UInt8](repeating: 0, count: 16)
    }
}

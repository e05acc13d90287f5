// Writes a dump of page tables that everything which reads cores reads back.
//
//     ELF header | program headers | notes | (section header, if there are very many segments) | pages
//
// RAM has a segment without contents for each range; the pages of tables have one with contents for each run.

import Addresses
import SystemCalls

/// A dump: the tables of a machine, where its RAM is, and its CPUs' registers.
public struct CoreWriter: Sendable {
    /// Where RAM is.
    public var ram: [ClosedRange<GPA>] = []
    /// The pages to save, by address.
    public var pages: [GPA: [UInt8]] = [:]
    /// The CPUs' registers.
    public var cpus: [CoreCPU] = []
    /// What QEMU's notes leave out, for each CPU.
    public var savedCPUs: [SavedCPU] = []
    /// The layout's name, if it is known.
    public var layout: String?
    /// What an ARM machine's CPUs translate by; then there are no `cpus`.
    public var armCPUs: [SavedARMCPU] = []
    /// The core's machine.
    public var machine = Machine.x86_64

    /// Machines that cores are made for (the gABI's e_machine).
    public enum Machine: UInt16, Sendable {
        /// EM_386: CPU 0 is not in long mode.
        case i386 = 3
        /// EM_ARM.
        case arm = 40
        /// EM_X86_64: CPU 0 is in long mode.
        case x86_64 = 62
    }

    /// An empty dump.
    public init() {}

    private var notes: [UInt8] {
        func note(_ owner: [UInt8], _ type: UInt64, _ body: [UInt8]) -> [UInt8] {
            func padded(_ part: [UInt8]) -> [UInt8] { part + [UInt8](repeating: 0, count: (4 - part.count % 4) % 4) }
            return Cores.bytes(UInt32(owner.count)) + Cores.bytes(UInt32(body.count)) + Cores.bytes(UInt32(type))
                + padded(owner) + padded(body)
        }
        var notes: [UInt8] = []
        for cpu in cpus { notes += note(Array("QEMU\0".utf8), 0, cpu.descriptor) }
        for cpu in savedCPUs { notes += note(SavedCPU.owner, SavedCPU.cpuType, cpu.descriptor) }
        for cpu in armCPUs { notes += note(SavedCPU.owner, SavedARMCPU.type, cpu.descriptor) }
        if let layout { notes += note(SavedCPU.owner, SavedCPU.layoutType, Array(layout.utf8.prefix(64))) }
        return notes
    }

    /// The pages in runs.
    private var runs: [(start: GPA, count: UInt64)] {
        var runs: [(start: GPA, count: UInt64)] = []
        for page in pages.keys.sorted() {
            if let last = runs.last, last.start &+ last.count << 12 == page {
                runs[runs.count - 1].count += 1
            } else {
                runs.append((page, 1))
            }
        }
        return runs
    }

    /// The file's bytes, piece by piece.
    public func write(_ body: ([UInt8]) throws(Errno) -> Void) throws(Errno) {
        let notes = notes
        let runs = runs
        let count = 1 + ram.count + runs.count
        // PN_XNUM: from 65,535 segments on the number is in the first section header's sh_info.
        let hasSection = count >= 0xffff
        let notesAt = 64 + 56 * UInt64(count)
        let sectionAt = (notesAt + UInt64(notes.count) + 7) & ~7
        var offset = (sectionAt + (hasSection ? 64 : 0) + 4095) & ~4095
        var head: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        head += Cores.bytes(4 as UInt16) + Cores.bytes(machine.rawValue) + Cores.bytes(1 as UInt32)
        head += Cores.bytes(0 as UInt64) + Cores.bytes(64 as UInt64) + Cores.bytes(hasSection ? sectionAt : 0)
        head += Cores.bytes(0 as UInt32) + Cores.bytes(64 as UInt16) + Cores.bytes(56 as UInt16)
        head += Cores.bytes(UInt16(hasSection ? 0xffff : count)) + Cores.bytes(64 as UInt16)
        head += Cores.bytes(UInt16(hasSection ? 1 : 0)) + Cores.bytes(0 as UInt16)
        func header(_ type: UInt32, offset: UInt64, physical: UInt64, fileSize: UInt64, memorySize: UInt64) {
            head += Cores.bytes(type) + Cores.bytes(4 as UInt32)
            for number in [offset, 0, physical, fileSize, memorySize, 0] as [UInt64] { head += Cores.bytes(number) }
        }
        header(
            ProgramHeader.note, offset: notesAt, physical: 0, fileSize: UInt64(notes.count),
            memorySize: UInt64(notes.count))
        for range in ram {
            header(
                ProgramHeader.load, offset: 0, physical: range.lowerBound.rawValue, fileSize: 0,
                memorySize: (range.upperBound &- range.lowerBound) &+ 1)
        }
        let firstPage = offset
        for run in runs {
            let size = run.count << 12
            header(
                ProgramHeader.load, offset: offset, physical: run.start.rawValue, fileSize: size, memorySize: size)
            offset += size
        }
        head += notes
        if hasSection {
            head += [UInt8](repeating: 0, count: Int(sectionAt) - head.count + 44)
            head += Cores.bytes(UInt32(count)) + [UInt8](repeating: 0, count: 16)
        }
        head += [UInt8](repeating: 0, count: Int(firstPage) - head.count)
        try body(head)
        for page in pages.keys.sorted() {
            guard let contents = pages[page] else { continue }
            try body(Array((contents + [UInt8](repeating: 0, count: 4096)).prefix(4096)))
        }
    }
}

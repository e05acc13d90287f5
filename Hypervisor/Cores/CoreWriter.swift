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

    private var notes: [UInt8] { notes(withStatus: false) }

    /// The notes of a core that has all memory: debuggers read those as well.
    var memoryNotes: [UInt8] { notes(withStatus: true) }

    private func notes(withStatus: Bool) -> [UInt8] {
        func note(_ owner: [UInt8], _ type: UInt64, _ body: [UInt8]) -> [UInt8] {
            func padded(_ part: [UInt8]) -> [UInt8] { part + [UInt8](repeating: 0, count: (4 - part.count % 4) % 4) }
            return Cores.bytes(UInt32(owner.count)) + Cores.bytes(UInt32(body.count)) + Cores.bytes(UInt32(type))
                + padded(owner) + padded(body)
        }
        var notes: [UInt8] = []
        if withStatus {
            for (number, cpu) in cpus.enumerated() {
                notes += note(Array("CORE\0".utf8), CoreCPU.statusType, cpu.processStatus(number: number))
            }
        }
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
        var header = CoreHeader(machine: machine, segments: count, sectionAt: hasSection ? sectionAt : nil)
        header.segment(ProgramHeader.note, offset: notesAt, physical: 0, fileSize: UInt64(notes.count))
        for range in ram {
            header.segment(
                ProgramHeader.load, offset: 0, physical: range.lowerBound.rawValue, fileSize: 0,
                memorySize: (range.upperBound &- range.lowerBound) &+ 1)
        }
        let firstPage = offset
        for run in runs {
            let size = run.count << 12
            header.segment(ProgramHeader.load, offset: offset, physical: run.start.rawValue, fileSize: size)
            offset += size
        }
        header.bytes += notes
        if hasSection { header.section(at: sectionAt, segments: count) }
        header.bytes += [UInt8](repeating: 0, count: Int(firstPage) - header.bytes.count)
        try body(header.bytes)
        for page in pages.keys.sorted() {
            guard let contents = pages[page] else { continue }
            try body(Array((contents + [UInt8](repeating: 0, count: 4096)).prefix(4096)))
        }
    }
}

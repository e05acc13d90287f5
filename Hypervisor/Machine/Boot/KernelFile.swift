// A kernel's ELF file: what goes where, and how it wants to be entered. Everything in the file is checked before a byte
// of guest memory is written.

import Addresses
import CSystem
import GuestMemory
import Layouts

/// How a kernel wants to be entered.
package enum KernelEntry: Equatable {
    /// In 64-bit mode, with the image's own page tables.
    case direct(entry: UInt64, pml4: UInt64)
    /// In 32-bit protected mode without paging, as Xen's PVH.
    case pvh(entry: UInt32)
}

/// The checked headers of a kernel.
package struct KernelFile {
    /// A part of the file that goes to memory; what is not in the file is zeros.
    package struct Segment: Equatable {
        package let fileOffset: UInt64
        package let fileSize: UInt64
        package let address: UInt64
        package let memorySize: UInt64
        var end: UInt64 { address + memorySize }
    }

    let file: InputFile
    /// By ascending address.
    package let segments: [Segment]
    package let entry: KernelEntry

    /// One past the last byte of the kernel.
    var end: UInt64 { segments.last?.end ?? 0 }

    /// More program headers than this are refused; a linker makes about ten.
    private static let headerLimit = 512
    /// More bytes of notes than this are refused.
    private static let noteLimit: UInt64 = 65536

    /// Reads and checks the headers.
    ///
    /// - Parameter plan: the RAM that the segments must lie in.
    package init(_ file: InputFile, plan: MemoryPlan) throws(MachineError) {
        self.file = file
        let headers = try KernelFile.programHeaders(file)
        segments = try KernelFile.segments(headers, file, plan)
        entry = try KernelFile.entry(headers, file, segments)
    }

    private static func programHeaders(_ file: InputFile) throws(MachineError) -> [Elf64_Phdr] {
        let size = MemoryLayout<Elf64_Ehdr>.size
        let start = try file.bytes(at: 0, count: Int(min(file.size, UInt64(size))), "the ELF header")
        let what = "kernel \(file.path)"
        guard start.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else { throw .input("\(what) is not an ELF file") }
        guard start.count >= 20 else { throw .input("\(what) is truncated: it ends within the ELF header") }
        guard start[4] == UInt8(ELFCLASS64) else {
            throw .input("\(what) is a 32-bit ELF file: a 64-bit one (ELFCLASS64) for x86-64 is needed")
        }
        guard start[5] == UInt8(ELFDATA2LSB), start[18] == UInt8(EM_X86_64), start[19] == 0 else {
            let machine = UInt16(start[18]) | UInt16(start[19]) << 8
            throw .input("\(what) is for another processor (ELF machine \(machine)): x86-64 (62) is needed")
        }
        guard start.count == size else { throw .input("\(what) is truncated: it ends within the ELF header") }
        let header = start.withUnsafeBytes { $0.loadUnaligned(as: Elf64_Ehdr.self) }
        guard header.e_type == UInt16(ET_EXEC) || header.e_type == UInt16(ET_DYN) else {
            throw .input("\(what) is not an executable (ELF type \(header.e_type)): link it first")
        }
        let count = Int(header.e_phnum)
        guard count > 0 else { throw .input("\(what) has no program headers: nothing in it is to be loaded") }
        guard count <= headerLimit, Int(header.e_phentsize) == MemoryLayout<Elf64_Phdr>.size else {
            throw .input(
                "\(what) has \(count) program headers of \(header.e_phentsize) bytes: at most \(headerLimit) of 56")
        }
        let bytes = try file.bytes(
            at: header.e_phoff, count: count * MemoryLayout<Elf64_Phdr>.size, "the program headers")
        return bytes.withUnsafeBytes { buffer in
            (0..<count).map {
                buffer.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Elf64_Phdr>.size, as: Elf64_Phdr.self)
            }
        }
    }

    private static func segments(
        _ headers: [Elf64_Phdr], _ file: InputFile, _ plan: MemoryPlan
    ) throws(MachineError) -> [Segment] {
        var segments: [Segment] = []
        for header in headers where header.p_type == UInt32(PT_LOAD) && header.p_memsz != 0 {
            let what = "kernel \(file.path): the segment at GPA \(GPA(header.p_paddr).hex), \(header.p_memsz) bytes,"
            let (fileEnd, fileOverflow) = header.p_offset.addingReportingOverflow(header.p_filesz)
            let (end, overflow) = header.p_paddr.addingReportingOverflow(header.p_memsz)
            guard !fileOverflow, !overflow else { throw .input("\(what) runs past the end of the address space") }
            guard header.p_filesz <= header.p_memsz else {
                throw .input("\(what) is smaller than its \(header.p_filesz) bytes in the file")
            }
            guard fileEnd <= file.size else {
                throw .input("\(what) is truncated: it ends at offset \(fileEnd) of a file of \(file.size) bytes")
            }
            guard plan.isRAM(header.p_paddr, end) else {
                throw .input("\(what) does not lie in RAM: the guest has \(plan.text)")
            }
            for (start, limit, name) in plan.reserved where header.p_paddr < limit && start < end {
                throw .input("\(what) overlaps \(name) at \(GPA(start).hex)-\(GPA(limit - 1).hex)")
            }
            segments.append(
                Segment(
                    fileOffset: header.p_offset, fileSize: header.p_filesz, address: header.p_paddr,
                    memorySize: header.p_memsz))
        }
        guard !segments.isEmpty else { throw .input("kernel \(file.path) has no segment to load") }
        segments.sort { $0.address < $1.address }
        for (first, second) in zip(segments, segments.dropFirst()) where second.address < first.end {
            throw .input(
                "kernel \(file.path): the segment at GPA \(GPA(second.address).hex) overlaps the one at "
                    + GPA(first.address).hex)
        }
        return segments
    }

    private static func entry(
        _ headers: [Elf64_Phdr], _ file: InputFile, _ segments: [Segment]
    ) throws(MachineError) -> KernelEntry {
        var pvh: UInt64?
        for header in headers where header.p_type == UInt32(PT_NOTE) && header.p_filesz != 0 {
            guard header.p_filesz <= noteLimit else {
                throw .input("kernel \(file.path) has \(header.p_filesz) bytes of notes: at most \(noteLimit)")
            }
            let bytes = try file.bytes(at: header.p_offset, count: Int(header.p_filesz), "the notes")
            for note in ELFNotes(bytes, alignment: header.p_align == 8 ? 8 : 4) {
                if note.owner == "\(Contract.noteOwner)", note.type == Contract.noteDirectEntry {
                    guard let entry = note.word(0), let pml4 = note.word(8) else {
                        throw .input("kernel \(file.path): its note Vitrine 1 must have two words of 8 bytes")
                    }
                    try check(entry, "entry", file, segments)
                    guard pml4 & 4095 == 0,
                        segments.contains(where: { $0.address <= pml4 && pml4 < $0.end && $0.end - pml4 >= 4096 })
                    else {
                        throw .input(
                            "kernel \(file.path): its boot page tables at \(GPA(pml4).hex) are not a page of the image")
                    }
                    return .direct(entry: entry, pml4: pml4)
                }
                if note.owner == "Xen", note.type == Contract.noteXenPhys32Entry {
                    pvh = note.word(0) ?? note.halfWord(0).map { UInt64($0) }
                }
            }
        }
        guard let pvh else {
            throw .input(
                "kernel \(file.path) does not say how it is entered: it needs an ELF note Vitrine 1 (64-bit entry) or Xen "
                    + "18 (PVH entry); docs/guest-contract.md describes both")
        }
        try check(pvh, "PVH entry", file, segments)
        guard let entry = UInt32(exactly: pvh) else {
            throw .input("kernel \(file.path): its PVH entry \(GPA(pvh).hex) is not below 4 GiB")
        }
        return .pvh(entry: entry)
    }

    private static func check(
        _ entry: UInt64, _ what: String, _ file: InputFile, _ segments: [Segment]
    ) throws(MachineError) {
        guard entry != 0 else { throw .input("kernel \(file.path) has no \(what): its note says 0") }
        guard segments.contains(where: { $0.address <= entry && entry < $0.end }) else {
            throw .input("kernel \(file.path): its \(what) \(GPA(entry).hex) lies in none of its segments")
        }
    }

    /// Copies the segments into the guest. Memory there is zeros.
    func load(into ram: GuestRAM) throws(MachineError) {
        for segment in segments where segment.fileSize > 0 {
            var offset = segment.fileOffset
            guard let pieces = ram.pieces(at: GPA(segment.address), count: segment.fileSize) else {
                throw .input("kernel \(file.path): the segment at GPA \(GPA(segment.address).hex) does not lie in RAM")
            }
            for piece in pieces {
                try file.read(at: offset, into: piece, "the segment at GPA \(GPA(segment.address).hex)")
                offset += UInt64(piece.count)
            }
        }
    }
}

extension MemoryPlan {
    /// Whether [start, end) is RAM.
    func isRAM(_ start: UInt64, _ end: UInt64) -> Bool {
        end <= lowEnd || (start >= Contract.holeEnd && end <= Contract.holeEnd + highSize)
    }

    /// Where RAM is, in words.
    var text: String {
        let low = "RAM from 0 to \(GPA(lowEnd).hex)"
        return highSize == 0 ? low : low + " and from 0x100000000 to \(GPA(Contract.holeEnd + highSize).hex)"
    }

    /// What the monitor puts into low memory, and the arena: [start, end), name.
    var reserved: [(UInt64, UInt64, String)] {
        var list: [(UInt64, UInt64, String)] = [
            (Contract.bootGDT, Contract.bootGDT + 0x100, "the boot GDT"),
            (0x7000, 0x8000, "the boot stack"),
            (startInfo.lowerBound, startInfo.upperBound, "the start info"),
        ]
        if let arena { list.append((arena.start, arena.start + arena.size, "the page-table arena")) }
        return list
    }
}

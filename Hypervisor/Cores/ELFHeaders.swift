// The headers of an ELF core (System V ABI, "Object Files"; elf(5)), 32-bit and 64-bit, little-endian.

import SystemCalls

/// A segment as its program header describes it. Nothing is checked but that the header was there.
struct ProgramHeader {
    /// PT_LOAD or PT_NOTE.
    let type: UInt32
    let offset: UInt64
    let virtualAddress: UInt64
    let physicalAddress: UInt64
    let fileSize: UInt64
    let memorySize: UInt64

    /// PT_LOAD.
    static let load: UInt32 = 1
    /// PT_NOTE.
    static let note: UInt32 = 4
}

/// What the headers of a core say.
struct ELFHeaders {
    let is64Bit: Bool
    let machine: UInt16
    let segments: [ProgramHeader]

    /// EM_386, EM_ARM, EM_X86_64.
    static let machines: [UInt16: String] = [3: "i386", 40: "arm", 62: "x86-64"]
    /// More program headers than any machine's memory needs; each is 32 or 56 bytes.
    static let segmentLimit: UInt64 = 1 << 20

    /// Reads the headers of a file of `size` bytes.
    init(_ file: borrowing FileDescriptor, size: UInt64) throws(CoreError) {
        let head = ByteReader(bytes: try file.bytes(at: 0, count: min(64, size), what: "the ELF header", size: size))
        try ELFHeaders.checkMagic(head)
        guard let type = head.half(16), let machine = head.half(18) else {
            throw .truncated("the ELF header", end: 52, size: size)
        }
        is64Bit = head.bytes[4] == 2
        let needed: UInt64 = is64Bit ? 64 : 52
        guard size >= needed else { throw .truncated("the ELF header", end: needed, size: size) }
        guard type == 4 else { throw .format("an ELF file, but of type \(type) and no core (4)") }
        self.machine = UInt16(machine)
        guard ELFHeaders.machines[self.machine] != nil else {
            throw .format("a core of machine \(machine), which is neither x86 nor ARM")
        }
        let wide = is64Bit
        guard let table = wide ? head.double(32) : head.word(28), let sections = wide ? head.double(40) : head.word(32),
            let entrySize = head.half(wide ? 54 : 42), var count = head.half(wide ? 56 : 44)
        else { throw .truncated("the ELF header", end: needed, size: size) }
        // PN_XNUM: more than 65,534 segments; the number is in the first section header's sh_info.
        if count == 0xffff {
            let place = sections.addingReportingOverflow(wide ? 44 : 28)
            guard !place.overflow else { throw .overflow("the section header table") }
            let info = try file.bytes(at: place.partialValue, count: 4, what: "the first section header", size: size)
            count = ByteReader(bytes: info).word(0) ?? 0
        }
        let smallest: UInt64 = wide ? 56 : 32
        guard count == 0 || entrySize >= smallest else {
            throw .header("program headers of \(entrySize) bytes; they have at least \(smallest)")
        }
        guard count <= ELFHeaders.segmentLimit else { throw .header("\(count) program headers") }
        let bytes = try file.bytes(at: table, count: count * entrySize, what: "the program header table", size: size)
        let reader = ByteReader(bytes: bytes)
        segments = (0..<Int(count)).compactMap { index in
            ELFHeaders.programHeader(reader, at: index * Int(entrySize), is64Bit: wide)
        }
    }

    private static func programHeader(_ reader: ByteReader, at place: Int, is64Bit: Bool) -> ProgramHeader? {
        guard let type = reader.word(place) else { return nil }
        let offsets = is64Bit ? [8, 16, 24, 32, 40] : [4, 8, 12, 16, 20]
        let numbers = offsets.compactMap { reader.number(at: place + $0, size: is64Bit ? 8 : 4) }
        guard numbers.count == 5 else { return nil }
        return ProgramHeader(
            type: UInt32(type), offset: numbers[0], virtualAddress: numbers[1], physicalAddress: numbers[2],
            fileSize: numbers[3], memorySize: numbers[4])
    }

    /// Whether a file begins as an ELF file does.
    static func isELF(_ bytes: [UInt8]) -> Bool { bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46]) }

    private static func checkMagic(_ head: ByteReader) throws(CoreError) {
        guard isELF(head.bytes), head.bytes.count >= 16 else { throw .format("no ELF file") }
        guard head.bytes[4] == 1 || head.bytes[4] == 2 else {
            throw .format("an ELF file of class \(head.bytes[4]), neither 32-bit (1) nor 64-bit (2)")
        }
        guard head.bytes[5] == 1 else { throw .format("a big-endian ELF file; only little-endian ones are read") }
    }
}

extension FileDescriptor {
    /// `count` bytes at a place that `what` names; `size` is the file's.
    func bytes(at offset: UInt64, count: UInt64, what: String, size: UInt64) throws(CoreError) -> [UInt8] {
        let (end, overflow) = offset.addingReportingOverflow(count)
        guard !overflow else { throw .overflow(what) }
        guard end <= size, let length = Int(exactly: count) else { throw .truncated(what, end: end, size: size) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 16)
        defer { buffer.deallocate() }
        let done: Int
        do throws(Errno) {
            done = try read(at: offset, into: buffer)
        } catch {
            throw .call(error)
        }
        guard done == length else { throw .truncated(what, end: end, size: offset + UInt64(done)) }
        return Array(buffer)
    }
}

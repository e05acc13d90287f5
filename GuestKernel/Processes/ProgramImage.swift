// An ELF64 file, checked: what a program asks to have in memory; a static-PIE one of ours, or a static one of Linux's. Nothing in the file is believed: every offset,
// size and address is bounded before it is used, and sums that could overflow are reported.
//
// Source of the constants: System V ABI, "Object Files" and its AMD64 supplement (elf.h).

#if !hasFeature(Embedded)
    import Layouts
#endif

/// A program's file, its headers checked.
struct ProgramImage {
    /// One PT_LOAD segment; addresses are relative to where the program is loaded.
    struct Segment {
        var address: UInt64 = 0
        var memorySize: UInt64 = 0
        var fileOffset: UInt64 = 0
        var fileSize: UInt64 = 0
        var isWritable = false
        var isExecutable = false

        /// One past the last byte in memory.
        var end: UInt64 { address &+ memorySize }
    }

    /// Whose rules the file follows.
    enum Convention {
        /// Ours: static-PIE, relocated by the kernel, without thread-local storage.
        case own
        /// Linux's: at fixed addresses (ET_EXEC) or static-PIE; the program relocates itself.
        case linux
    }

    /// The most segments a program may have.
    static var segmentLimit: Int { 16 }
    static var pageSize: UInt64 { 4096 }

    /// The whole file.
    let file: UnsafeRawBufferPointer
    /// Where the program begins, relative to where it is loaded.
    private(set) var entry: UInt64 = 0
    private var segments = InlineArray<16, Segment>(repeating: Segment())
    private(set) var segmentCount = 0
    /// PT_GNU_RELRO: what is read-only after relocation; empty where there is none.
    private(set) var relocatedReadOnly: Range<UInt64> = 0..<0
    /// Where the relocations are in the file.
    private var relocations: (offset: UInt64, count: UInt64) = (0, 0)

    /// One past the program's last byte.
    private(set) var end: UInt64 = 0
    /// Whose rules it follows.
    let convention: Convention
    /// Whether its addresses are not relative to where it is loaded but absolute.
    private(set) var isFixed = false
    /// The program headers: their place in the file, and how many there are.
    private var headers: (offset: UInt64, count: UInt64) = (0, 0)

    subscript(segment index: Int) -> Segment { segments[index] }

    /// Checks a file.
    init(_ file: UnsafeRawBufferPointer, _ convention: Convention = .own) throws(ProgramError) {
        self.file = file
        self.convention = convention
        try readHeader()
        let dynamic = try readProgramHeaders()
        guard segmentCount > 0 else { throw .noSegments }
        guard isCode(entry) else { throw .entryOutsideCode(entry) }
        if dynamic.count > 0 { try readDynamicTable(at: dynamic.offset, count: dynamic.count) }
    }

    private func load<T: BitwiseCopyable>(_ offset: UInt64, as type: T.Type) -> T {
        file.loadUnaligned(fromByteOffset: Int(truncatingIfNeeded: offset), as: type)
    }

    private func isInFile(_ offset: UInt64, _ size: UInt64) -> Bool {
        let (end, overflow) = offset.addingReportingOverflow(size)
        return !overflow && end <= UInt64(file.count)
    }

    private mutating func readHeader() throws(ProgramError) {
        guard isInFile(0, 4), load(0, as: UInt32.self) == 0x464c_457f else { throw .notELF }
        guard isInFile(0, 64) else { throw .truncated(UInt64(file.count)) }
        guard load(4, as: UInt8.self) == 2 else { throw .not64Bit }
        guard load(5, as: UInt8.self) == 1, load(6, as: UInt8.self) == 1 else { throw .notLittleEndian }
        let machine = load(18, as: UInt16.self)
        guard machine == 62 else { throw .wrongMachine(UInt64(machine)) }
        let type = load(16, as: UInt16.self)
        isFixed = type == 2 && convention == .linux
        guard type == 3 || isFixed else { throw .notPositionIndependent(UInt64(type)) }
        entry = load(24, as: UInt64.self)
    }

    /// Reads the program headers; returns the place of the dynamic table and how many entries it has.
    private mutating func readProgramHeaders() throws(ProgramError) -> (offset: UInt64, count: UInt64) {
        let table = load(32, as: UInt64.self)
        let size = UInt64(load(54, as: UInt16.self))
        let count = UInt64(load(56, as: UInt16.self))
        guard count == 0 || size == 56 else { throw .programHeaderSize(size) }
        guard isInFile(table, count &* size) else { throw .programHeadersOutsideFile }
        headers = (table, count)
        var dynamic: (offset: UInt64, count: UInt64) = (0, 0)
        for index in 0..<count {
            let header = table &+ index &* size
            switch load(header, as: UInt32.self) {
            case 1: try addSegment(header)
            case 2 where convention == .own:
                dynamic = (load(header &+ 8, as: UInt64.self), load(header &+ 32, as: UInt64.self) / 16)
                guard isInFile(dynamic.offset, dynamic.count &* 16) else { throw .dynamicTable }
            case 3: throw .dynamicallyLinked
            case 7 where convention == .own: throw .threadLocalStorage
            case 0x6474_e552 where convention == .own:
                let start = load(header &+ 16, as: UInt64.self)
                let (end, overflow) = start.addingReportingOverflow(load(header &+ 40, as: UInt64.self))
                guard !overflow else { throw .segmentOverflows(start) }
                relocatedReadOnly = start..<end
            default: break
            }
        }
        return dynamic
    }

    private mutating func addSegment(_ header: UInt64) throws(ProgramError) {
        let flags = load(header &+ 4, as: UInt32.self)
        let segment = Segment(
            address: load(header &+ 16, as: UInt64.self), memorySize: load(header &+ 40, as: UInt64.self),
            fileOffset: load(header &+ 8, as: UInt64.self), fileSize: load(header &+ 32, as: UInt64.self),
            isWritable: flags & 2 != 0, isExecutable: flags & 1 != 0)
        guard segment.fileSize <= segment.memorySize else { throw .segmentFileLargerThanMemory(segment.address) }
        guard isInFile(segment.fileOffset, segment.fileSize) else { throw .segmentOutsideFile(segment.address) }
        guard !segment.address.addingReportingOverflow(segment.memorySize).overflow else {
            throw .segmentOverflows(segment.address)
        }
        guard segment.end <= OSv.programSize else { throw .tooLarge(segment.end) }
        guard segment.memorySize > 0 else { return }
        guard segment.address % Self.pageSize == segment.fileOffset % Self.pageSize || segment.fileSize == 0 else {
            throw .segmentMisaligned(segment.address)
        }
        guard segmentCount < Self.segmentLimit else { throw .tooManySegments }
        // A page belongs to one segment, or its protection would be two things at once.
        for index in 0..<segmentCount {
            let other = segments[index]
            if Self.firstPage(segment) < Self.pastLastPage(other), Self.firstPage(other) < Self.pastLastPage(segment) {
                throw .segmentsOverlap(segment.address)
            }
        }
        segments[segmentCount] = segment
        segmentCount &+= 1
        end = max(end, segment.end)
    }

    /// The address of the first page a segment touches.
    static func firstPage(_ segment: Segment) -> UInt64 { segment.address & ~(pageSize &- 1) }

    /// The address after the last page a segment touches; segments end at 8 GiB at most.
    static func pastLastPage(_ segment: Segment) -> UInt64 { (segment.end &+ pageSize &- 1) & ~(pageSize &- 1) }

    private func isCode(_ address: UInt64) -> Bool {
        for index in 0..<segmentCount where segments[index].isExecutable {
            if address >= segments[index].address, address < segments[index].end { return true }
        }
        return false
    }

    /// The place in the file of `size` bytes at an address, or nil where the file does not have them all.
    private func fileOffset(of address: UInt64, _ size: UInt64) -> UInt64? {
        for index in 0..<segmentCount {
            let segment = segments[index]
            guard address >= segment.address else { continue }
            let distance = address &- segment.address
            guard distance <= segment.fileSize, size <= segment.fileSize &- distance else { continue }
            return segment.fileOffset &+ distance
        }
        return nil
    }

    private mutating func readDynamicTable(at offset: UInt64, count: UInt64) throws(ProgramError) {
        var table: UInt64 = 0
        var size: UInt64 = 0
        var index: UInt64 = 0
        while true {
            guard index < count else { throw .dynamicTable }
            let tag = load(offset &+ index &* 16, as: UInt64.self)
            let value = load(offset &+ index &* 16 &+ 8, as: UInt64.self)
            index &+= 1
            switch tag {
            case 0:
                guard size > 0 else { return }
                guard let place = fileOffset(of: table, size) else { throw .relocationTable(table) }
                relocations = (place, size / 24)
                return
            case 1: throw .dynamicallyLinked
            case 7: table = value
            case 8: size = value
            case 9: guard value == 24 else { throw .relocationFormat(tag) }
            case 2, 18, 35: guard value == 0 else { throw .relocationFormat(tag) }  // PLTRELSZ, RELSZ, RELRSZ
            default: break
            }
        }
    }

    /// Calls `body` with the address and the value (both relative to where the program is loaded) of every relocation.
    func forEachRelocation(
        _ body: (_ address: UInt64, _ value: UInt64) throws(ProgramError) -> Void
    ) throws(ProgramError) {
        for index in 0..<relocations.count {
            let entry = relocations.offset &+ index &* 24
            let information = load(entry &+ 8, as: UInt64.self)
            if information == 0 { continue }
            guard information == 8 else { throw .relocationType(information & 0xffff_ffff) }
            let address = load(entry, as: UInt64.self)
            guard isWritable(address) else { throw .relocationTarget(address) }
            try body(address, load(entry &+ 16, as: UInt64.self))
        }
    }

    /// Where the program headers are in memory, relative to where the program is loaded, and how many there are; nil if no
    /// segment has them.
    var headersInMemory: (address: UInt64, count: UInt64)? {
        for index in 0..<segmentCount {
            let segment = segments[index]
            guard headers.offset >= segment.fileOffset else { continue }
            let distance = headers.offset &- segment.fileOffset
            guard distance <= segment.fileSize, headers.count &* 56 <= segment.fileSize &- distance else { continue }
            return (segment.address &+ distance, headers.count)
        }
        return nil
    }

    /// Whether 8 bytes at an address lie in one writable segment.
    private func isWritable(_ address: UInt64) -> Bool {
        for index in 0..<segmentCount where segments[index].isWritable {
            let segment = segments[index]
            if address >= segment.address, segment.memorySize >= 8, address <= segment.end &- 8 { return true }
        }
        return false
    }
}

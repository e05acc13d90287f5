// A process of the linux layout: where its parts go, and what it finds on its stack.
//
//     userEnd            8 bytes of zero, below them the file's name, environment, arguments     VMA `arguments`
//                        random gap
//     stackEnd           16 random bytes, the platform's name
//                        auxiliary vector, pointers to the environment, to the arguments, argc   <- RSP at the start
//
// Source: System V ABI, AMD64 supplement, section 3.4.1; Linux, fs/binfmt_elf.c.

/// Makes processes of Linux's programs.
enum LinuxStart {
    /// What all gaps follow from: `seed=N`, or the time at which the kernel first needed it.
    nonisolated(unsafe) private(set) static var seed: UInt64?

    /// The numbers of a process; the first four are its gaps.
    static func random(process number: Int) -> Linux.Random {
        let base = seed ?? CommandLine.number("seed=") ?? read_tsc()
        seed = base
        return Linux.Random(
            seed: base &+ (Break.at("random-gaps") ? 1 : 0), process: UInt64(truncatingIfNeeded: number))
    }

    /// Where a program is loaded that can be anywhere.
    static func base(process number: Int) -> UInt64 {
        var numbers = random(process: number)
        return Linux.programBase &+ Linux.Gaps(&numbers).text &<< 12
    }

    /// Loads a program into the calling thread's address space, which is empty, and makes its thread.
    static func load(
        _ image: ProgramImage, _ module: BootModule, process number: Int, at base: UInt64
    ) throws(ProgramError) -> Thread.Pointer {
        let process = Int32(truncatingIfNeeded: number)
        try ProgramLoader.load(image, module: module, at: base, program: process)
        var numbers = random(process: number)
        let gaps = Linux.Gaps(&numbers)
        let strings = LinuxStrings(module.name)
        let bounds = bounds(image, at: base, gaps, strings)
        let space = AddressSpace.current
        let protection: Protection = [.read, .write]
        do throws(MemoryError) {
            let page = bounds.argumentsStart & ~4095
            _ = try space.pointee.map(
                at: page, size: Linux.userEnd &- page, protection: protection, kind: .arguments, program: process)
            _ = try space.pointee.map(
                at: bounds.stackEnd &- Linux.stackStart, size: Linux.stackStart, protection: protection, kind: .stack,
                program: process)
            space.pointee.bounds = bounds
            Break.linuxProcess(space, process)
            var stack = LinuxStack(bounds)
            stack.write(strings, image, at: base, &numbers)
            space.pointee.random = numbers
            guard !stack.isShort else { throw MemoryError.outOfMemory }
            let thread = try Thread.makeRing3(
                name: "program", entry: base &+ image.entry, argument: 0, second: 0, stack: bounds.stackPointer,
                program: process)
            thread.pointee.space = UnsafeMutableRawPointer(space)
            return thread
        } catch {
            throw .memory(error)
        }
    }

    private static func bounds(
        _ image: ProgramImage, at base: UInt64, _ gaps: Linux.Gaps, _ strings: LinuxStrings
    ) -> Bounds {
        var bounds = Bounds()
        for index in 0..<image.segmentCount {
            let segment = image[segment: index]
            if segment.isExecutable {
                if bounds.codeStart == 0 { bounds.codeStart = base &+ segment.address }
                bounds.codeEnd = base &+ segment.end
            } else if segment.isWritable {
                if bounds.dataStart == 0 { bounds.dataStart = base &+ segment.address }
            }
            if base &+ segment.end > bounds.dataEnd { bounds.dataEnd = base &+ segment.end }
        }
        bounds.breakStart = ((bounds.dataEnd &+ 4095) & ~4095) &+ gaps.heap &<< 12
        bounds.breakEnd = bounds.breakStart
        bounds.argumentsStart = Linux.userEnd &- 8 &- strings.size
        bounds.argumentsEnd = bounds.argumentsStart &+ strings.argumentsSize
        bounds.environmentEnd = bounds.argumentsEnd &+ strings.environmentSize
        bounds.stackEnd = (bounds.argumentsStart & ~4095) &- gaps.stack &<< 12
        bounds.stackLowest = bounds.stackEnd &- Linux.stackLimit
        bounds.stackGuard = Linux.stackGuard
        bounds.mappingTop = bounds.stackLowest &- Linux.stackGuard &- gaps.mapping &<< 12
        bounds.breakLimit = bounds.mappingTop
        bounds.stackPointer = (bounds.stackEnd &- 32 &- 8 &* LinuxStack.words(strings)) & ~15
        return bounds
    }
}

/// What is written into a new process's stack and strings.
private struct LinuxStack {
    private let bounds: Bounds
    /// Where the next word goes, and the next string.
    private var next: UInt64
    private var text: UInt64
    /// Whether a page could not be had.
    private(set) var isShort = false

    /// Entries of the auxiliary vector, the last included.
    private static var auxiliaryCount: UInt64 { 18 }

    /// Words from RSP to the end of the auxiliary vector.
    static func words(_ strings: LinuxStrings) -> UInt64 {
        3 &+ strings.argumentCount &+ strings.environmentCount &+ 2 &* auxiliaryCount
    }

    init(_ bounds: Bounds) {
        self.bounds = bounds
        next = bounds.stackPointer
        text = bounds.argumentsStart
    }

    mutating func write(
        _ strings: LinuxStrings, _ image: ProgramImage, at base: UInt64, _ numbers: inout Linux.Random
    ) {
        word(strings.argumentCount &+ (Break.at("arguments") ? 1 : 0))
        strings.eachArgument { pointer, size in string(pointer, size) }
        word(0)
        strings.eachVariable { pointer, size in string(pointer, size) }
        word(0)
        let name = text
        strings.eachName { pointer, size in bytes(pointer, size, at: name) }
        // The program's, above the vector: 16 random bytes, and `x86_64`.
        let random = bounds.stackEnd &- 16
        let platform = random &- 16
        put(numbers.next(), at: random)
        put(numbers.next(), at: random &+ 8)
        put(0x34_365f_3638_78, at: platform)
        let headers = image.headersInMemory
        auxiliary(3, headers.map { base &+ $0.address } ?? 0)  // AT_PHDR
        auxiliary(4, 56)  // AT_PHENT
        auxiliary(5, headers?.count ?? 0)  // AT_PHNUM
        auxiliary(6, PageTable.size4K)  // AT_PAGESZ
        auxiliary(7, 0)  // AT_BASE: no interpreter
        auxiliary(8, 0)  // AT_FLAGS
        auxiliary(9, base &+ image.entry)  // AT_ENTRY
        auxiliary(11, 0)  // AT_UID
        auxiliary(12, 0)  // AT_EUID
        auxiliary(13, 0)  // AT_GID
        auxiliary(14, 0)  // AT_EGID
        auxiliary(15, platform)  // AT_PLATFORM
        auxiliary(16, UInt64(cpuid_edx(1)))  // AT_HWCAP
        auxiliary(17, 100)  // AT_CLKTCK
        auxiliary(23, 0)  // AT_SECURE
        auxiliary(25, random)  // AT_RANDOM
        auxiliary(31, name)  // AT_EXECFN
        auxiliary(0, 0)  // AT_NULL
    }

    private mutating func auxiliary(_ type: UInt64, _ value: UInt64) {
        word(type)
        word(value)
    }

    private mutating func word(_ value: UInt64) {
        put(value, at: next)
        next &+= 8
    }

    private mutating func put(_ value: UInt64, at address: UInt64) {
        if probe_write(address, value) != 0 { isShort = true }
    }

    /// A string, and the word that points to it.
    private mutating func string(_ pointer: UnsafePointer<CChar>, _ size: UInt64) {
        word(text)
        bytes(pointer, size, at: text)
        text &+= size &+ 1
    }

    /// What follows is zero already: its end.
    private mutating func bytes(_ pointer: UnsafePointer<CChar>, _ size: UInt64, at address: UInt64) {
        if probe_copy(address, UInt64(UInt(bitPattern: pointer)), size) != 0 { isShort = true }
    }
}

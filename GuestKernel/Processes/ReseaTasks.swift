// The tasks of resea: their files come from the bootfs, which is a part of the kernel's image. The kernel starts the vm server;
// everybody else is started by that.
//
//     bootfs   magic, number of files | entries: offset, size, starts at boot, name | files, each at the beginning of a page

/// Starts tasks.
enum ReseaTasks {
    /// The bootfs, physical.
    static var bootfs: UInt64 { address_of_bootfs_start() &- Plan.current.imageOffset }
    static var bootfsEnd: UInt64 { address_of_bootfs_end() &- Plan.current.imageOffset }

    private static func word(_ physical: UInt64) -> UInt64 { read_word(PageTable.linear(physical)) }

    /// A file of the bootfs as a module.
    static func file(_ number: UInt64) -> BootModule? {
        guard bootfsEnd > bootfs, word(bootfs) == Resea.bootfsMagic, number < word(bootfs &+ 8) else { return nil }
        let entry = bootfs &+ Resea.bootfsHeader &+ number &* Resea.bootfsEntry
        return BootModule(address: bootfs &+ word(entry), size: word(entry &+ 8), name: entry &+ 24)
    }

    /// The command line of tasks: what follows `args=`.
    static var argument: UnsafePointer<CChar> { CommandLine.value("args=") ?? empty_text() }

    /// Starts the vm server, and tells it to start the others: `tasks=N` of each that starts at boot, one if nothing is said.
    static func startAll() {
        do throws(ProgramError) {
            try startServer()
        } catch {
            Console.print { writer in
                writer.text("the vm server does not start: ")
                error.write(to: &writer)
                writer.newline()
            }
            return
        }
        let copies = CommandLine.number("tasks=") ?? 1
        _ = TaskServer.ask(
            UInt64(VITRINE_MESSAGE_BOOT.rawValue), 0, PhysicalPages.top, copies < 16 ? copies : 16)
    }

    /// Asks the server to start a file: the task's number.
    static func start(file: UInt64) throws(ProgramError) -> Int {
        guard file > 0, self.file(file) != nil else { throw .noModule(file) }
        guard let answer = TaskServer.ask(UInt64(VITRINE_MESSAGE_START.rawValue), 0, file, 0),
            answer.kind == UInt64(VITRINE_ANSWER_WRITABLE.rawValue)
        else { throw .tooManyPrograms }
        return Int(truncatingIfNeeded: answer.value)
    }

    /// For the server: a task of a file, all of whose pages come by messages. Its number, or -1.
    static func make(file: UInt64, entry: UInt64) -> Int64 {
        guard let module = self.file(file), Resea.text.contains(entry), let number = Programs.takeNumber() else {
            return -1
        }
        var made: AddressSpace.Pointer?
        do throws(MemoryError) {
            let space = try Spaces.make()
            made = space
            try addRegions(space, Int32(truncatingIfNeeded: number))
            let thread = try Thread.makeRing3(
                name: "task", entry: entry, argument: 0, second: Resea.commandLine.lowerBound,
                stack: Resea.stack.upperBound &- 15, program: Int32(truncatingIfNeeded: number))
            thread.pointee.space = UnsafeMutableRawPointer(space)
            Programs.describe(number, name: module.name, base: Resea.text.lowerBound, entry: entry, space)
            if Break.isAny { BreakResea.make(space) }
            Programs.run(number, thread)
            return Int64(number)
        } catch {
            if let made { Spaces.destroy(made) }
            Programs.releaseNumber(number)
            return -1
        }
    }

    /// What a task may have where.
    private static func addRegions(_ space: AddressSpace.Pointer, _ number: Int32) throws(MemoryError) {
        try add(space, Resea.text, [.read, .execute], .program, number)
        try add(space, Resea.commandLine, .read, .program, number)
        try add(space, Resea.data, [.read, .write], .program, number)
        try add(space, Resea.stack, [.read, .write], .stack, number)
        try add(space, Resea.heap, [.read, .write], .heap, number)
        try add(space, Resea.bss, [.read, .write], .program, number)
    }

    private static func add(
        _ space: AddressSpace.Pointer, _ range: ClosedRange<UInt64>, _ protection: Protection, _ kind: VMAKind,
        _ number: Int32
    ) throws(MemoryError) {
        _ = try space.pointee.map(
            at: range.lowerBound, size: range.upperBound &- range.lowerBound &+ 1, protection: protection, kind: kind,
            program: number)
    }

    // MARK: The server

    private static func startServer() throws(ProgramError) {
        guard let module = file(0) else { throw .noModule(0) }
        let image = try ProgramImage(
            UnsafeRawBufferPointer(
                start: UnsafeRawPointer(bitPattern: UInt(PageTable.linear(module.address))),
                count: Int(truncatingIfNeeded: module.size)))
        guard let thread = Thread.current, let number = Programs.takeNumber(), number == TaskServer.number else {
            throw .tooManyPrograms
        }
        let space: AddressSpace.Pointer
        do throws(MemoryError) { space = try Spaces.make() } catch { throw .memory(error) }
        Programs.describe(number, name: module.name, base: Resea.text.lowerBound, entry: image.entry, space)
        let own = thread.pointee.space
        Spaces.use(UnsafeMutableRawPointer(space), by: thread)
        defer { Spaces.use(own, by: thread) }
        try ProgramLoader.load(image, module: module, at: 0, program: Int32(truncatingIfNeeded: number))
        do throws(MemoryError) {
            Programs.run(number, try prepareServer(space, Int32(truncatingIfNeeded: number), entry: image.entry))
        } catch {
            throw .memory(error)
        }
    }

    /// Stack, heap, the straight mapping of what it hands out, the bootfs and the command line.
    private static func prepareServer(
        _ space: AddressSpace.Pointer, _ number: Int32, entry: UInt64
    ) throws(MemoryError) -> Thread.Pointer {
        try add(space, Resea.stack, [.read, .write], .stack, number)
        try add(space, Resea.heap, [.read, .write], .heap, number)
        if PhysicalPages.top > Resea.poolBase {
            try add(space, Resea.poolBase...PhysicalPages.top &- 1, [.read, .write], .straight, number)
        }
        let files = (bootfsEnd &- bootfs &+ 4095) &>> 12
        try add(space, Resea.bootfsBase...Resea.bootfsBase &+ files &<< 12 &- 1, .read, .program, number)
        try space.pointee.place(bootfs, at: Resea.bootfsBase, pages: files)
        try add(space, Resea.commandLine, [.read, .write], .program, number)
        let text = argument
        var count: UInt64 = 0
        while count < 4095, text[Int(count)] != 0 { count &+= 1 }
        guard probe_copy(Resea.commandLine.lowerBound, UInt64(UInt(bitPattern: text)), count) == 0,
            // One byte at least: the page is there and ends the text.
            probe_write(Resea.commandLine.upperBound &- 7, 0) == 0
        else { throw .outOfMemory }
        let thread = try Thread.makeRing3(
            name: "vm", entry: entry, argument: 0, second: Resea.commandLine.lowerBound,
            stack: Resea.stack.upperBound &- 15, program: number)
        thread.pointee.space = UnsafeMutableRawPointer(space)
        if Break.isAny { BreakResea.makeServer(space) }
        return thread
    }
}

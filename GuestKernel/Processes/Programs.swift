// The programs: which are loaded where, and how they are started. How they end is in ProgramEnd.swift.
//
// Where all share one address space a program stays where it is after its end: its memory can be looked at, and its place is
// not used again, as in OSv. Where processes have address spaces of their own, a program is a process; its end gives back
// everything but its line in the list.

/// What became of a program.
enum ProgramState: UInt8 {
    /// Nothing is known of this number.
    case free
    case loading
    case running
    /// On its way to one of those below.
    case ending
    case exited
    case faulted
    /// A boot module that could not be loaded.
    case refused

    var text: StaticString {
        switch self {
        case .free, .loading: "loading"
        case .running, .ending: "running"
        case .exited: "exited"
        case .faulted: "faulted"
        case .refused: "refused"
        }
    }

    /// Whether nothing of the program will ever run again.
    var isOver: Bool { self == .exited || self == .faulted || self == .refused }
}

/// One program.
struct Program {
    var state = ProgramState.free
    /// The module's name: a physical address, or 0.
    var name: UInt64 = 0
    var base: UInt64 = 0
    var entry: UInt64 = 0
    var status: Int64 = 0
    var thread: Thread.Pointer?
    /// Its address space, where it has one of its own.
    var space: AddressSpace.Pointer?
    /// The number of the program that forked it, -1 if none did.
    var parent: Int32 = -1
    /// Whether its parent has been told of its end.
    var isWaitedFor = false
}

/// All programs. Those handed over at boot have the numbers of their modules.
enum Programs {
    static var capacity: Int { 64 }
    nonisolated(unsafe) private static var lock = SpinLock()
    nonisolated(unsafe) private static var list = InlineArray<64, Program>(repeating: Program())
    nonisolated(unsafe) private(set) static var count = 0

    /// Program `number`.
    static func program(_ number: Int) -> Program { number >= 0 && number < capacity ? list[number] : Program() }

    // MARK: Starting

    /// Starts every module, in order, before the monitor answers and R is reported: who waits for R finds every program
    /// loaded. What cannot be loaded is reported and refused; the others start all the same.
    static func startModules() {
        if Plan.current.name == .resea {
            ReseaTasks.startAll()
            for module in 0..<StartInfo.moduleCount { refuse(module, .tasksFromBootfs) }
            return
        }
        for module in 0..<StartInfo.moduleCount {
            do throws(ProgramError) {
                _ = try start(module: UInt64(module), namespace: nil)
            } catch {
                refuse(module, error)
            }
        }
    }

    /// Loads a module, in a namespace or in the next free place, and starts it; its number.
    static func start(module index: UInt64, namespace: UInt64?) throws(ProgramError) -> Int {
        if Plan.current.name == .resea { return try ReseaTasks.start(file: index) }
        guard index < 64, let module = StartInfo.module(Int(index)) else { throw .noModule(index) }
        let image = try ProgramImage(
            UnsafeRawBufferPointer(
                start: UnsafeRawPointer(bitPattern: UInt(PageTable.linear(module.address))),
                count: Int(truncatingIfNeeded: module.size)),
            Plan.current.name == .linux || Plan.current.name == .panda ? .standalone : .own)
        let place = try Places.take(namespace)
        guard let number = takeNumber() else {
            Places.release(place)
            throw .noNamespaceLeft
        }
        let base: UInt64
        if image.isFixed {
            base = 0
        } else {
            base = Plan.current.name == .linux ? LinuxStart.base(process: number) : Places.base(place)
        }
        list[number].name = module.name
        list[number].base = base
        list[number].entry = base &+ image.entry
        do throws(ProgramError) {
            // It may end at once: nothing of it is used from here on.
            run(number, try load(image, module, number, at: base))
        } catch {
            releaseNumber(number)
            Places.release(place)
            throw error
        }
        return number
    }

    /// Puts a program into its address space, which is a new one where processes have their own.
    private static func load(
        _ image: ProgramImage, _ module: BootModule, _ number: Int, at base: UInt64
    ) throws(ProgramError) -> Thread.Pointer {
        guard Plan.current.hasProcesses, let thread = Thread.current else {
            return try loadHere(image, module, number, at: base)
        }
        let space: AddressSpace.Pointer
        do throws(MemoryError) { space = try Spaces.make() } catch { throw .memory(error) }
        let own = thread.pointee.space
        list[number].space = space
        Spaces.use(UnsafeMutableRawPointer(space), by: thread)
        defer { Spaces.use(own, by: thread) }
        do throws(ProgramError) {
            return try loadHere(image, module, number, at: base)
        } catch {
            Spaces.use(own, by: thread)
            Spaces.destroy(space)
            throw error
        }
    }

    private static func loadHere(
        _ image: ProgramImage, _ module: BootModule, _ number: Int, at base: UInt64
    ) throws(ProgramError) -> Thread.Pointer {
        if Plan.current.name == .linux { return try LinuxStart.load(image, module, process: number, at: base) }
        if Plan.current.name == .panda { return try PandaStart.load(image, module, process: number, at: base) }
        try ProgramLoader.load(image, module: module, at: base, program: Int32(truncatingIfNeeded: number))
        do throws(ProgramError) {
            return try ProgramStart.prepare(number, at: base, entry: base &+ image.entry)
        } catch {
            ProgramLoader.unmap(image, segments: image.segmentCount, at: base)
            throw error
        }
    }

    /// The program with this number runs from now on.
    static func run(_ number: Int, _ thread: Thread.Pointer) {
        list[number].thread = thread
        list[number].state = .running
        Scheduler.start(thread)
    }

    /// Keeps the number of a boot module that could not be loaded, and says why.
    private static func refuse(_ module: Int, _ error: ProgramError) {
        let number = takeNumber() ?? capacity &- 1
        list[number].state = .refused
        list[number].status = -1
        list[number].name = StartInfo.module(module)?.name ?? 0
        Console.print { writer in
            name(number, to: &writer)
            writer.text(" is refused: ")
            error.write(to: &writer)
            writer.newline()
        }
        report(number, -1)
    }

    // MARK: Numbers

    /// A number that no program has: a new one, or one whose process is over and was not handed over at boot.
    static func takeNumber() -> Int? {
        let state = lock.acquire()
        defer { lock.release(state) }
        if count < capacity {
            list[count] = Program(state: .loading)
            count &+= 1
            return count &- 1
        }
        guard Plan.current.hasProcesses else { return nil }
        var number = StartInfo.moduleCount
        while number < capacity {
            if list[number].state.isOver || list[number].state == .free {
                list[number] = Program(state: .loading)
                return number
            }
            number &+= 1
        }
        return nil
    }

    /// Gives a number back that no program got; others may have been given out since.
    static func releaseNumber(_ number: Int) {
        let state = lock.acquire()
        list[number] = Program()
        if number == count &- 1 { count = number }
        lock.release(state)
    }

    /// What is known of a program before its thread comes with `run`.
    static func describe(
        _ number: Int, name: UInt64, base: UInt64, entry: UInt64, _ space: AddressSpace.Pointer
    ) {
        list[number].name = name
        list[number].base = base
        list[number].entry = entry
        list[number].space = space
    }

    /// The number of the program that has an address space.
    static func number(of space: AddressSpace.Pointer) -> Int? {
        for number in 0..<count where list[number].space == space { return number }
        return nil
    }

    /// What a fork takes over: everything but the thread, which comes with `run`.
    static func adopt(_ number: Int, from parent: Int, _ space: AddressSpace.Pointer) {
        list[number].name = list[parent].name
        list[number].base = list[parent].base
        list[number].entry = list[parent].entry
        list[number].parent = Int32(truncatingIfNeeded: parent)
        list[number].space = space
    }

    // MARK: Ending (ProgramEnd.swift)

    /// Whether the program ran and is ended by the caller, and by nobody else.
    static func begin(ending index: Int) -> Bool {
        let state = lock.acquire()
        defer { lock.release(state) }
        guard index >= 0, index < count, list[index].state == .running else { return false }
        list[index].state = .ending
        return true
    }

    /// Takes the address space out of the list, if the program has one of its own.
    static func takeSpace(_ index: Int) -> AddressSpace.Pointer? {
        defer { list[index].space = nil }
        return list[index].space
    }

    /// The program is over.
    static func finish(_ index: Int, _ state: ProgramState, _ status: Int64) {
        list[index].status = status
        list[index].state = state
    }

    /// The parent of a program that is over has been told so.
    static func told(_ index: Int) { list[index].isWaitedFor = true }

    /// Before power-off: no program runs from now on, but what is running on another processor.
    static func stopAll() {
        for number in 0..<count where list[number].state == .running {
            list[number].thread?.pointee.state = ThreadState.blocked.rawValue
        }
    }

    /// A system call of a ring-3 program: numbers and registers as in vitrine.h or as in Linux, the result in RAX.
    static func systemCall(_ frame: TrapFrame) {
        switch Plan.current.name {
        case .linux: LinuxCalls.handle(frame)
        case .panda: PandaCalls.handle(frame)
        default: ProgramCalls.handle(frame)
        }
    }
}

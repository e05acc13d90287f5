// The programs: which are loaded where, how they are started, and how they end.
//
// A program stays where it is after its end: its memory can be looked at, and its place is not used again, as in OSv. The
// first one loaded is at OSv.programBase, the next in the namespaces 1 ... 31; what comes after the last is refused.

/// What became of a program.
enum ProgramState: UInt8 {
    /// Nothing is known of this number.
    case free
    case loading
    case running
    case exited
    case faulted
    /// A boot module that could not be loaded.
    case refused

    var text: StaticString {
        switch self {
        case .free, .loading: "loading"
        case .running: "running"
        case .exited: "exited"
        case .faulted: "faulted"
        case .refused: "refused"
        }
    }
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
}

/// All programs. Those handed over at boot have the numbers of their modules.
enum Programs {
    static var capacity: Int { 64 }
    nonisolated(unsafe) private static var lock = SpinLock()
    nonisolated(unsafe) private static var list = InlineArray<64, Program>(repeating: Program())
    nonisolated(unsafe) private(set) static var count = 0
    /// Bit 0: the place at OSv.programBase is taken; bit i: namespace i is.
    nonisolated(unsafe) private static var places: UInt32 = 0

    /// Program `number`.
    static func program(_ number: Int) -> Program { number >= 0 && number < capacity ? list[number] : Program() }

    // MARK: Starting

    /// Starts every module, in order, before the monitor answers and R is reported: who waits for R finds every program
    /// loaded. What cannot be loaded is reported and refused; the others start all the same.
    static func startModules() {
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
        guard index < 64, let module = StartInfo.module(Int(index)) else { throw .noModule(index) }
        let image = try ProgramImage(
            UnsafeRawBufferPointer(
                start: UnsafeRawPointer(bitPattern: UInt(PageTable.linear(module.address))),
                count: Int(truncatingIfNeeded: module.size)))
        let place = try takePlace(namespace)
        let base = place == 0 ? OSv.programBase : OSv.namespaceBase(place)
        let number = takeNumber()
        guard let number else {
            releasePlace(place)
            throw .noNamespaceLeft
        }
        list[number].name = module.name
        list[number].base = base
        list[number].entry = base &+ image.entry
        do throws(ProgramError) {
            try ProgramLoader.load(image, module: module, at: base, program: Int32(truncatingIfNeeded: number))
            do throws(ProgramError) {
                try ProgramStart.start(number, at: base, entry: base &+ image.entry)
            } catch {
                ProgramLoader.unmap(image, segments: image.segmentCount, at: base)
                throw error
            }
        } catch {
            list[number] = Program()
            releaseNumber(number)
            releasePlace(place)
            throw error
        }
        return number
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

    private static func takePlace(_ namespace: UInt64?) throws(ProgramError) -> UInt64 {
        let state = lock.acquire()
        defer { lock.release(state) }
        var place = namespace ?? 0
        if let namespace {
            guard namespace != 0 else { throw .namespaceReserved }
            guard namespace < OSv.namespaceCount else { throw .noSuchNamespace(namespace) }
            guard places & 1 &<< UInt32(namespace) == 0 else { throw .namespaceTaken(namespace) }
        } else {
            while place < OSv.namespaceCount && places & 1 &<< UInt32(place) != 0 { place &+= 1 }
            guard place < OSv.namespaceCount else { throw .noNamespaceLeft }
        }
        places |= 1 &<< UInt32(place)
        return place
    }

    private static func releasePlace(_ place: UInt64) {
        let state = lock.acquire()
        places &= ~(1 &<< UInt32(truncatingIfNeeded: place))
        lock.release(state)
    }

    private static func takeNumber() -> Int? {
        let state = lock.acquire()
        defer { lock.release(state) }
        guard count < capacity else { return nil }
        list[count] = Program(state: .loading)
        count &+= 1
        return count &- 1
    }

    /// Gives a number back that no program got; others may have been given out since.
    private static func releaseNumber(_ number: Int) {
        let state = lock.acquire()
        if number == count &- 1 { count = number }
        lock.release(state)
    }

    // MARK: Ending

    /// Ends the program that calls.
    static func exit(_ status: Int64) -> Never {
        end(.exited, status)
    }

    /// The running thread's program made a fault that cannot be served and was reported: the program ends.
    static func faulted(_ frame: TrapFrame, program: Int32) {
        end(.faulted, -1)
    }

    /// Before power-off: no program runs from now on, but what is running on another processor.
    static func stopAll() {
        for number in 0..<count where list[number].state == .running {
            list[number].thread?.pointee.state = ThreadState.blocked.rawValue
        }
    }

    /// A system call of a ring-3 program: numbers and registers as in vitrine.h, the result in RAX.
    static func systemCall(_ frame: TrapFrame) { ProgramCalls.handle(frame) }

    private static func end(_ state: ProgramState, _ status: Int64) -> Never {
        if let number = Thread.current?.pointee.program, number >= 0, Int(number) < capacity {
            let index = Int(number)
            list[index].status = status
            list[index].state = state
            Console.print { writer in
                name(index, to: &writer)
                writer.byte(0x20)
                writer.text(state.text)
                writer.text(", status ")
                writer.decimal(signed: status)
                writer.newline()
            }
            report(index, status)
        }
        Thread.exit()
    }

    /// Tells the monitor how a program ended (docs/guest-contract.md).
    private static func report(_ number: Int, _ status: Int64) {
        let low = UInt32(truncatingIfNeeded: status) & 0xff_ffff
        out32(Contract.programPort, UInt32(truncatingIfNeeded: number) &<< 24 | low)
    }

    // MARK: Telling

    /// `program 0 hello.elf`
    static func name(_ number: Int, to writer: inout TextWriter) {
        writer.text("program ")
        writer.decimal(UInt64(number))
        if list[number].name != 0 {
            writer.byte(0x20)
            writer.cString(StartInfo.text(at: list[number].name))
        }
    }

    /// The monitor's `load MODULE [NAMESPACE]`: the line of the new program, or the error, which is already written: "".
    static func load(module: UInt64, namespace: UInt64?, _ writer: inout TextWriter) -> StaticString? {
        do throws(ProgramError) {
            let number = try start(module: module, namespace: namespace)
            writer.text("program=")
            writer.decimal(UInt64(number))
            writer.text(" base=")
            writer.hex(list[number].base)
            writer.text(" entry=")
            writer.hex(list[number].entry)
            writer.newline()
            return nil
        } catch {
            writer.text("error: ")
            error.write(to: &writer)
            writer.newline()
            return ""
        }
    }

    /// A line for each program, as the kernel's monitor answers.
    static func list(_ writer: inout TextWriter) {
        for number in 0..<count where list[number].state != .free {
            let program = list[number]
            writer.text("program=")
            writer.decimal(UInt64(number))
            writer.text(" name=")
            if program.name == 0 {
                writer.byte(0x2d)
            } else {
                writer.cString(StartInfo.text(at: program.name))
            }
            writer.text(" base=")
            writer.hex(program.base)
            writer.text(" state=")
            writer.text(program.state.text)
            writer.text(" status=")
            writer.decimal(signed: program.status)
            writer.newline()
        }
    }
}

extension ProgramError {
    /// The error in words.
    func write(to writer: inout TextWriter) {
        if case .memory(let error) = self {
            error.write(to: &writer)
            return
        }
        let text = text
        writer.text(text.before)
        guard let number = text.number else { return }
        if text.decimal { writer.decimal(number) } else { writer.hex(number) }
        writer.text(text.after)
    }
}

// How programs end, and what of them goes back.

extension Programs {
    /// Ends the program that calls.
    static func exit(_ status: Int64) -> Never {
        endCurrent(.exited, status)
    }

    /// The running thread's program made a fault that cannot be served and was reported: the program ends.
    static func faulted() -> Never {
        endCurrent(.faulted, -1)
    }

    /// A system call got an address that the program may not use so: reported, and the program ends.
    static func badAddress(_ address: UInt64, call: UInt64) -> Never {
        if let number = Thread.current?.pointee.program, number >= 0 {
            Console.print { writer in
                writer.text("\nprogram fault: ")
                name(Int(number), to: &writer)
                writer.text(": system call ")
                writer.decimal(call)
                writer.text(" with the address ")
                writer.hex(address)
                writer.text(", which is not the program's to use so\n")
            }
        }
        endCurrent(.faulted, -1)
    }

    private static func endCurrent(_ state: ProgramState, _ status: Int64) -> Never {
        if let number = Thread.current?.pointee.program, number >= 0, Int(number) < capacity {
            _ = end(Int(number), state, status)
        }
        Thread.exit()
    }

    /// Ends a program: its other threads stop, and its address space goes back where it has one of its own. False if it does
    /// not run.
    static func end(_ index: Int, _ state: ProgramState, _ status: Int64) -> Bool {
        guard begin(ending: index) else { return false }
        Thread.stop(program: Int32(truncatingIfNeeded: index))
        let isTask = Plan.current.name == .resea
        if isTask { TaskServer.forget(index) }
        if let space = takeSpace(index) {
            if let thread = Thread.current, Spaces.of(thread) == space {
                Spaces.use(UnsafeMutableRawPointer(Spaces.kernel), by: thread)
            }
            Spaces.destroy(space)
        }
        if isTask { TaskServer.ended(index) }
        finish(index, state, status)
        Console.print { writer in
            name(index, to: &writer)
            writer.byte(0x20)
            writer.text(state.text)
            writer.text(", status ")
            writer.decimal(signed: status)
            writer.newline()
        }
        report(index, status)
        return true
    }

    /// Tells the monitor how a program ended (docs/guest-contract.md).
    static func report(_ number: Int, _ status: Int64) {
        let low = UInt32(truncatingIfNeeded: status) & 0xff_ffff
        out32(Contract.programPort, UInt32(truncatingIfNeeded: number) &<< 24 | low)
    }
}

// All threads of a program: counted, held, stopped.

extension Thread {
    /// How many threads a program has.
    static func count(of program: Int32) -> UInt64 {
        var result: UInt64 = 0
        each(of: program) { _ in result &+= 1 }
        return result
    }

    /// Ends all threads of a program but the one that calls; when it returns none of them runs.
    static func stop(program: Int32) {
        halt(program, .exited)
    }

    /// Keeps all threads of a program that could run from running, until `letGo`.
    static func hold(program: Int32) {
        halt(program, .held)
    }

    /// Lets threads run again that `hold` kept from it.
    static func letGo(program: Int32) {
        let state = Scheduler.lock.acquire()
        each(of: program) {
            if $0.pointee.state == ThreadState.held.rawValue { $0.pointee.state = ThreadState.runnable.rawValue }
        }
        Scheduler.lock.release(state)
        Scheduler.kickAll()
    }

    /// The registers of a thread in ring 3: saved where it was interrupted, or at the top of its kernel stack while it is in
    /// a system call.
    static func userFrame(_ thread: Pointer) -> UnsafeMutablePointer<trap_frame>? {
        guard thread.pointee.ring3 != 0, let frame = thread.pointee.frame else { return nil }
        if frame.pointee.cs & 3 == 3 { return frame }
        return UnsafeMutablePointer(bitPattern: UInt(thread.pointee.kernel_stack &- UInt64(FRAME_SIZE)))
    }

    private static func each(of program: Int32, _ body: (Pointer) -> Void) {
        var index = 0
        while index < count {
            if let thread = at(index), thread.pointee.program == program,
                thread.pointee.state != ThreadState.exited.rawValue
            {
                body(thread)
            }
            index &+= 1
        }
    }

    private static func halt(_ program: Int32, _ reached: ThreadState) {
        let caller = current
        let state = Scheduler.lock.acquire()
        each(of: program) { thread in
            guard thread != caller else { return }
            if reached == .exited || thread.pointee.state == ThreadState.runnable.rawValue {
                thread.pointee.state = reached.rawValue
            }
        }
        Scheduler.lock.release(state)
        Scheduler.kickAll()
        // A thread that runs elsewhere leaves at the next chance; it may need an answer from here first.
        var index = 0
        while index < count {
            if let thread = at(index), thread != caller, thread.pointee.program == program {
                while load_acquire(&thread.pointee.on_cpu) != 0, thread.pointee.state == reached.rawValue {
                    Shootdown.answer()
                    pause_hint()
                }
            }
            index &+= 1
        }
    }
}

// Which thread runs where: round robin by the timer's ticks among the threads of the highest priority.

/// The scheduler.
enum Scheduler {
    nonisolated(unsafe) static var lock = SpinLock()
    nonisolated(unsafe) private static var cursor: Thread.Pointer?
    nonisolated(unsafe) private static var isRunning = false
    /// How often a processor went from one thread to another.
    nonisolated(unsafe) private(set) static var switches: UInt64 = 0

    // MARK: Threads

    /// Lets a thread run.
    static func start(_ thread: Thread.Pointer) {
        thread.pointee.state = ThreadState.runnable.rawValue
        kick(thread)
    }

    /// Wakes a thread that blocked.
    static func wake(_ thread: Thread.Pointer) {
        guard thread.pointee.state == ThreadState.blocked.rawValue else { return }
        thread.pointee.state = ThreadState.runnable.rawValue
        kick(thread)
    }

    /// Stops the calling thread until `wake`; interrupts are off, and whoever wakes it runs on the same processor.
    static func block() {
        Thread.current?.pointee.state = ThreadState.blocked.rawValue
        yield_processor()
    }

    /// Lets the scheduler choose at the end of the trap that is being served: a system call that does nothing else needs no frame
    /// of its own to wait in.
    static func yieldAfterTrap() { Processor.current?.pointee.reschedule = 1 }

    /// Makes the other processors look for something else to run, and this one at its next trap.
    static func kickAll() {
        guard isRunning, let current = Processor.current else { return }
        current.pointee.reschedule = 1
        if Processor.onlineCount > 1 { LocalAPIC.sendToOthers(vector: Vector.reschedule) }
    }

    /// Makes a processor look for something to run.
    private static func kick(_ thread: Thread.Pointer) {
        guard isRunning, let current = Processor.current else { return }
        let affinity = Int(thread.pointee.affinity)
        if affinity < 0 || UInt32(affinity) == current.pointee.number { current.pointee.reschedule = 1 }
        if affinity < 0 {
            if Processor.onlineCount > 1 { LocalAPIC.sendToOthers(vector: Vector.reschedule) }
        } else if UInt32(affinity) != current.pointee.number, let target = Processor.at(affinity) {
            LocalAPIC.send(vector: Vector.reschedule, to: target.pointee.apic)
        }
    }

    // MARK: Processors

    /// The idle thread of each processor; then the first begins to schedule, as its idle thread.
    static func prepare() throws(MemoryError) {
        var number = 0
        while number < Processor.count {
            if let pointer = Processor.at(number) {
                pointer.pointee.idle = try Thread.make(
                    name: "idle", entry: 0, affinity: Int32(truncatingIfNeeded: number), priority: 0)
            }
            number &+= 1
        }
        if let first = Processor.current { becomeIdle(first) }
        isRunning = true
    }

    /// What runs here from now on is the processor's idle thread.
    static func becomeIdle(_ pointer: Processor.Pointer) {
        guard let idle = pointer.pointee.idle else { return }
        idle.pointee.cpu = pointer
        idle.pointee.on_cpu = 1
        idle.pointee.state = ThreadState.runnable.rawValue
        pointer.pointee.current = idle
        Processor.useStacks(pointer, of: idle)
    }

    /// The idle loop.
    static func idle() -> Never {
        while true {
            interrupts_off()
            Shootdown.answer()
            if let pointer = Processor.current, pointer.pointee.reschedule != 0 {
                yield_processor()
            } else {
                wait_for_interrupt()
            }
        }
    }

    // MARK: The switch

    /// After a trap: the frame to go on with. Interrupts are off.
    static func choose(_ frame: UnsafeMutablePointer<trap_frame>) -> UnsafeMutablePointer<trap_frame> {
        guard isRunning, let pointer = Processor.current, let old = pointer.pointee.current,
            pointer.pointee.locks == 0
        else { return frame }
        pointer.pointee.reschedule = 0
        _ = lock.acquire()
        let next = pick(pointer, old)
        if next != old { store_release(&next.pointee.on_cpu, 1) }
        lock.release(false)
        guard next != old else { return frame }
        old.pointee.frame = frame
        if old.pointee.ring3 != 0 { save_fpu(old.pointee.fpu) }
        if next.pointee.ring3 != 0 { restore_fpu(next.pointee.fpu) }
        if next.pointee.ring3 != 0 && next.pointee.fs_base != pointer.pointee.fs_base {
            pointer.pointee.fs_base = next.pointee.fs_base
            write_msr(0xc000_0100, next.pointee.fs_base)
        }
        Spaces.enter(next, on: pointer)
        switches &+= 1
        next.pointee.cpu = pointer
        pointer.pointee.current = next
        pointer.pointee.previous = old
        Processor.useStacks(pointer, of: next)
        return next.pointee.frame
    }

    /// The next runnable thread of the highest priority after the last one chosen; all threads are a ring.
    private static func pick(_ pointer: Processor.Pointer, _ old: Thread.Pointer) -> Thread.Pointer {
        let number = Int32(bitPattern: pointer.pointee.number)
        let last = cursor ?? old
        var candidate = last
        var best = old
        var bestPriority: UInt32 = 0
        var isFound = false
        repeat {
            candidate = candidate.pointee.next.unsafelyUnwrapped
            guard candidate.pointee.state == ThreadState.runnable.rawValue,
                candidate == old || load_acquire(&candidate.pointee.on_cpu) == 0,
                candidate.pointee.affinity < 0 || candidate.pointee.affinity == number
            else { continue }
            if isFound && bestPriority >= candidate.pointee.priority { continue }
            isFound = true
            best = candidate
            bestPriority = candidate.pointee.priority
        } while candidate != last
        guard isFound else { return pointer.pointee.idle ?? old }
        cursor = best
        return best
    }
}

// Threads: kernel stacks, start and end. The scheduler is in Scheduler.swift.

/// States of a thread.
enum ThreadState: UInt32 {
    case free = 0
    case runnable = 1
    case blocked = 2
    case exited = 3
    /// Could run, and is kept from it for a while.
    case held = 4
}

/// The threads of the kernel and of programs.
enum Thread {
    typealias Pointer = UnsafeMutablePointer<thread>

    static var capacity: Int { 320 }
    nonisolated(unsafe) private(set) static var count = 0
    nonisolated(unsafe) private static var list = InlineArray<320, Pointer?>(repeating: nil)

    /// Pages of a thread: struct thread and FPU area, IST1, IST2, kernel stack.
    private static var pages: UInt64 { 6 }

    /// The thread that runs here.
    static var current: Pointer? { Processor.current?.pointee.current }

    /// Thread `index`, in order of creation.
    static func at(_ index: Int) -> Pointer? { list[index] }

    /// A thread that begins at `entry(argument)` in ring 0; it ends when that returns.
    ///
    /// `stack` is the initial RSP, 16-byte aligned, for a program; 0 means the kernel stack. Nothing runs before
    /// `Scheduler.start(thread)`.
    static func make(
        name: StaticString, entry: UInt64, argument: UInt64 = 0, second: UInt64 = 0, stack: UInt64 = 0,
        program: Int32 = -1, affinity: Int32 = -1, priority: UInt32 = 1
    ) throws(MemoryError) -> Pointer {
        let pointer = try takeSlot()
        pointer.pointee.program = program
        pointer.pointee.affinity = affinity
        pointer.pointee.priority = priority
        pointer.pointee.ring3 = 0
        pointer.pointee.space = nil
        pointer.pointee.fs_base = 0
        pointer.pointee.gs_base = 0
        pointer.pointee.name = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        // As if called: RSP is 16-byte aligned less 8, and the return address ends the thread.
        let top = (stack == 0 ? pointer.pointee.kernel_stack : stack) &- 16
        if stack == 0 { write_word(top &+ 8, 0) }
        let frame = frame(at: pointer.pointee.kernel_stack &- 64)
        frame.pointee = trap_frame()
        frame.pointee.rip = entry
        frame.pointee.rdi = argument
        frame.pointee.rsi = second
        frame.pointee.rsp = top &+ 8
        frame.pointee.cs = 0x08
        frame.pointee.ss = 0x10
        frame.pointee.rflags = 0x202
        pointer.pointee.frame = frame
        return pointer
    }

    /// A thread that begins at `entry` in ring 3 with `stack` as its RSP.
    static func makeRing3(
        name: StaticString, entry: UInt64, argument: UInt64, second: UInt64, stack: UInt64, program: Int32,
        affinity: Int32 = -1
    ) throws(MemoryError) -> Pointer {
        let pointer = try make(
            name: name, entry: entry, argument: argument, second: second, stack: 0, program: program,
            affinity: affinity)
        guard let frame = pointer.pointee.frame, let fpu = pointer.pointee.fpu else { return pointer }
        frame.pointee.cs = 0x2b
        frame.pointee.ss = 0x23
        frame.pointee.rsp = stack
        pointer.pointee.ring3 = 1
        // FXSAVE image (SDM volume 1, table 10-2): FCW 0x37f, MXCSR 0x1f80, the rest zero.
        let area = UInt64(UInt(bitPattern: fpu))
        clear_words(area, 64)
        write_word(area, 0x37f)
        write_register(area &+ 24, 0x1f80)
        return pointer
    }

    /// Ends the thread that calls.
    static func exit() -> Never {
        interrupts_off()
        current?.pointee.state = ThreadState.exited.rawValue
        while true { yield_processor() }
    }

    @inline(__always) private static func frame(at top: UInt64) -> UnsafeMutablePointer<trap_frame> {
        UnsafeMutablePointer(bitPattern: UInt(top &- UInt64(FRAME_SIZE))).unsafelyUnwrapped
    }

    /// The stacks of a thread that ended, or new ones.
    private static func takeSlot() throws(MemoryError) -> Pointer {
        let state = Scheduler.lock.acquire()
        var index = 0
        while index < count {
            if let old = list[index], old.pointee.state == ThreadState.exited.rawValue,
                load_acquire(&old.pointee.on_cpu) == 0
            {
                old.pointee.state = ThreadState.blocked.rawValue
                Scheduler.lock.release(state)
                return old
            }
            index &+= 1
        }
        Scheduler.lock.release(state)
        let base = try Malloc.allocate(pages &<< 12, area: .main)
        clear_words(base, UInt64(MemoryLayout<thread>.size) / 8)
        let pointer = Pointer(bitPattern: UInt(base)).unsafelyUnwrapped
        pointer.pointee.interrupt_stack = stackTop(base &+ 2 &* 4096, base)
        pointer.pointee.exception_stack = stackTop(base &+ 4 &* 4096, base)
        pointer.pointee.kernel_stack = stackTop(base &+ pages &* 4096, base)
        pointer.pointee.fpu = UnsafeMutableRawPointer(bitPattern: UInt(base &+ 512))
        pointer.pointee.state = ThreadState.blocked.rawValue
        let again = Scheduler.lock.acquire()
        defer { Scheduler.lock.release(again) }
        guard count < capacity else {
            try Malloc.free(base)
            throw .tooManyThreads
        }
        // Into the ring after the first; alone it is one.
        pointer.pointee.next = pointer
        if count > 0, let first = list[0] {
            pointer.pointee.next = first.pointee.next
            first.pointee.next = pointer
        }
        list[count] = pointer
        count &+= 1
        return pointer
    }

    /// The usable top below the word that leads from a stack to its thread (traps.S).
    private static func stackTop(_ end: UInt64, _ owner: UInt64) -> UInt64 {
        write_word(end &- 16, owner)
        return end &- 16
    }
}

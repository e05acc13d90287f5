// System calls of ring-3 programs (`enum vitrine_system_call`): number in RAX, arguments in RDI, RSI, RDX, result in RAX.

/// Serves system calls.
enum ProgramCalls {
    /// Serves one call of the running thread; its result is in the frame afterwards.
    static func handle(_ frame: UnsafeMutablePointer<trap_frame>) {
        let first = frame.pointee.rdi
        let second = frame.pointee.rsi
        let third = frame.pointee.rdx
        let result: Int64
        switch frame.pointee.rax {
        case UInt64(VITRINE_SYS_WRITE.rawValue):
            let bytes = OffsetProcess.absolute(first)
            if isOwn(bytes, second) && Services.write(bytes, second) {
                result = Int64(truncatingIfNeeded: second)
            } else if Plan.current.name != .osv {
                Programs.badAddress(first, call: frame.pointee.rax)
            } else {
                result = -1
            }
        case UInt64(VITRINE_SYS_MAP.rawValue):
            result = Services.map(first, second, third).map { Int64(bitPattern: $0) } ?? -1
        case UInt64(VITRINE_SYS_PROTECT.rawValue): result = Services.protect(first, second, third)
        case UInt64(VITRINE_SYS_UNMAP.rawValue): result = Services.unmap(first, second)
        case UInt64(VITRINE_SYS_YIELD.rawValue):
            Scheduler.yieldAfterTrap()
            result = 0
        case UInt64(VITRINE_SYS_EXIT.rawValue): Programs.exit(Int64(bitPattern: first))
        case UInt64(VITRINE_SYS_TICKS.rawValue): result = Int64(bitPattern: Timer.ticks)
        case UInt64(VITRINE_SYS_GETPID.rawValue): result = Int64(Thread.current?.pointee.program ?? -1)
        case UInt64(VITRINE_SYS_PAUSE.rawValue):
            Scheduler.block()
            result = 0
        case UInt64(VITRINE_SYS_FORK.rawValue): result = fork(frame)
        case UInt64(VITRINE_SYS_WAIT.rawValue): result = wait(first)
        case UInt64(VITRINE_SYS_THREAD.rawValue): result = makeThread(first, second, third)
        case UInt64(VITRINE_SYS_THREAD_EXIT.rawValue): Thread.exit()
        default: result = TaskServer.call(frame) ?? -1
        }
        frame.pointee.rax = UInt64(bitPattern: result)
    }

    /// The child's number in the parent, 0 in the child, -1 with the reason on the console.
    private static func fork(_ frame: UnsafeMutablePointer<trap_frame>) -> Int64 {
        guard let thread = Thread.current, thread.pointee.program >= 0 else { return -1 }
        let parent = Int(thread.pointee.program)
        do throws(ProgramError) {
            var place = frame.pointee
            place.rax = 0
            return Int64(try Programs.fork(parent, place, of: thread))
        } catch {
            Console.print { writer in
                Programs.name(parent, to: &writer)
                writer.text(": fork is refused: ")
                error.write(to: &writer)
                writer.newline()
            }
            return -1
        }
    }

    /// Waits until a process is over; its status, or -1 if there is none with this number but oneself.
    private static func wait(_ number: UInt64) -> Int64 {
        guard number < UInt64(Programs.capacity), let thread = Thread.current,
            Int(number) != Int(thread.pointee.program), Programs.program(Int(number)).state != .free
        else { return -1 }
        while !Programs.program(Int(number)).state.isOver {
            yield_processor()
            // System calls run with interrupts off: whoever wants this processor's TLB flushed would wait for ever.
            Shootdown.answer()
        }
        return Programs.program(Int(number)).status
    }

    /// A second thread of the program: entry, stack, argument. 0, or -1.
    private static func makeThread(_ entry: UInt64, _ stack: UInt64, _ argument: UInt64) -> Int64 {
        guard let thread = Thread.current, entry < Plan.current.vmaEnd, stack < Plan.current.vmaEnd,
            let made = try? Thread.makeRing3(
                name: "program", entry: entry, argument: argument, second: 0, stack: stack,
                program: thread.pointee.program)
        else { return -1 }
        made.pointee.space = thread.pointee.space
        made.pointee.gs_base = thread.pointee.gs_base
        Scheduler.start(made)
        return 0
    }

    /// Whether every byte of a range lies in mappings of the lower half: the kernel does not read for a program what is not
    /// the program's to read.
    private static func isOwn(_ address: UInt64, _ count: UInt64) -> Bool {
        guard OffsetProcess.contains(address, count), address < Plan.current.vmaEnd,
            count <= Plan.current.vmaEnd &- address
        else { return false }
        var next = address
        while next < address &+ count {
            guard let vma = AddressSpace.current.pointee.vma(at: next), vma.protection.contains(.read) else {
                return false
            }
            next = vma.end
        }
        return true
    }
}

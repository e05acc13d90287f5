// Linux's system calls about processes, time and numbers. A process's identifier is its number here and one: there is no
// process 0.

/// Serves calls about processes; nil: not one of them.
enum LinuxProcess {
    private static var own: Int { Int(Thread.current?.pointee.program ?? -1) }

    static func handle(_ call: LinuxCalls.Call, _ frame: TrapFrame) -> Int64? {
        switch call.number {
        case 13: return previous(call, call.third, 32)  // rt_sigaction: noted nowhere, for no signal comes
        case 14: return previous(call, call.third, call.fourth < 128 ? call.fourth : 128)  // rt_sigprocmask
        case 24:
            Scheduler.yieldAfterTrap()
            return 0
        case 34:
            Scheduler.block()
            return 0
        case 39, 186, 218: return Int64(own &+ 1)  // getpid, gettid, set_tid_address
        case 56: return call.first & 0x100 == 0 ? fork(call, frame) : LinuxCalls.Failure.notThere  // clone
        case 57, 58: return fork(call, frame)  // fork; vfork, whose child has memory of its own here
        case 60, 231: Programs.exit(Int64(call.first & 0xff))
        case 61: return wait(call)
        case 62, 200: return end(call.first, signal: call.second)  // kill, tkill
        case 234: return end(call.second, signal: call.third)  // tgkill
        case 63: return names(call)
        case 96, 201, 228: return time(call)  // gettimeofday, time, clock_gettime
        case 102, 104, 107, 108: return 0  // getuid, getgid, geteuid, getegid
        case 110: return Int64(Programs.program(own).parent) &+ 1  // getppid
        case 157: return call.first == 16 ? name(call) : LinuxCalls.Failure.invalid  // prctl: PR_GET_NAME
        case 158: return architecture(call)
        case 273: return 0  // set_robust_list: looked at when a thread ends that others wait for
        case 302: return limit(call)
        case 318: return random(call)
        case 334: return LinuxCalls.Failure.notThere  // rseq: programs do without it
        default: return nil
        }
    }

    /// What was set before, where it is asked for: nothing.
    private static func previous(_ call: LinuxCalls.Call, _ address: UInt64, _ size: UInt64) -> Int64 {
        if address != 0 { UserMemory.clear(address, size, call: call.number) }
        return 0
    }

    /// arch_prctl: the FS base, which thread-local storage needs.
    private static func architecture(_ call: LinuxCalls.Call) -> Int64 {
        guard let thread = Thread.current, let cpu = Processor.current else { return LinuxCalls.Failure.invalid }
        switch call.first {
        case 0x1002:  // ARCH_SET_FS
            guard call.second < Linux.userEnd else { return LinuxCalls.Failure.notPermitted }
            thread.pointee.fs_base = call.second
            cpu.pointee.fs_base = call.second
            write_msr(0xc000_0100, call.second)
            return 0
        case 0x1003:  // ARCH_GET_FS
            UserMemory.write(call.second, value: thread.pointee.fs_base, call: call.number)
            return 0
        default: return LinuxCalls.Failure.invalid
        }
    }

    /// The child's identifier, in the child 0. CLONE_CHILD_SETTID: it is written where the child has it, before it runs.
    private static func fork(_ call: LinuxCalls.Call, _ frame: TrapFrame) -> Int64 {
        guard let thread = Thread.current, own >= 0 else { return LinuxCalls.Failure.again }
        let word = call.number == 56 && call.first & 0x100_0000 != 0 ? call.fourth : 0
        if word != 0 { UserMemory.require(word, 4, .write, call: call.number) }
        do throws(ProgramError) {
            var place = frame.pointee
            place.rax = 0
            let child = try Programs.fork(own, place, of: thread) { number in
                guard word != 0 else { return }
                var identifier = UInt32(truncatingIfNeeded: number &+ 1)
                withUnsafeBytes(of: &identifier) {
                    _ = probe_copy(word, UInt64(UInt(bitPattern: $0.baseAddress)), 4)
                }
            }
            return Int64(child &+ 1)
        } catch {
            Console.print { writer in
                Programs.name(own, to: &writer)
                writer.text(": fork is refused: ")
                error.write(to: &writer)
                writer.newline()
            }
            return LinuxCalls.Failure.again
        }
    }

    /// wait4: for one child, or for any (-1); with WNOHANG it does not wait.
    private static func wait(_ call: LinuxCalls.Call) -> Int64 {
        let wanted = Int64(bitPattern: call.first)
        while true {
            var hasChild = false
            for number in 0..<Programs.count {
                let child = Programs.program(number)
                guard child.state != .free, Int(child.parent) == own, !child.isWaitedFor,
                    wanted == -1 || wanted == Int64(number &+ 1)
                else { continue }
                hasChild = true
                guard child.state.isOver else { continue }
                Programs.told(number)
                // Exited with a status, or ended by SIGSEGV.
                let status = child.state == .exited ? UInt32(truncatingIfNeeded: child.status & 0xff) &<< 8 : 11
                if call.second != 0 { UserMemory.write(call.second, value: status, call: call.number) }
                return Int64(number &+ 1)
            }
            guard hasChild else { return LinuxCalls.Failure.noChild }
            if call.third & 1 != 0 { return 0 }
            yield_processor()
            // System calls run with interrupts off: whoever wants this processor's TLB flushed would wait for ever.
            Shootdown.answer()
        }
    }

    /// A signal to oneself ends the process, for its handler is not called; others cannot be reached.
    private static func end(_ identifier: UInt64, signal: UInt64) -> Int64 {
        guard identifier == UInt64(own &+ 1) else { return LinuxCalls.Failure.noProcess }
        guard signal > 0, signal <= 64 else { return signal == 0 ? 0 : LinuxCalls.Failure.invalid }
        Console.print { writer in
            writer.text("\nprogram fault: ")
            Programs.name(own, to: &writer)
            writer.text(": ends itself by signal ")
            writer.decimal(signal)
            writer.newline()
        }
        Programs.faulted()
    }

    /// uname: six fields of 65 bytes.
    private static func names(_ call: LinuxCalls.Call) -> Int64 {
        UserMemory.clear(call.first, 390, call: call.number)
        func field(_ index: UInt64, _ text: StaticString) {
            UserMemory.write(
                call.first &+ 65 &* index,
                UnsafeRawBufferPointer(start: UnsafeRawPointer(text.utf8Start), count: text.utf8CodeUnitCount),
                call: call.number)
        }
        field(0, "Linux")
        field(1, "vitrine")
        field(2, "6.1.0")
        field(3, "Vitrine, layout linux")
        field(4, "x86_64")
        field(5, "(none)")
        return 0
    }

    /// Seconds and parts of them since the start, as ticks tell.
    private static func time(_ call: LinuxCalls.Call) -> Int64 {
        let ticks = Timer.ticks
        let (seconds, rest) = (ticks / Timer.rate, ticks % Timer.rate)
        let address = call.number == 228 ? call.second : call.first
        if address != 0 { UserMemory.write(address, value: seconds, call: call.number) }
        guard call.number != 201 else { return Int64(bitPattern: seconds) }
        let unit: UInt64 = call.number == 228 ? 1_000_000_000 : 1_000_000
        if address != 0 { UserMemory.write(address &+ 8, value: rest &* (unit / Timer.rate), call: call.number) }
        return 0
    }

    /// PR_GET_NAME: 16 bytes, the last of them zero.
    private static func name(_ call: LinuxCalls.Call) -> Int64 {
        UserMemory.clear(call.second, 16, call: call.number)
        LinuxStrings(Programs.program(own).name).eachName { name, size in
            UserMemory.write(
                call.second, UnsafeRawBufferPointer(start: UnsafeRawPointer(name), count: Int(size < 15 ? size : 15)),
                call: call.number)
        }
        return 0
    }

    /// prlimit64: the stack's limit is 8 MiB, others have none; none can be changed.
    private static func limit(_ call: LinuxCalls.Call) -> Int64 {
        guard call.third == 0 else { return LinuxCalls.Failure.notPermitted }
        guard call.fourth != 0 else { return 0 }
        UserMemory.write(call.fourth, value: call.second == 3 ? Linux.stackLimit : UInt64.max, call: call.number)
        UserMemory.write(call.fourth &+ 8, value: UInt64.max, call: call.number)
        return 0
    }

    /// getrandom: numbers that follow from the seed. Nothing for secrets.
    private static func random(_ call: LinuxCalls.Call) -> Int64 {
        let count = call.second < 256 ? call.second : 256
        var offset: UInt64 = 0
        while offset < count {
            let number = AddressSpace.current.pointee.random.next()
            withUnsafeBytes(of: number) {
                UserMemory.write(
                    call.first &+ offset, UnsafeRawBufferPointer(rebasing: $0.prefix(Int(min(8, count &- offset)))),
                    call: call.number)
            }
            offset &+= 8
        }
        return Int64(bitPattern: count)
    }
}

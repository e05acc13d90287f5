// Linux's system calls: number in RAX, arguments in RDI, RSI, RDX, R10, R8, R9, the result or an error's negative number in RAX.
// What a statically linked program of one thread needs that reads no files. Signals are not delivered: a fault ends the process
// with a report, and so does an address that is not the process's own.
//
// Source of the numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/errno-base.h.

/// Serves Linux's system calls.
enum LinuxCalls {
    /// Errors, as results.
    enum Failure {
        static var notPermitted: Int64 { -1 }  // EPERM
        static var noEntry: Int64 { -2 }  // ENOENT
        static var noProcess: Int64 { -3 }  // ESRCH
        static var badFile: Int64 { -9 }  // EBADF
        static var noChild: Int64 { -10 }  // ECHILD
        static var again: Int64 { -11 }  // EAGAIN
        static var noMemory: Int64 { -12 }  // ENOMEM
        static var exists: Int64 { -17 }  // EEXIST
        static var noDevice: Int64 { -19 }  // ENODEV
        static var invalid: Int64 { -22 }  // EINVAL
        static var noTerminal: Int64 { -25 }  // ENOTTY
        static var noSeek: Int64 { -29 }  // ESPIPE
        static var range: Int64 { -34 }  // ERANGE
        static var notThere: Int64 { -38 }  // ENOSYS
    }

    /// A call and its arguments.
    struct Call {
        let number: UInt64
        let first: UInt64
        let second: UInt64
        let third: UInt64
        let fourth: UInt64
        let fifth: UInt64

        init(_ frame: trap_frame) {
            number = frame.rax
            first = frame.rdi
            second = frame.rsi
            third = frame.rdx
            fourth = frame.r10
            fifth = frame.r8
        }
    }

    /// Numbers that were reported as not there: bit i of word i / 64.
    nonisolated(unsafe) private static var reported = InlineArray<8, UInt64>(repeating: 0)

    /// Serves one call of the running thread; its result is in the frame afterwards.
    static func handle(_ frame: TrapFrame) {
        let call = Call(frame.pointee)
        let result =
            LinuxMemory.handle(call) ?? LinuxFiles.handle(call) ?? LinuxProcess.handle(call, frame) ?? unknown(call)
        frame.pointee.rax = UInt64(bitPattern: result)
    }

    /// What is not there is said once for each number.
    private static func unknown(_ call: Call) -> Int64 {
        let number = call.number < 511 ? call.number : 511
        let (word, bit) = (Int(number &>> 6), UInt64(1) &<< (number & 63))
        guard reported[word] & bit == 0 else { return Failure.notThere }
        reported[word] |= bit
        Console.print { writer in
            Programs.name(Int(Thread.current?.pointee.program ?? 0), to: &writer)
            writer.text(": system call ")
            writer.decimal(call.number)
            writer.text(" is not there: ENOSYS, said once\n")
        }
        return Failure.notThere
    }
}

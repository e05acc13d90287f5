// What happens at a trap: exceptions, interrupts, yields, system calls.

typealias TrapFrame = UnsafeMutablePointer<trap_frame>

/// Called by every stub of traps.S with interrupts off; answers with the frame to go on with.
@c(trap_dispatch) public func trapDispatch(_ frame: UnsafeMutablePointer<trap_frame>) -> UnsafeMutablePointer<
    trap_frame
> {
    let vector = frame.pointee.vector
    if vector < 32 {
        Exceptions.handle(frame)
    } else if vector < 256 {
        Interrupts.handle(vector)
    } else if vector == UInt64(VECTOR_SYSCALL) {
        Programs.systemCall(frame)
    }
    guard let cpu = Processor.current else { return frame }
    if vector == UInt64(VECTOR_YIELD) || cpu.pointee.reschedule != 0 { return Scheduler.choose(frame) }
    return frame
}

/// Interrupts of devices and of other processors.
enum Interrupts {
    /// Requests of the monitor of the guest that were not answered yet: see Contract.requestPort.
    nonisolated(unsafe) static var powerOffRequested = false

    static func handle(_ vector: UInt64) {
        switch vector {
        case Vector.irq..<Vector.irq &+ 16: handleLine(vector &- Vector.irq)
        case Vector.tick:
            tickHere()
            TickTimer.startHere()
            LocalAPIC.end()
        case Vector.timer:
            if Processor.current?.pointee.number == 0 { Timer.ticks &+= 1 }
            tickHere()
            LocalAPIC.end()
        case Vector.flush:
            Shootdown.answer()
            LocalAPIC.end()
        case Vector.reschedule:
            Processor.current?.pointee.reschedule = 1
            LocalAPIC.end()
        case Vector.stop:
            while true { wait_for_ever() }
        default: break  // spurious: no end of interrupt
        }
    }

    private static func handleLine(_ irq: UInt64) {
        if irq & 7 == 7 && !InterruptController.isInService(irq) { return }
        switch irq {
        case 0:
            Timer.ticks &+= 1
            tickHere()
            TickTimer.countTick()
            if Processor.onlineCount > 1 { LocalAPIC.sendToOthers(vector: Vector.tick) }
        case UInt64(Contract.monitorIRQ): MonitorInput.receive()
        case UInt64(Contract.consoleIRQ): while SerialPort.console.receive() != nil {}
        case UInt64(Contract.requestIRQ):
            if in8(Contract.requestPort) & Contract.requestPowerOff != 0 {
                powerOffRequested = true
                MonitorInput.wakeServer()
            }
        default: break
        }
        InterruptController.end(irq)
    }

    private static func tickHere() {
        guard let cpu = Processor.current else { return }
        Shootdown.answer()
        cpu.pointee.ticks &+= 1
        cpu.pointee.reschedule = 1
    }
}

/// Faults: served, recovered from, a program's end, or the kernel's.
enum Exceptions {
    private static var pageFault: UInt64 { 14 }
    private static var doubleFault: UInt64 { 8 }
    /// What `syscall` looks like on a host whose ring 0 is emulated: a fetch from LSTAR by ring 3. Whether the page counts
    /// as present (0x1d) or not (0x14) depends on what the host's shadow tables hold.
    private static var syscallFault: UInt64 { 0x14 }

    static func handle(_ frame: TrapFrame) {
        let vector = frame.pointee.vector
        let isUser = frame.pointee.cs & 3 == 3
        let address = vector == pageFault ? read_cr2() : 0
        if vector == pageFault {
            if isUser && frame.pointee.rip == SystemCall.entry && frame.pointee.error & syscallFault == syscallFault {
                frame.pointee.rip = frame.pointee.rcx
                frame.pointee.rflags = (frame.pointee.r11 & 0xcd5) | 0x202
                frame.pointee.cs = 0x2b
                frame.pointee.ss = 0x23
                return Programs.systemCall(frame)
            }
            if AddressSpace.handleFault(address, code: frame.pointee.error) { return }
        }
        if !isUser && recover(frame) { return }
        if let thread = Thread.current, thread.pointee.program >= 0, Processor.current?.pointee.locks == 0 {
            TrapReport.print(frame, address: address, title: "program fault", program: thread.pointee.program)
            Programs.faulted()
        }
        TrapReport.print(frame, address: address, title: "kernel fault", program: -1)
        Kernel.halt(code: UInt32(truncatingIfNeeded: vector))
    }

    /// Accesses of traps.S that may fault: RAX gets the fault, and the function returns.
    private static func recover(_ frame: TrapFrame) -> Bool {
        let rip = frame.pointee.rip
        guard
            rip == address_of_probe_read_at() || rip == address_of_probe_write_at()
                || rip == address_of_probe_copy_at()
        else { return false }
        frame.pointee.rax = 1 &<< 63 | frame.pointee.vector &<< 32 | (frame.pointee.error & 0xffff_ffff)
        frame.pointee.rip = address_of_probe_failed()
        return true
    }
}

/// Accesses to memory that may not be there.
enum Probe {
    /// A fault that was recovered from.
    struct Fault: Error {
        let vector: UInt64
        let code: UInt64

        fileprivate init(_ packed: UInt64) {
            vector = packed &>> 32 & 0xff
            code = packed & 0xffff_ffff
        }
    }

    /// Reads 8 bytes.
    static func read(_ address: UInt64) throws(Fault) -> UInt64 {
        var value: UInt64 = 0
        let result = probe_read(address, &value)
        if result != 0 { throw Fault(result) }
        return value
    }

    /// Writes 8 bytes.
    static func write(_ address: UInt64, _ value: UInt64) throws(Fault) {
        let result = probe_write(address, value)
        if result != 0 { throw Fault(result) }
    }

    /// Copies bytes; where it stops at a fault, what was copied stays.
    static func copy(to: UInt64, from: UInt64, count: UInt64) throws(Fault) {
        let result = probe_copy(to, from, count)
        if result != 0 { throw Fault(result) }
    }
}

/// The syscall instruction.
enum SystemCall {
    /// Bytes of the instruction (0f 05).
    static var instructionSize: UInt64 { 2 }

    /// LSTAR: the entry where the kernel is linked, or, where that is VA = PA, its alias in the upper half: ring 3 cannot
    /// fetch from it, and where ring 0 is emulated faults there.
    static var entry: UInt64 {
        let address = address_of_syscall_entry()
        return Plan.current.imageOffset != 0 ? address : PageTable.linear(address)
    }
}

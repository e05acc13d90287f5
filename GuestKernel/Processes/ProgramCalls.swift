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
            result = isOwn(first, second) && Services.write(first, second) ? Int64(truncatingIfNeeded: second) : -1
        case UInt64(VITRINE_SYS_MAP.rawValue):
            result = Services.map(first, second, third).map { Int64(bitPattern: $0) } ?? -1
        case UInt64(VITRINE_SYS_PROTECT.rawValue): result = Services.protect(first, second, third)
        case UInt64(VITRINE_SYS_UNMAP.rawValue): result = Services.unmap(first, second)
        case UInt64(VITRINE_SYS_YIELD.rawValue):
            yield_processor()
            result = 0
        case UInt64(VITRINE_SYS_EXIT.rawValue): Programs.exit(Int64(bitPattern: first))
        case UInt64(VITRINE_SYS_TICKS.rawValue): result = Int64(bitPattern: Timer.ticks)
        default: result = -1
        }
        frame.pointee.rax = UInt64(bitPattern: result)
    }

    /// Whether every byte of a range lies in mappings of the lower half: the kernel does not read for a program what is not
    /// the program's to read.
    private static func isOwn(_ address: UInt64, _ count: UInt64) -> Bool {
        guard address < OSv.vmaEnd, count <= OSv.vmaEnd &- address else { return false }
        var next = address
        while next < address &+ count {
            guard let vma = AddressSpace.vma(at: next), vma.protection.contains(.read) else { return false }
            next = vma.end
        }
        return true
    }
}

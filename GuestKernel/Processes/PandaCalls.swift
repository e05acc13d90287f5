// System calls of panda beyond those of vitrine.h that every layout has: the heap's end, the argument text, and buffers. A buffer
// is memory of the process that the kernel reaches by its window: what it writes there the process reads, and nothing is copied.

/// Serves what only panda has.
enum PandaCalls {
    /// Serves a call of the running thread; its result is in the frame afterwards. Others go to `ProgramCalls`.
    static func handle(_ frame: TrapFrame) {
        let (first, second, third) = (frame.pointee.rdi, frame.pointee.rsi, frame.pointee.rdx)
        let result: UInt64
        switch frame.pointee.rax {
        case UInt64(VITRINE_SYS_BRK.rawValue): result = AddressSpace.current.pointee.setBreak(first)
        case UInt64(VITRINE_SYS_ARGUMENT.rawValue): result = argument(first, second, call: frame.pointee.rax)
        case UInt64(VITRINE_SYS_BUFFER.rawValue):
            result = (try? PandaBuffers.allocate(first)) ?? UInt64.max
        case UInt64(VITRINE_SYS_BUFFER_FREE.rawValue): result = PandaBuffers.free(first) ? 0 : UInt64.max
        case UInt64(VITRINE_SYS_BUFFER_FILL.rawValue):
            result = PandaBuffers.fill(first, second, third) ? 0 : UInt64.max
        default: return ProgramCalls.handle(frame)
        }
        frame.pointee.rax = result
    }

    /// Copies the argument text, NUL-terminated, as far as it fits; how many bytes there are without the NUL.
    private static func argument(_ address: UInt64, _ size: UInt64, call: UInt64) -> UInt64 {
        guard size > 0, let text = CommandLine.value("args=") else {
            if size > 0 { UserMemory.write(address, value: UInt8(0), call: call) }
            return 0
        }
        var count: UInt64 = 0
        while count < size &- 1 && count < UInt64(Contract.commandLineLimit) && text[Int(count)] != 0 { count &+= 1 }
        UserMemory.write(
            address, UnsafeRawBufferPointer(start: UnsafeRawPointer(text), count: Int(count)), call: call)
        UserMemory.write(address &+ count, value: UInt8(0), call: call)
        return count
    }
}

/// The buffers of the running thread's process.
enum PandaBuffers {
    /// A buffer of at least `size` bytes, mapped as a whole: the first place where it fits.
    static func allocate(_ size: UInt64) throws(MemoryError) -> UInt64 {
        guard size > 0, size <= Panda.buffersSize else { throw .badSize }
        let pages = (size &+ 4095) &>> 12
        let space = AddressSpace.current
        let program = Thread.current?.pointee.program ?? -1
        return try Memory.locked { () throws(MemoryError) in
            let limit = Panda.buffersBase &+ Panda.buffersSize
            let from = isBroken("buffers-first-fit") ? next : Panda.buffersBase
            guard pages < PhysicalPages.freePages,
                let start = space.pointee.vmas.search(from: from, below: limit, size: pages &<< 12, alignment: 4096)
            else { throw .outOfMemory }
            try space.pointee.vmas.reserve(1)
            let vma = VMA(
                start: start, end: start &+ pages &<< 12, protection: [.read, .write], kind: .buffer, program: program)
            space.pointee.vmas.insert(vma, at: space.pointee.vmas.firstIndex(above: start))
            next = vma.end
            var page = start
            do throws(MemoryError) {
                // Broken, a large buffer lacks its last page.
                let end = pages > 2 && isBroken("buffers-mapped") ? vma.end &- 4096 : vma.end
                while page < end {
                    try space.pointee.mapFrame(page, bits: vma.protection.leafBits)
                    page &+= 4096
                }
            } catch {
                try space.pointee.remove(start, vma.end)
                throw error
            }
            return start
        }
    }

    /// What a search that is no first fit begins at (`break=buffers-first-fit`).
    nonisolated(unsafe) private static var next = Panda.buffersBase

    /// Whether a rule is broken, for what the monitor does: programs use what they find.
    private static func isBroken(_ rule: StaticString) -> Bool {
        Break.isAny && Thread.current?.pointee.program == -1 && Break.at(rule)
    }

    /// Gives a buffer back; false if there is none at this address.
    static func free(_ address: UInt64) -> Bool {
        let space = AddressSpace.current
        guard let vma = space.pointee.vma(at: address), vma.kind == .buffer, vma.start == address else {
            return isBroken("buffers-freed")
        }
        do throws(MemoryError) {
            try space.pointee.unmap(vma.start, size: vma.end &- vma.start)
            return true
        } catch {
            return false
        }
    }

    /// Writes words `value`, `value + 1`, ... into `size` bytes of a buffer by the kernel's window; false if they are not all
    /// of one buffer.
    static func fill(_ address: UInt64, _ size: UInt64, _ value: UInt64) -> Bool {
        let space = AddressSpace.current
        guard let vma = space.pointee.vma(at: address), vma.kind == .buffer, address & 7 == 0,
            size <= vma.end &- address
        else { return false }
        var next = value &+ (isBroken("buffers-zero-copy") ? 1 : 0)
        var offset: UInt64 = 0
        while offset &+ 8 <= size {
            guard let physical = space.pointee.physical(of: address &+ offset) else { return false }
            // The rest of this page, or of the range.
            var word = PageTable.linear(physical)
            let pageEnd = (word & ~4095) &+ 4096
            while word < pageEnd && offset &+ 8 <= size {
                write_word(word, next)
                word &+= 8
                offset &+= 8
                next &+= 1
            }
        }
        return true
    }
}

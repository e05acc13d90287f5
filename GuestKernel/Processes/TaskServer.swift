// The vm server of resea: faults of tasks become messages to it, and it answers with a mapping.
//
//     task faults -> ask() queues a message and blocks  -> the server's thread receives it, fills a page of its own
//     task goes on <- the kernel maps that page         <- and answers
//
// The kernel decides nothing about a task's pages but that they are the server's to give.

/// Messages to the vm server.
enum TaskServer {
    /// What is known of one message.
    private struct Message {
        enum State: UInt8 {
            case free
            case queued
            case taken
            case answered
        }
        var state = State.free
        var kind: UInt64 = 0
        var task: UInt64 = 0
        var address: UInt64 = 0
        var code: UInt64 = 0
        /// In which order they came.
        var sequence: UInt64 = 0
        var sender: Thread.Pointer?
        var value: UInt64 = 0
        var answer: UInt64 = 0
    }

    /// The server's number among the programs.
    static var number: Int { 0 }
    private static var capacity: Int { 72 }
    nonisolated(unsafe) private static var lock = SpinLock()
    nonisolated(unsafe) private static var list = InlineArray<72, Message>(repeating: Message())
    nonisolated(unsafe) private static var sequence: UInt64 = 0
    /// The server's thread while it waits for a message.
    nonisolated(unsafe) private static var waiting: Thread.Pointer?
    /// Faults that were sent, answered with a page, and refused.
    nonisolated(unsafe) private(set) static var faults: UInt64 = 0
    nonisolated(unsafe) private(set) static var pages: UInt64 = 0
    nonisolated(unsafe) private(set) static var refusals: UInt64 = 0

    /// Whether pages of the running thread's address space are the server's to give: those of every task but its own.
    static var serves: Bool {
        guard Plan.current.name == .resea, let space = Thread.current?.pointee.space else { return false }
        return space != UnsafeMutableRawPointer(Spaces.kernel) && space != serverSpace
    }

    private static var serverSpace: UnsafeMutableRawPointer? {
        Programs.program(number).space.map { UnsafeMutableRawPointer($0) }
    }

    // MARK: The kernel's side

    /// A fault of a task, in the thread that made it: true if there is a page now.
    static func fault(_ address: UInt64, code: UInt64) -> Bool {
        let space = AddressSpace.current
        guard let task = Programs.number(of: space) else { return false }
        let walk = PageTable.walk(space.pointee.root, address)
        if walk.physical(of: address) != nil && (code & 2 == 0 || walk.value & PageTable.writable != 0)
            && (code & 16 == 0 || walk.value & PageTable.noExecute == 0)
        {
            // Another thread was faster, or the TLB is older than the entry.
            invalidate_page(address)
            return true
        }
        var told = code & 0x1f
        if let vma = space.pointee.vma(at: address) {
            told |= 0x100
            if vma.protection.contains(.write) { told |= 0x200 }
        }
        if Break.isAny && BreakResea.serves(space, address) { return true }
        faults &+= 1
        guard let answer = ask(UInt64(VITRINE_MESSAGE_FAULT.rawValue), UInt64(task), address, told) else {
            return false
        }
        if answer.kind == UInt64(VITRINE_ANSWER_NO_MEMORY.rawValue) { AddressSpace.lastError = .outOfMemory }
        if answer.kind == UInt64(VITRINE_ANSWER_READABLE.rawValue)
            || answer.kind == UInt64(VITRINE_ANSWER_WRITABLE.rawValue)
        {
            pages &+= 1
            return true
        }
        refusals &+= 1
        return false
    }

    /// Unmaps a range of the running task that is mapped as a whole, and gives the server its pages back; 0, or -1.
    static func unmap(_ address: UInt64, _ size: UInt64) -> Int64 {
        let space = AddressSpace.current
        guard let task = Programs.number(of: space), address & 4095 == 0, size > 0, size <= Plan.current.vmaEnd else {
            return -1
        }
        let end = address &+ (size &+ 4095) & ~4095
        var at = address
        while at < end {
            guard let vma = space.pointee.vma(at: at) else { return -1 }
            at = vma.end
        }
        at = end
        while at > address {
            at &-= 4096
            let page = space.pointee.physical(of: at)
            do throws(MemoryError) { try space.pointee.unmap(at, size: 4096) } catch { return -1 }
            if let page { _ = ask(UInt64(VITRINE_MESSAGE_FREED.rawValue), UInt64(task), page, 0) }
        }
        return 0
    }

    /// Sends a message and waits for the answer; nil if there is no server, or it has too much to do.
    static func ask(
        _ kind: UInt64, _ task: UInt64, _ address: UInt64, _ code: UInt64
    ) -> (value: UInt64, kind: UInt64)? {
        guard let thread = Thread.current else { return nil }
        let state = lock.acquire()
        defer { lock.release(state) }
        guard let slot = queue(kind, task, address, code, from: thread) else { return nil }
        while list[slot].state != .answered {
            guard Programs.program(number).state == .running else {
                list[slot].state = .free
                return nil
            }
            // Whoever answers holds the lock: it finds this thread blocked, or the answer is there already.
            thread.pointee.state = ThreadState.blocked.rawValue
            lock.release(false)
            yield_processor()
            _ = lock.acquire()
        }
        list[slot].state = .free
        return (list[slot].value, list[slot].answer)
    }

    /// Tells the server that a task is over: its pages are mapped nowhere any more.
    static func ended(_ task: Int) {
        let state = lock.acquire()
        _ = queue(UInt64(VITRINE_MESSAGE_ENDED.rawValue), UInt64(task), 0, 0, from: nil)
        lock.release(state)
    }

    /// Before a task's address space goes: nothing is mapped into it any more. Its threads do not run any more.
    static func forget(_ task: Int) {
        let state = lock.acquire()
        for slot in 0..<capacity where list[slot].task == UInt64(task) && list[slot].state != .free {
            if list[slot].kind == UInt64(VITRINE_MESSAGE_FAULT.rawValue) { list[slot].state = .free }
        }
        // The server itself: whoever waits for it is told.
        if task == number {
            waiting = nil
            for slot in 0..<capacity where list[slot].state != .free {
                if let sender = list[slot].sender { Scheduler.wake(sender) }
            }
        }
        lock.release(state)
    }

    /// Puts a message into the queue and wakes the server. Locked.
    private static func queue(
        _ kind: UInt64, _ task: UInt64, _ address: UInt64, _ code: UInt64, from sender: Thread.Pointer?
    ) -> Int? {
        guard Programs.program(number).state == .running else { return nil }
        for slot in 0..<capacity where list[slot].state == .free {
            sequence &+= 1
            list[slot] = Message(
                state: .queued, kind: kind, task: task, address: address, code: code, sequence: sequence, sender: sender
            )
            if let server = waiting { Scheduler.wake(server) }
            return slot
        }
        return nil
    }

    // MARK: The server's side

    /// System calls of the server; nil if the number is none of them, or the caller is not the server.
    static func call(_ frame: UnsafeMutablePointer<trap_frame>) -> Int64? {
        guard Plan.current.name == .resea, let thread = Thread.current, Int(thread.pointee.program) == number else {
            return nil
        }
        switch frame.pointee.rax {
        case UInt64(VITRINE_SYS_SERVER_RECEIVE.rawValue): return receive(frame.pointee.rdi, thread)
        case UInt64(VITRINE_SYS_SERVER_ANSWER.rawValue):
            return answer(frame.pointee.rdi, frame.pointee.rsi, frame.pointee.rdx)
        case UInt64(VITRINE_SYS_SERVER_TASK.rawValue):
            return ReseaTasks.make(file: frame.pointee.rdi, entry: frame.pointee.rsi)
        default: return nil
        }
    }

    /// Waits for the next message and writes it to the server's memory: five words.
    private static func receive(_ buffer: UInt64, _ thread: Thread.Pointer) -> Int64 {
        let state = lock.acquire()
        var oldest = -1
        while true {
            for slot in 0..<capacity where list[slot].state == .queued {
                if oldest < 0 || list[slot].sequence < list[oldest].sequence { oldest = slot }
            }
            if oldest >= 0 { break }
            waiting = thread
            thread.pointee.state = ThreadState.blocked.rawValue
            lock.release(false)
            yield_processor()
            _ = lock.acquire()
        }
        waiting = nil
        let message = list[oldest]
        // Nobody waits for an answer to some.
        list[oldest].state = message.sender == nil ? .free : .taken
        lock.release(state)
        guard probe_write(buffer, message.kind) == 0, probe_write(buffer &+ 8, UInt64(oldest)) == 0,
            probe_write(buffer &+ 16, message.task) == 0, probe_write(buffer &+ 24, message.address) == 0,
            probe_write(buffer &+ 32, message.code) == 0
        else { return -1 }
        return 0
    }

    /// Answers a message that was received; a page is mapped before the one who waits goes on.
    private static func answer(_ slot: UInt64, _ value: UInt64, _ kind: UInt64) -> Int64 {
        guard slot < UInt64(capacity) else { return -1 }
        let state = lock.acquire()
        defer { lock.release(state) }
        let index = Int(slot)
        guard list[index].state == .taken else { return -1 }
        var kind = kind
        if list[index].kind == UInt64(VITRINE_MESSAGE_FAULT.rawValue), !map(list[index], value, kind) {
            kind = kind == UInt64(VITRINE_ANSWER_NO_MEMORY.rawValue) ? kind : UInt64(VITRINE_ANSWER_NO.rawValue)
        }
        list[index].value = value
        list[index].answer = kind
        list[index].state = .answered
        if let sender = list[index].sender { Scheduler.wake(sender) }
        return 0
    }

    /// Maps a page of the pool into the task that a message is about; false if it is none, or refused. Locked.
    private static func map(_ message: Message, _ page: UInt64, _ kind: UInt64) -> Bool {
        let isWritable = kind == UInt64(VITRINE_ANSWER_WRITABLE.rawValue)
        guard isWritable || kind == UInt64(VITRINE_ANSWER_READABLE.rawValue), page & 4095 == 0,
            page >= Resea.poolBase, page < PhysicalPages.top,
            let space = Programs.program(Int(message.task)).space
        else { return false }
        let address = message.address & ~4095
        let held = Memory.lock.acquire()
        defer { Memory.lock.release(held) }
        // Two threads may have faulted on one page: the first answer counts.
        let walk = PageTable.walk(space.pointee.root, address)
        if walk.value & PageTable.present != 0 { return true }
        var bits = isWritable ? Resea.taskLeafWritable : Resea.taskLeaf
        if Break.isAny { bits = BreakResea.bits(bits, at: address, page) }
        do throws(MemoryError) {
            try space.pointee.setLeaf(address, page | bits)
            return true
        } catch {
            AddressSpace.lastError = error
            return false
        }
    }
}

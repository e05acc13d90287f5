// resea's vm server: starts tasks from the bootfs, and fills their pages when the kernel sends it a fault.
//
// What it hands out is RAM from 256 MiB on. It has that at VA = PA (the straight mapping), so a page is filled by writing to
// its physical address. Every page has one owner; the kernel says when a task ended, and its pages are free again.

/// A message of the kernel: five words.
private struct Message {
    var kind: UInt64 = 0
    var slot: UInt64 = 0
    var task: UInt64 = 0
    /// The faulting address, or a file's number.
    var address: UInt64 = 0
    /// The page fault's error code; bits 8 and 9: a mapping was asked for there, and one that may be written.
    var code: UInt64 = 0
}

private let pageSize: UInt64 = 4096
private let poolBase: UInt64 = 0x1000_0000
private let bootfs: UInt64 = 0x0900_0000_0000
/// The owners of pages, a byte each: 0 free, else the task's number + 1. In the server's own heap.
private let owners: UInt64 = 0x420_0000

/// What the server knows.
private struct Server {
    var system: System
    var argument: UnsafePointer<CChar>
    /// One past the last page; and the number of a page below which none is free.
    var poolEnd: UInt64 = 0
    var next: UInt64 = 0
    /// The file of each task, + 1.
    var files = InlineArray<64, UInt8>(repeating: 0)

    var pages: UInt64 { (poolEnd &- poolBase) / pageSize }

    // MARK: The pool

    func owner(_ page: UInt64) -> UnsafeMutablePointer<UInt8>? {
        UnsafeMutablePointer(bitPattern: UInt(owners &+ page))
    }

    /// The first free page, cleared: its physical address, or nil.
    mutating func take(for task: UInt64) -> UInt64? {
        while next < pages {
            let page = next
            next &+= 1
            guard let owner = owner(page), owner.pointee == 0 else { continue }
            owner.pointee = UInt8(truncatingIfNeeded: task &+ 1)
            let address = poolBase &+ page &* pageSize
            fill(address, from: 0, 0)
            return address
        }
        return nil
    }

    /// Gives back a page, if a task has it.
    mutating func release(_ task: UInt64, page: UInt64) {
        guard let owner = owner(page), owner.pointee == UInt8(truncatingIfNeeded: task &+ 1) else { return }
        owner.pointee = 0
        next = min(next, page)
    }

    /// Gives back what a task had.
    mutating func release(_ task: UInt64) {
        var page: UInt64 = 0
        while page < pages {
            release(task, page: page)
            page &+= 1
        }
    }

    /// Puts bytes at the beginning of a page, and zeros behind them.
    func fill(_ page: UInt64, from source: UInt64, _ count: UInt64) {
        guard let target = UnsafeMutableRawPointer(bitPattern: UInt(page)) else { return }
        if count > 0, let bytes = UnsafeRawPointer(bitPattern: UInt(source)) {
            target.copyMemory(from: bytes, byteCount: Int(count))
        }
        (target + Int(count)).initializeMemory(as: UInt8.self, repeating: 0, count: Int(pageSize &- count))
    }

    // MARK: The bootfs

    func word(_ address: UInt64) -> UInt64 {
        UnsafePointer<UInt64>(bitPattern: UInt(address))?.pointee ?? 0
    }
    func half(_ address: UInt64) -> UInt64 {
        UInt64(UnsafePointer<UInt16>(bitPattern: UInt(address))?.pointee ?? 0)
    }

    var fileCount: UInt64 { word(bootfs &+ 8) }

    /// Where a file is, and whether it starts at boot.
    func file(_ number: UInt64) -> (address: UInt64, starts: Bool) {
        let entry = bootfs &+ 64 &+ number &* 64
        return (bootfs &+ word(entry), word(entry &+ 16) != 0)
    }

    /// Starts a file's task: its number, or nil.
    mutating func start(_ file: UInt64) -> UInt64? {
        guard file > 0, file < fileCount else { return nil }
        let entry = word(self.file(file).address &+ 24)
        let number = vitrine_system_call(UInt64(VITRINE_SYS_SERVER_TASK.rawValue), file, entry, 0)
        guard number > 0, number < 64 else { return nil }
        files[Int(number)] = UInt8(truncatingIfNeeded: file &+ 1)
        return UInt64(number)
    }

    /// The file's bytes that belong into a page of a task: where they are, and how many from the page's beginning on. Nil if
    /// the page is in no segment. Segments begin at the beginning of a page.
    func segment(_ file: UInt64, _ page: UInt64) -> (source: UInt64, count: UInt64)? {
        let elf = self.file(file).address
        let headers = elf &+ word(elf &+ 32)
        var index: UInt64 = 0
        while index < half(elf &+ 56) {
            let header = headers &+ index &* 56
            index &+= 1
            guard word(header) & 0xffff_ffff == 1 else { continue }
            let address = word(header &+ 16)
            let size = word(header &+ 40)
            guard page >= address, page < address &+ size else { continue }
            let distance = page &- address
            let inFile = word(header &+ 32)
            let count = distance >= inFile ? 0 : min(inFile &- distance, pageSize)
            return (elf &+ word(header &+ 8) &+ distance, count)
        }
        return nil
    }

    // MARK: Faults

    /// Serves a fault: the page's physical address and VITRINE_ANSWER_..., or 0 and why not.
    mutating func serve(_ message: Message) -> (page: UInt64, answer: vitrine_answer) {
        let page = message.address & ~(pageSize &- 1)
        let task = message.task
        // A page that is there and may not be used so; the first page; nobody's task.
        guard message.code & 1 == 0, page != 0, task < 64, files[Int(task)] > 0 else { return (0, VITRINE_ANSWER_NO) }
        var content: (source: UInt64, count: UInt64) = (0, 0)
        var isWritable = true
        switch page {
        case 0x100_0000..<0x2ff_f000, 0x300_0000..<0x400_0000, 0xc20_0000..<0x1000_0000:
            guard let found = segment(UInt64(files[Int(task)]) &- 1, page) else { return (0, VITRINE_ANSWER_NO) }
            content = found
            isWritable = page >= 0x300_0000
        case 0x2ff_f000:
            var count: UInt64 = 0
            while count < pageSize &- 1, argument[Int(count)] != 0 { count &+= 1 }
            content = (UInt64(UInt(bitPattern: argument)), count)
            isWritable = false
        case 0x400_0000..<0xc20_0000: break
        default:
            guard message.code & 0x100 != 0 else { return (0, VITRINE_ANSWER_NO) }
            isWritable = message.code & 0x200 != 0
        }
        guard isWritable || message.code & 2 == 0 else { return (0, VITRINE_ANSWER_NO) }
        guard let free = take(for: task) else { return (0, VITRINE_ANSWER_NO_MEMORY) }
        if content.count > 0 { fill(free, from: content.source, content.count) }
        return (free, isWritable ? VITRINE_ANSWER_WRITABLE : VITRINE_ANSWER_READABLE)
    }

    func answer(_ message: Message, _ value: UInt64, _ answer: vitrine_answer) {
        _ = vitrine_system_call(
            UInt64(VITRINE_SYS_SERVER_ANSWER.rawValue), message.slot, value, UInt64(answer.rawValue))
    }

    mutating func run() -> Int64 {
        var message = Message()
        while true {
            let result = withUnsafeMutablePointer(to: &message) {
                vitrine_system_call(
                    UInt64(VITRINE_SYS_SERVER_RECEIVE.rawValue), UInt64(UInt(bitPattern: $0)), 0, 0)
            }
            guard result == 0 else { return 1 }
            switch message.kind {
            case UInt64(VITRINE_MESSAGE_FAULT.rawValue):
                let (page, kind) = serve(message)
                answer(message, page, kind)
            case UInt64(VITRINE_MESSAGE_ENDED.rawValue):
                release(message.task)
                if message.task < 64 { files[Int(message.task)] = 0 }
            case UInt64(VITRINE_MESSAGE_FREED.rawValue):
                if message.address >= poolBase, message.address < poolEnd {
                    release(message.task, page: (message.address &- poolBase) / pageSize)
                }
                answer(message, 0, VITRINE_ANSWER_WRITABLE)
            case UInt64(VITRINE_MESSAGE_START.rawValue):
                if let number = start(message.address) {
                    answer(message, number, VITRINE_ANSWER_WRITABLE)
                } else {
                    answer(message, 0, VITRINE_ANSWER_NO)
                }
            default:
                boot(message)
            }
        }
    }

    /// Starts those that start at boot, as many of each as the kernel says.
    mutating func boot(_ message: Message) {
        poolEnd = message.address
        var file: UInt64 = 1
        while file < fileCount {
            var copies = self.file(file).starts ? message.code : 0
            while copies > 0 {
                _ = start(file)
                copies &-= 1
            }
            file &+= 1
        }
        answer(message, 0, VITRINE_ANSWER_WRITABLE)
    }
}

func program(_ system: System, _ argument: UnsafePointer<CChar>) -> Int64 {
    var server = Server(system: system, argument: argument)
    return server.run()
}

// The kernel as a program sees it: the services of vitrine.h as plain calls in ring 0, as system calls in ring 3.

/// The kernel's services, in either ring.
struct System {
    /// The services table, or nil in ring 3.
    let services: vitrine_services?

    init(_ table: UnsafePointer<vitrine_services>?) {
        services = table?.pointee
    }

    /// Whether the program runs in ring 3.
    var isUser: Bool { services == nil }

    /// Prints bytes on the console.
    func write(_ bytes: UnsafePointer<CChar>, count: UInt64) {
        if let write = services?.write {
            write(bytes, count)
        } else {
            _ = call(VITRINE_SYS_WRITE, UInt64(UInt(bitPattern: bytes)), count)
        }
    }

    /// Allocates from an area, or by size; nil when memory is short. In ring 3 there are no areas to reach: memory is mapped.
    func allocate(_ size: UInt64, area: vitrine_area = VITRINE_BY_SIZE) -> UnsafeMutableRawPointer? {
        if let allocate = services?.allocate { return allocate(size, UInt64(area.rawValue)) }
        return map(size)
    }

    /// Gives a block back; its size matters in ring 3, where it was mapped.
    func release(_ block: UnsafeMutableRawPointer, size: UInt64) {
        if let release = services?.release {
            release(block)
        } else {
            _ = unmap(block, size)
        }
    }

    /// Maps anonymous memory, at an address or anywhere; nil on failure.
    func map(
        at address: UnsafeMutableRawPointer? = nil, _ size: UInt64,
        _ protection: UInt32 = VITRINE_READ.rawValue | VITRINE_WRITE.rawValue
    ) -> UnsafeMutableRawPointer? {
        if let map = services?.map { return map(address, size, UInt64(protection)) }
        let result = call(VITRINE_SYS_MAP, UInt64(UInt(bitPattern: address)), size, UInt64(protection))
        return result == -1 ? nil : UnsafeMutableRawPointer(bitPattern: Int(result))
    }

    /// Changes the protection of pages.
    func protect(_ address: UnsafeMutableRawPointer, _ size: UInt64, _ protection: UInt32) -> Bool {
        if let protect = services?.protect { return protect(address, size, UInt64(protection)) == 0 }
        return call(VITRINE_SYS_PROTECT, UInt64(UInt(bitPattern: address)), size, UInt64(protection)) == 0
    }

    /// Unmaps pages.
    func unmap(_ address: UnsafeMutableRawPointer, _ size: UInt64) -> Bool {
        if let unmap = services?.unmap { return unmap(address, size) == 0 }
        return call(VITRINE_SYS_UNMAP, UInt64(UInt(bitPattern: address)), size) == 0
    }

    /// Lets others run.
    func yield() {
        if let yield = services?.yield {
            yield()
        } else {
            _ = call(VITRINE_SYS_YIELD)
        }
    }

    /// A second process that goes on here: its number, 0 in itself, -1 where it cannot be. Ring 3 only, as all that follows.
    func fork() -> Int64 { call(VITRINE_SYS_FORK) }

    /// The number of this process.
    func processNumber() -> Int64 { call(VITRINE_SYS_GETPID) }

    /// Waits until another process is over; its status.
    func wait(for process: Int64) -> Int64 { call(VITRINE_SYS_WAIT, UInt64(bitPattern: process)) }

    /// Waits until the process is ended from outside.
    func pause() { _ = call(VITRINE_SYS_PAUSE) }

    /// Ends the process.
    func exit(_ status: Int64) { _ = call(VITRINE_SYS_EXIT, UInt64(bitPattern: status)) }

    /// A second thread that begins at `entry` with an argument.
    func startThread(_ entry: @convention(c) (UInt64) -> Void, stack: UnsafeMutableRawPointer, _ argument: UInt64)
        -> Bool
    {
        let address = UInt64(UInt(bitPattern: unsafeBitCast(entry, to: UnsafeRawPointer.self)))
        // As if called.
        return call(VITRINE_SYS_THREAD, address, UInt64(UInt(bitPattern: stack)) &- 8, argument) == 0
    }

    /// Ends the thread that calls.
    static func exitThread() { _ = vitrine_system_call(UInt64(VITRINE_SYS_THREAD_EXIT.rawValue), 0, 0, 0) }

    /// Prints what is at any address: also at a wrong one.
    func write(at address: UInt64, _ count: UInt64) -> Int64 { call(VITRINE_SYS_WRITE, address, count) }

    /// Timer ticks since the start.
    func ticks() -> UInt64 {
        if let ticks = services?.ticks { return ticks() }
        return UInt64(bitPattern: call(VITRINE_SYS_TICKS))
    }

    private func call(
        _ number: vitrine_system_call, _ first: UInt64 = 0, _ second: UInt64 = 0, _ third: UInt64 = 0
    ) -> Int64 {
        vitrine_system_call(UInt64(number.rawValue), first, second, third)
    }
}

/// The entry: System V arguments in, the exit status out.
@_cdecl("_start")
func start(_ table: UnsafePointer<vitrine_services>?, _ argument: UnsafePointer<CChar>) -> Int64 {
    program(System(table), argument)
}

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

// What programs may ask of the kernel (Images/include/vitrine.h): plain calls in ring 0 through the table of services.c,
// system calls in ring 3. What a program passes is believed nowhere: text is copied by accesses that may fail, addresses and
// sizes are checked by the address space and the allocator.

/// The work behind services and system calls. Addresses are those of the program.
enum Services {
    /// Of one call more bytes than this are not printed.
    static var writeLimit: UInt64 { 64 << 10 }

    /// Prints bytes of a program; false if they cannot be read to their end.
    static func write(_ bytes: UInt64, _ count: UInt64) -> Bool {
        guard count <= writeLimit else { return false }
        var piece = InlineArray<128, UInt8>(repeating: 0)
        var done: UInt64 = 0
        while done < count {
            let part = count &- done < 128 ? count &- done : 128
            let isPrinted = withUnsafeMutableBytes(of: &piece) { buffer in
                guard let base = buffer.baseAddress,
                    probe_copy(UInt64(UInt(bitPattern: base)), bytes &+ done, part) == 0
                else { return false }
                Console.write(base, Int(truncatingIfNeeded: part))
                return true
            }
            guard isPrinted else { return false }
            done &+= part
        }
        return true
    }

    /// Allocates by size or from an area (`enum vitrine_area`); 0 on failure.
    static func allocate(_ size: UInt64, _ area: UInt64) -> UInt64 {
        let wanted: OSv.Area?
        switch area {
        case UInt64(VITRINE_BY_SIZE.rawValue): wanted = nil
        case UInt64(VITRINE_MAIN.rawValue): wanted = .main
        case UInt64(VITRINE_PAGE.rawValue): wanted = .page
        case UInt64(VITRINE_MEMPOOL.rawValue): wanted = .mempool
        case UInt64(VITRINE_DEBUG.rawValue): wanted = .debug
        default: return 0
        }
        return (try? Malloc.allocate(size, area: wanted)) ?? 0
    }

    /// Maps anonymous memory, anywhere if `address` is 0; nil on failure.
    static func map(_ address: UInt64, _ size: UInt64, _ protection: UInt64) -> UInt64? {
        guard protection <= 7, let number = Thread.current?.pointee.program else { return nil }
        let offset = OffsetProcess.offset
        guard address == 0 || OffsetProcess.contains(address, size) else { return nil }
        let start = try? AddressSpace.current.pointee.map(
            at: address == 0 ? nil : OffsetProcess.absolute(address), size: size,
            protection: Protection(rawValue: protection), program: number)
        return start.map { $0 &- offset }
    }

    /// Changes a protection; 0, or -1 on failure.
    static func protect(_ address: UInt64, _ size: UInt64, _ protection: UInt64) -> Int64 {
        guard protection <= 7, OffsetProcess.contains(address, size) else { return -1 }
        do throws(MemoryError) {
            try AddressSpace.current.pointee.protect(
                OffsetProcess.absolute(address), size: size, protection: Protection(rawValue: protection))
            return 0
        } catch {
            return -1
        }
    }

    /// Unmaps; 0, or -1 on failure.
    static func unmap(_ address: UInt64, _ size: UInt64) -> Int64 {
        guard OffsetProcess.contains(address, size) else { return -1 }
        if TaskServer.serves { return TaskServer.unmap(address, size) }
        do throws(MemoryError) {
            try AddressSpace.current.pointee.unmap(OffsetProcess.absolute(address), size: size)
            return 0
        } catch {
            return -1
        }
    }
}

/// `vitrine_services.write`.
@c(service_write) public func serviceWrite(_ bytes: UnsafePointer<CChar>?, _ count: UInt64) {
    _ = Services.write(UInt64(UInt(bitPattern: bytes)), count)
}

/// `vitrine_services.exit`.
@c(service_exit) public func serviceExit(_ status: Int64) { Programs.exit(status) }

/// `vitrine_services.allocate`.
@c(service_allocate) public func serviceAllocate(_ size: UInt64, _ area: UInt64) -> UnsafeMutableRawPointer? {
    UnsafeMutableRawPointer(bitPattern: UInt(Services.allocate(size, area)))
}

/// `vitrine_services.release`; what is no block is left alone.
@c(service_release) public func serviceRelease(_ block: UnsafeMutableRawPointer?) {
    try? Malloc.free(UInt64(UInt(bitPattern: block)))
}

/// `vitrine_services.map`.
@c(service_map) public func serviceMap(
    _ address: UnsafeMutableRawPointer?, _ size: UInt64, _ protection: UInt64
) -> UnsafeMutableRawPointer? {
    UnsafeMutableRawPointer(bitPattern: UInt(Services.map(UInt64(UInt(bitPattern: address)), size, protection) ?? 0))
}

/// `vitrine_services.protect`.
@c(service_protect) public func serviceProtect(
    _ address: UnsafeMutableRawPointer?, _ size: UInt64, _ protection: UInt64
) -> Int64 {
    Services.protect(UInt64(UInt(bitPattern: address)), size, protection)
}

/// `vitrine_services.unmap`.
@c(service_unmap) public func serviceUnmap(_ address: UnsafeMutableRawPointer?, _ size: UInt64) -> Int64 {
    Services.unmap(UInt64(UInt(bitPattern: address)), size)
}

/// `vitrine_services.yield`.
@c(service_yield) public func serviceYield() { yield_processor() }

/// `vitrine_services.ticks`.
@c(service_ticks) public func serviceTicks() -> UInt64 { Timer.ticks }

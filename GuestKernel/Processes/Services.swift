// What a ring-0 program may call: the table of Images/include/vitrine.h. Addresses that come from programs are believed
// nowhere: text is copied by accesses that may fail, everything else is checked by what it is given to.

/// The services table, and the work behind it that system calls share.
enum Services {
    /// More bytes than this are not printed by one call.
    static var writeLimit: UInt64 { 64 << 10 }

    /// The table that every ring-0 program gets.
    nonisolated(unsafe) static var table = vitrine_services(
        version: 1, size: UInt64(MemoryLayout<vitrine_services>.size),
        write: { bytes, count in _ = Services.write(UInt64(UInt(bitPattern: bytes)), count) },
        exit: { status in Programs.exit(status) },
        allocate: { size, area in UnsafeMutableRawPointer(bitPattern: UInt(Services.allocate(size, area))) },
        release: { block in Services.release(UInt64(UInt(bitPattern: block))) },
        map: { at, size, protection in
            UnsafeMutableRawPointer(bitPattern: UInt(Services.map(UInt64(UInt(bitPattern: at)), size, protection) ?? 0))
        },
        protect: { at, size, protection in Services.protect(UInt64(UInt(bitPattern: at)), size, protection) },
        unmap: { at, size in Services.unmap(UInt64(UInt(bitPattern: at)), size) },
        yield: { yield_processor() },
        ticks: { Services.ticks() })

    /// Prints bytes of a program; false if they cannot be read to their end.
    static func write(_ bytes: UInt64, _ count: UInt64) -> Bool {
        guard count <= writeLimit else { return false }
        var piece = InlineArray<128, UInt8>(repeating: 0)
        var done: UInt64 = 0
        while done < count {
            let part = count &- done < 128 ? count &- done : 128
            let isRead = piece.mutableSpan.withUnsafeMutableBytes { buffer in
                probe_copy(UInt64(UInt(bitPattern: buffer.baseAddress)), bytes &+ done, part) == 0
            }
            guard isRead else { return false }
            piece.span.withUnsafeBytes { buffer in
                if let base = buffer.baseAddress { Console.write(base, Int(truncatingIfNeeded: part)) }
            }
            done &+= part
        }
        return true
    }
}

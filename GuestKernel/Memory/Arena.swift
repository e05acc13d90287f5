// The page-table arena: RAM that only page tables are made of, a memory slot of its own on the host's side.

/// Hands out zeroed 4 KiB tables and takes back empty ones.
enum Arena {
    nonisolated(unsafe) private(set) static var start: UInt64 = 0
    nonisolated(unsafe) private(set) static var end: UInt64 = 0
    /// The first table that was never handed out. Fresh RAM is zero, so it needs no clearing.
    nonisolated(unsafe) private static var fresh: UInt64 = 0
    /// Tables that came back, linked through their first word; the rest of each is zero.
    nonisolated(unsafe) private static var returned: UInt64 = 0
    nonisolated(unsafe) private(set) static var used: UInt64 = 0

    /// The most tables there can be.
    static var limit: UInt64 { (end &- start) &>> 12 }

    /// Where the arena lies, from the amount of RAM.
    static func start(memory: UInt64) {
        start = Plan.current.arenaBase
        end = start &+ Plan.current.arenaSize(memory: memory)
        fresh = start
    }

    /// Whether a physical address lies in the arena.
    @inline(__always) static func contains(_ table: UInt64) -> Bool { table &- start < end &- start }

    /// A table with 512 absent entries, by its physical address.
    static func takeTable() throws(MemoryError) -> UInt64 {
        if returned != 0 {
            let table = returned
            returned = PageTable.read(PageTable.linear(table))
            PageTable.write(PageTable.linear(table), 0)
            used &+= 1
            return table
        }
        guard fresh < end else { throw .arenaFull }
        let table = fresh
        fresh &+= PageTable.size4K
        used &+= 1
        return table
    }

    /// Takes back a table all of whose entries are zero.
    static func giveBack(_ table: UInt64) {
        guard contains(table) else { return }
        // A root's entries are not counted down one by one.
        if PhysicalPages.isReady { PhysicalPages.info(table).pointee.count = 0 }
        PageTable.write(PageTable.linear(table), returned)
        returned = table
        used &-= 1
    }

    /// Changes the number of entries in use in a table; nothing before physical pages are managed.
    static func count(_ table: UInt64, _ change: Int32) {
        guard contains(table), PhysicalPages.isReady else { return }
        let info = PhysicalPages.info(table)
        info.pointee.count = UInt32(bitPattern: Int32(bitPattern: info.pointee.count) &+ change)
    }

    /// Whether a counted table has no entry in use.
    static func isEmpty(_ table: UInt64) -> Bool {
        contains(table) && PhysicalPages.isReady && PhysicalPages.info(table).pointee.count == 0
    }
}

extension MemoryError {
    /// The error in words; a full arena names its size.
    func write(to writer: inout TextWriter) {
        writer.text(text)
        guard case .arenaFull = self else { return }
        writer.text(": all ")
        writer.decimal(Arena.limit)
        writer.text(" tables (")
        writer.decimal(Arena.limit &>> 8)
        writer.text(" MiB) are in use; give the guest more memory, or map less")
    }
}

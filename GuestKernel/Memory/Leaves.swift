// The leaves of an address space: set, changed, cut, removed, and the tables above them. The caller holds `Memory.lock`.

extension AddressSpace {
    /// A zeroed page of its own at `address`.
    func mapFrame(_ address: UInt64, bits: UInt64) throws(MemoryError) {
        let slot = try PageTable.entry(root, address, level: 1)
        let frame = try Frames.take()
        count(slot, 1)
        PageTable.write(slot, frame | bits)
    }

    /// A zeroed 2 MiB page at `address`; false if no such block is free.
    func mapLargeFrame(_ address: UInt64, _ protection: Protection) throws(MemoryError) -> Bool {
        let slot = try PageTable.entry(root, address, level: 2)
        guard let frame = Frames.takeLarge() else { return false }
        count(slot, 1)
        PageTable.write(slot, frame | protection.leafBits | PageTable.pageSize)
        return true
    }

    /// Removes the leaves of a range, empties tables, flushes and gives frames back. Stops behind `limit` leaves: the
    /// address from where some may be left, `end` if none are.
    @discardableResult
    func removeLeaves(_ start: UInt64, _ end: UInt64, limit: UInt64 = .max) -> UInt64 {
        var address = start
        var rest = limit
        var pending = FrameList()
        while address < end && rest > 0 {
            let walk = PageTable.walk(root, address)
            let size = UInt64(1) &<< (3 &+ 9 &* walk.level)
            let next = (address & ~(size &- 1)) &+ size
            if walk.level == 1 {
                // The rest of this table in one go.
                let tableEnd = (address & ~(PageTable.size2M &- 1)) &+ PageTable.size2M
                let last = tableEnd < end ? tableEnd : end
                var slot = walk.slot
                var removed: Int32 = 0
                let first = address
                while address < last && rest > 0 {
                    let value = PageTable.read(slot)
                    if value != 0 {
                        if pending.isFull {
                            Shootdown.flush(start, end)
                            pending.giveBack()
                        }
                        PageTable.write(slot, 0)
                        pending.add(value, pages: 1)
                        removed &+= 1
                        rest &-= 1
                    }
                    slot &+= 8
                    address &+= 4096
                }
                if removed > 0 { releaseEmptyTables(first, 1, removed) }
                continue
            }
            if walk.value != 0 {
                if pending.isFull {
                    Shootdown.flush(start, end)
                    pending.giveBack()
                }
                PageTable.write(walk.slot, 0)
                pending.add(walk.value, pages: size &>> 12)
                releaseEmptyTables(address, walk.level, 1)
                rest &-= 1
            }
            address = next
        }
        Shootdown.flush(start, end)
        pending.giveBack()
        return address < end ? address : end
    }

    /// Writes a leaf of 4 KiB (or, with `level` 2, of 2 MiB), present or not, keeping the table's count.
    func setLeaf(_ address: UInt64, level: UInt64 = 1, _ value: UInt64) throws(MemoryError) {
        let slot = try PageTable.entry(root, address, level: level)
        if PageTable.read(slot) == 0 { count(slot, 1) }
        PageTable.write(slot, value)
    }

    /// One entry more or less in the table that holds `slot`.
    func count(_ slot: UInt64, _ change: Int32) {
        Arena.count((slot &- PageTable.linear(0)) & ~4095, change)
    }

    /// After `removed` entries of one table of `level` became zero: gives the table back if they were the last, and so on
    /// upwards.
    private func releaseEmptyTables(_ address: UInt64, _ level: UInt64, _ removed: Int32) {
        var tables = InlineArray<5, UInt64>(repeating: 0)
        var table = root
        var current: UInt64 = 4
        while current > level {
            tables[Int(current)] = table
            table =
                PageTable.read(PageTable.linear(table) &+ 8 &* PageTable.index(address, level: current))
                & PageTable.addressMask
            current &-= 1
        }
        tables[Int(level)] = table
        current = level
        var change = -removed
        while current < 4 {
            Arena.count(tables[Int(current)], change)
            change = -1
            guard Arena.isEmpty(tables[Int(current)]) else { return }
            let parent = tables[Int(current &+ 1)]
            PageTable.write(PageTable.linear(parent) &+ 8 &* PageTable.index(address, level: current &+ 1), 0)
            if current == 3 { Spaces.propagate(address) }
            Arena.giveBack(tables[Int(current)])
            current &+= 1
        }
    }

    /// Gives every leaf of a range the bits of a protection.
    func changeLeaves(_ start: UInt64, _ end: UInt64, _ protection: Protection) throws(MemoryError) {
        try splitAround(start)
        try splitAround(end)
        var address = start
        while address < end {
            let walk = PageTable.walk(root, address)
            let size = UInt64(1) &<< (3 &+ 9 &* walk.level)
            // An absent PROT_NONE entry keeps its frame's address.
            if walk.value != 0, walk.level <= 2 {
                let frame = Frames.address(in: walk.value, size: size)
                let large = walk.level == 2 ? PageTable.pageSize : 0
                let bits = Frames.isShared(frame) ? protection.sharedLeafBits : protection.leafBits
                PageTable.write(walk.slot, frame | bits | large)
            }
            address = (address & ~(size &- 1)) &+ size
        }
    }

    /// Cuts a 2 MiB leaf that `address` lies in the middle of.
    func splitAround(_ address: UInt64) throws(MemoryError) {
        guard address < Plan.current.vmaEnd, address & (PageTable.size2M &- 1) != 0 else { return }
        let walk = PageTable.walk(root, address)
        guard walk.level == 2, walk.value & PageTable.pageSize != 0 else { return }
        _ = try PageTable.splitLeaf(walk.slot, walk.value)
        Frames.divide(Frames.address(in: walk.value, size: PageTable.size2M))
    }
}

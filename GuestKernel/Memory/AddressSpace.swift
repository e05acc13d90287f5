// The lower half: mappings, their protection, and the pages behind them on first touch.

/// Mappings of the VMA list. The functions without "locked" in their comment take `Memory.lock` themselves.
enum AddressSpace {
    nonisolated(unsafe) private(set) static var faults: UInt64 = 0

    // MARK: Mappings

    /// A new mapping without pages: at `address`, or anywhere from OSv.mmapBase. Its first address.
    static func map(
        at address: UInt64?, size: UInt64, protection: Protection, kind: VMAKind = .anonymous, program: Int32 = -1
    ) throws(MemoryError) -> UInt64 {
        let bytes = try wholePages(size)
        return try Memory.locked { () throws(MemoryError) -> UInt64 in
            try VMAList.reserve(1)
            let start: UInt64
            if let address {
                try check(address, bytes)
                let index = VMAList.firstIndex(above: address)
                guard index == VMAList.count || VMAList[index].start >= address &+ bytes else { throw .overlap }
                start = address
            } else {
                // Large ones where 2 MiB pages fit them.
                let alignment = bytes >= PageTable.size2M ? PageTable.size2M : PageTable.size4K
                guard let found = VMAList.search(from: OSv.mmapBase, size: bytes, alignment: alignment) else {
                    throw .outOfMemory
                }
                start = found
            }
            let vma = VMA(start: start, end: start &+ bytes, protection: protection, kind: kind, program: program)
            VMAList.insert(vma, at: VMAList.firstIndex(above: start))
            return start
        }
    }

    /// Puts given physical pages behind a mapped range; they are not given back when it is unmapped, unless their kind
    /// is `PageKind.frame`.
    static func place(_ physical: UInt64, at address: UInt64, pages: UInt64) throws(MemoryError) {
        try check(address, pages &<< 12)
        try Memory.locked { () throws(MemoryError) in
            var done: UInt64 = 0
            while done < pages {
                let at = address &+ done &<< 12
                guard let vma = VMAList.find(at) else { throw .notMapped }
                try setLeaf(at, level: 1, (physical &+ done &<< 12) | vma.protection.leafBits)
                done &+= 1
            }
        }
    }

    /// Changes the protection of a range that is mapped as a whole.
    static func protect(_ address: UInt64, size: UInt64, protection: Protection) throws(MemoryError) {
        let bytes = try wholePages(size)
        try check(address, bytes)
        let end = address &+ bytes
        try Memory.locked { () throws(MemoryError) in
            try requireMapped(address, end)
            try VMAList.reserve(2)
            VMAList.split(at: address)
            VMAList.split(at: end)
            var index = VMAList.firstIndex(above: address)
            while index < VMAList.count && VMAList[index].start < end {
                VMAList[index].protection = protection
                index &+= 1
            }
            try changeLeaves(address, end, protection)
            Shootdown.flush(address, end)
        }
    }

    /// Removes a range that is mapped as a whole, and gives its pages back.
    static func unmap(_ address: UInt64, size: UInt64) throws(MemoryError) {
        let bytes = try wholePages(size)
        try check(address, bytes)
        let end = address &+ bytes
        try Memory.locked { () throws(MemoryError) in
            try requireMapped(address, end)
            try VMAList.reserve(2)
            // A 2 MiB page that reaches out of the range must be cut before anything is removed.
            try splitAround(address)
            try splitAround(end)
            VMAList.split(at: address)
            VMAList.split(at: end)
            let index = VMAList.firstIndex(above: address)
            while index < VMAList.count && VMAList[index].start < end { VMAList.remove(at: index) }
            removeLeaves(address, end)
        }
    }

    /// The VMA that holds an address.
    static func vma(at address: UInt64) -> VMA? {
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        return VMAList.find(address)
    }

    /// The `index`-th VMA, by ascending address.
    static func vma(number index: Int) -> VMA? {
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        return index >= 0 && index < VMAList.count ? VMAList[index] : nil
    }

    /// Where an address leads, if it leads anywhere.
    static func physical(of address: UInt64) -> UInt64? {
        PageTable.walk(PageTable.root, address).physical(of: address)
    }

    // MARK: Faults

    /// Puts a page behind an address that a VMA allows to be touched so. False: the access is not allowed.
    /// `code` is the page fault's error code (SDM volume 3, section 4.7).
    static func handleFault(_ address: UInt64, code: UInt64) -> Bool {
        // A fault while a lock is held is the kernel's own error; waiting for the lock would hide it.
        lastError = nil
        guard address < OSv.vmaEnd, Processor.current?.pointee.locks == 0 else { return false }
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        faults &+= 1
        guard let vma = VMAList.find(address), !vma.protection.isEmpty else { return false }
        if code & 2 != 0 && !vma.protection.contains(.write) { return false }
        if code & 16 != 0 && !vma.protection.contains(.execute) { return false }
        let walk = PageTable.walk(PageTable.root, address)
        // Another processor was faster, or the TLB is older than the entry.
        if walk.value & PageTable.present != 0 {
            invalidate_page(address)
            return true
        }
        do throws(MemoryError) {
            let slot = address & ~(PageTable.size2M &- 1)
            if walk.level >= 2, slot >= vma.start, slot &+ PageTable.size2M <= vma.end,
                try mapLargeFrame(slot, vma.protection)
            {
                return true
            }
            try mapFrame(address & ~4095, bits: vma.protection.leafBits)
            return true
        } catch {
            lastError = error
            return false
        }
    }

    /// Why the last fault in a VMA could not be served.
    nonisolated(unsafe) private(set) static var lastError: MemoryError?

    // MARK: Leaves (the caller holds the lock)

    /// A zeroed page of its own at `address`. Locked.
    static func mapFrame(_ address: UInt64, bits: UInt64) throws(MemoryError) {
        let slot = try PageTable.entry(PageTable.root, address, level: 1, create: true)
        let frame = try PhysicalPages.take(pages: 1)
        if !frame.isZero { clear_words(PageTable.linear(frame.address), 512) }
        PhysicalPages.info(frame.address).pointee.kind = PageKind.frame.rawValue
        count(slot, 1)
        PageTable.write(slot, frame.address | bits)
    }

    /// A zeroed 2 MiB page at `address`; false if no such block is free.
    private static func mapLargeFrame(_ address: UInt64, _ protection: Protection) throws(MemoryError) -> Bool {
        let slot = try PageTable.entry(PageTable.root, address, level: 2, create: true)
        guard let frame = try? PhysicalPages.take(pages: 512, alignment: PageTable.size2M) else { return false }
        if !frame.isZero { clear_words(PageTable.linear(frame.address), 512 &* 512) }
        PhysicalPages.info(frame.address).pointee.kind = PageKind.frame.rawValue
        count(slot, 1)
        PageTable.write(slot, frame.address | protection.leafBits | PageTable.pageSize)
        return true
    }

    /// Removes every leaf of a range, empties tables, flushes and gives frames back. Locked.
    static func removeLeaves(_ start: UInt64, _ end: UInt64) {
        var address = start
        var pending = FrameList()
        while address < end {
            let walk = PageTable.walk(PageTable.root, address)
            let size = UInt64(1) &<< (3 &+ 9 &* walk.level)
            if walk.value != 0 {
                PageTable.write(walk.slot, 0)
                pending.add(walk.value, pages: size &>> 12)
                releaseEmptyTables(address, walk.level)
                if pending.isFull {
                    Shootdown.flush(start, end)
                    pending.giveBack()
                }
            }
            address = (address & ~(size &- 1)) &+ size
        }
        Shootdown.flush(start, end)
        pending.giveBack()
    }

    /// Writes a leaf, present or not, keeping the table's count. Locked.
    private static func setLeaf(_ address: UInt64, level: UInt64, _ value: UInt64) throws(MemoryError) {
        let slot = try PageTable.entry(PageTable.root, address, level: level, create: true)
        if PageTable.read(slot) == 0 { count(slot, 1) }
        PageTable.write(slot, value)
    }

    /// One entry more or less in the table that holds `slot`.
    private static func count(_ slot: UInt64, _ change: Int32) {
        Arena.count((slot &- PageTable.linear(0)) & ~4095, change)
    }

    /// After an entry of `level` became zero: gives back its table if it was the last, and so on upwards.
    private static func releaseEmptyTables(_ address: UInt64, _ level: UInt64) {
        var tables = InlineArray<5, UInt64>(repeating: 0)
        var table = PageTable.root
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
        while current < 4 {
            Arena.count(tables[Int(current)], -1)
            guard Arena.isEmpty(tables[Int(current)]) else { return }
            let parent = tables[Int(current &+ 1)]
            PageTable.write(PageTable.linear(parent) &+ 8 &* PageTable.index(address, level: current &+ 1), 0)
            Arena.giveBack(tables[Int(current)])
            current &+= 1
        }
    }

    /// Gives every leaf of a range the bits of a protection.
    private static func changeLeaves(_ start: UInt64, _ end: UInt64, _ protection: Protection) throws(MemoryError) {
        try splitAround(start)
        try splitAround(end)
        var address = start
        while address < end {
            let walk = PageTable.walk(PageTable.root, address)
            let size = UInt64(1) &<< (3 &+ 9 &* walk.level)
            // An absent PROT_NONE entry keeps its frame's address.
            if walk.value != 0, walk.level <= 2 {
                let frame = walk.value & PageTable.addressMask & ~OSv.protNoneBit & ~(size &- 1)
                let large = walk.level == 2 ? PageTable.pageSize : 0
                PageTable.write(walk.slot, frame | protection.leafBits | large)
            }
            address = (address & ~(size &- 1)) &+ size
        }
    }

    /// Cuts a 2 MiB leaf that `address` lies in the middle of.
    private static func splitAround(_ address: UInt64) throws(MemoryError) {
        guard address < OSv.vmaEnd, address & (PageTable.size2M &- 1) != 0 else { return }
        let walk = PageTable.walk(PageTable.root, address)
        guard walk.level == 2, walk.value & PageTable.pageSize != 0 else { return }
        let first = walk.value & PageTable.addressMask & ~OSv.protNoneBit & ~(PageTable.size2M &- 1)
        _ = try PageTable.splitLeaf(walk.slot, walk.value)
        var page = first
        while page < first &+ PageTable.size2M {
            PhysicalPages.info(page).pointee.kind = PageKind.frame.rawValue
            page &+= 4096
        }
    }

    // MARK: Arguments

    private static func wholePages(_ size: UInt64) throws(MemoryError) -> UInt64 {
        guard size > 0, size <= OSv.vmaEnd else { throw .badSize }
        return (size &+ 4095) & ~4095
    }

    private static func check(_ address: UInt64, _ bytes: UInt64) throws(MemoryError) {
        // Below the end of Core nothing is ever mapped but Core itself.
        guard address & 4095 == 0, address >= Kernel.end, address < OSv.vmaEnd, bytes <= OSv.vmaEnd &- address
        else { throw .badAddress }
    }

    private static func requireMapped(_ start: UInt64, _ end: UInt64) throws(MemoryError) {
        var address = start
        var index = VMAList.firstIndex(above: start)
        while address < end {
            guard index < VMAList.count, VMAList[index].start <= address else { throw .notMapped }
            address = VMAList[index].end
            index &+= 1
        }
    }
}

/// Frames that may be given back once no processor's TLB knows them.
struct FrameList: ~Copyable {
    private var entries = InlineArray<64, UInt64>(repeating: 0)
    private var sizes = InlineArray<64, UInt16>(repeating: 0)
    private var count = 0

    var isFull: Bool { count == 64 }

    /// The frame of a removed leaf.
    mutating func add(_ value: UInt64, pages: UInt64) {
        let size = pages &<< 12
        entries[count] = value & PageTable.addressMask & ~OSv.protNoneBit & ~(size &- 1)
        sizes[count] = UInt16(truncatingIfNeeded: pages)
        count &+= 1
    }

    /// Gives back what the allocator owns.
    mutating func giveBack() {
        var index = 0
        while index < count {
            let address = entries[index]
            if PhysicalPages.isManaged(address),
                PhysicalPages.info(address).pointee.kind == PageKind.frame.rawValue
            {
                PhysicalPages.info(address).pointee.kind = PageKind.reserved.rawValue
                PhysicalPages.giveBack(address, pages: UInt64(sizes[index]))
            }
            index &+= 1
        }
        count = 0
    }
}

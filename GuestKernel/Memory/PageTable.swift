// Four-level page tables, layout-neutral: entries found, made, filled, split. SDM volume 3, section 5.5.
//
// Tables are reached through the layout's linear window: VA = linearBase + PA.

/// Operations on the tables below a root given by its physical address.
enum PageTable {
    static var present: UInt64 { 1 }
    static var writable: UInt64 { 2 }
    static var user: UInt64 { 4 }
    /// In an entry of level 2 or 3: a leaf.
    static var pageSize: UInt64 { 0x80 }
    static var noExecute: UInt64 { 1 << 63 }
    static var addressMask: UInt64 { 0x000f_ffff_ffff_f000 }
    static var size4K: UInt64 { 1 << 12 }
    static var size2M: UInt64 { 1 << 21 }
    static var size1G: UInt64 { 1 << 30 }

    /// Where physical memory is reached: 1:1 in stage A, the layout's window from stage B on.
    nonisolated(unsafe) static var linearBase: UInt64 = 0

    /// The address of a physical one.
    @inline(__always) static func linear(_ physical: UInt64) -> UInt64 { linearBase &+ physical }

    /// Index of an address in its table of a level (4: PML4 ... 1: page table).
    @inline(__always) static func index(_ address: UInt64, level: UInt64) -> UInt64 {
        (address &>> (3 &+ 9 &* level)) & 511
    }

    @inline(__always) static func read(_ slot: UInt64) -> UInt64 { read_word(slot) }
    @inline(__always) static func write(_ slot: UInt64, _ value: UInt64) { write_word(slot, value) }

    /// Whether a value at a level maps a page itself.
    @inline(__always) static func isLeaf(_ value: UInt64, level: UInt64) -> Bool {
        level == 1 || value & pageSize != 0
    }

    /// What is known of one address.
    struct Walk {
        /// The level where the walk ended: 1 or 2 for a leaf, any for an absent entry.
        var level: UInt64
        /// Where the last entry is.
        var slot: UInt64
        /// The last entry.
        var value: UInt64

        /// The physical address, if a present leaf was found.
        func physical(of address: UInt64) -> UInt64? {
            guard value & PageTable.present != 0, PageTable.isLeaf(value, level: level) else { return nil }
            let offset = (UInt64(1) &<< (3 &+ 9 &* level)) &- 1
            return (value & PageTable.addressMask & ~(1 &<< 51) & ~offset) | (address & offset)
        }
    }

    /// Follows an address from a root to its leaf or to the first absent entry.
    static func walk(_ root: UInt64, _ address: UInt64) -> Walk {
        var table = root
        var level: UInt64 = 4
        while true {
            let slot = linear(table) &+ 8 &* index(address, level: level)
            let value = read(slot)
            if value & present == 0 || level == 1 || (level < 4 && value & pageSize != 0) {
                return Walk(level: level, slot: slot, value: value)
            }
            table = value & addressMask
            level &-= 1
        }
    }

    /// Where the entry of an address at a level lies; tables above it are made, a 2 MiB leaf above it is split.
    static func entry(_ root: UInt64, _ address: UInt64, level: UInt64, splits: Bool = true) throws(MemoryError)
        -> UInt64
    {
        var table = root
        var current: UInt64 = 4
        while current > level {
            let slot = linear(table) &+ 8 &* index(address, level: current)
            let value = read(slot)
            if value & present == 0 {
                let fresh = try Arena.takeTable()
                write(slot, fresh | Plan.current.tableBits)
                Arena.count(table, 1)
                if current == 4 { Spaces.propagate(address) }
                table = fresh
            } else if current == 2 && value & pageSize != 0 && splits {
                table = try splitLeaf(slot, value)
            } else {
                table = value & addressMask
            }
            current &-= 1
        }
        return linear(table) &+ 8 &* index(address, level: level)
    }

    /// Replaces a 2 MiB leaf by a table of 512 equal 4 KiB leaves.
    static func splitLeaf(_ slot: UInt64, _ value: UInt64) throws(MemoryError) -> UInt64 {
        let table = try Arena.takeTable()
        fill(linear(table), 512, value & ~pageSize, step: size4K)
        Arena.count(table, 512)
        write(slot, table | Plan.current.tableBits)
        return table
    }

    /// Maps a physical range at base + PA: 2 MiB leaves, 4 KiB ones where an end is not a multiple of 2 MiB.
    static func mapLinear(_ root: UInt64, base: UInt64, from start: UInt64, to end: UInt64) throws(MemoryError) {
        let bits4K = Plan.current.kernelLeaf4K
        let bits2M = Plan.current.kernelLeaf2M
        var physical = start
        while physical < end {
            let address = base &+ physical
            if physical & (size2M &- 1) == 0 && end &- physical >= size2M {
                // The rest of this table in one go.
                let next = (physical & ~(size1G &- 1)) &+ size1G
                let last = next < end ? next : end & ~(size2M &- 1)
                let slot = try entry(root, address, level: 2)
                fill(slot, (last &- physical) &>> 21, physical | bits2M, step: size2M)
                physical = last
            } else {
                write(try entry(root, address, level: 1), physical | bits4K)
                physical &+= size4K
            }
        }
    }

    /// Maps all RAM at base + PA, and nothing else but what of the first 2 MiB is no RAM: what the firmware or the monitor
    /// handed over lies there.
    static func mapMemory(_ root: UInt64, at base: UInt64, _ memory: borrowing MemoryMap) throws(MemoryError) {
        try mapLinear(root, base: base, from: 0, to: size2M)
        var index = 0
        while index < memory.count {
            let range = memory[index]
            let start = range.start < size2M ? size2M : range.start
            if range.end > start { try mapLinear(root, base: base, from: start, to: range.end) }
            index &+= 1
        }
    }

    /// Maps the kernel's image where it is linked, in leaves of 2 MiB with these bits.
    static func mapImage(_ root: UInt64, to end: UInt64, _ bits: UInt64) throws(MemoryError) {
        var address = Plan.current.imageBase
        while address < end {
            write(try entry(root, Plan.current.imageOffset &+ address, level: 2), address | bits)
            address &+= size2M
        }
    }

    /// Gives a second area the leaves that a first one has for memory up to `size`, in tables of its own. `mapLinear` made the first one:
    /// leaves of 2 MiB, and a table only where a range does not end at a multiple of that. Where a host emulates every instruction it
    /// matters that nothing else is looked at.
    static func copyArea(
        _ root: UInt64, from: UInt64, to: UInt64, size: UInt64, memory: borrowing MemoryMap
    ) throws(MemoryError) {
        let table = try Arena.takeTable()
        var source = linear(read(linear(root) &+ 8 &* index(from, level: 4)) & addressMask)
        var slot = linear(table)
        let end = slot &+ 8 &* ((size &+ size1G &- 1) &>> 30)
        write(linear(root) &+ 8 &* index(to, level: 4), table | Plan.current.tableBits)
        while slot != end {
            let value = read(source)
            if value & present != 0 { write(slot, try copyTable(value)) }
            source &+= 8
            slot &+= 8
        }
        var range = 0
        while range < memory.count {
            let last = memory[range].end
            if last & (size2M &- 1) != 0, last < size {
                let slot = try entry(root, to &+ last, level: 2)
                let value = read(slot)
                let isShared = value == read(try entry(root, from &+ last, level: 2))
                if isShared && value & (present | pageSize) == present { write(slot, try copyTable(value)) }
            }
            range &+= 1
        }
    }

    /// An entry that refers to a copy of the table that another entry refers to.
    private static func copyTable(_ value: UInt64) throws(MemoryError) -> UInt64 {
        let table = try Arena.takeTable()
        copy_words(linear(table), linear(value & addressMask), 512)
        return table | Plan.current.tableBits
    }

    /// The leaves that the boot tables have from this one on, if they have so many: the first GiB in leaves of 2 MiB, and of it the
    /// first 2 MiB in leaves of 4 KiB.
    private static func inBootTables(_ count: UInt64, _ value: UInt64, step: UInt64) -> UInt64? {
        let table = step == size2M ? boot_pd() : step == size4K ? boot_pt() : 0
        let first = step == size2M ? (value & addressMask) &>> 21 : (value & addressMask) &>> 12
        guard table != 0, first < 512, count <= 512 &- first else { return nil }
        let slot = linear(table) &+ 8 &* first
        return read(slot) == value ? slot : nil
    }

    /// Writes so many entries from a slot on, each so much more than the one before: one instruction where the boot tables have them as
    /// well, which counts where a host emulates every instruction; else eight at a time, half of what one at a time takes.
    private static func fill(_ slot: UInt64, _ count: UInt64, _ value: UInt64, step: UInt64) {
        if let source = inBootTables(count, value, step: step) {
            copy_words(slot, source, count)
            return
        }
        var slot = slot
        var value = value
        let end = slot &+ 8 &* count
        while end &- slot >= 64 {
            write(slot, value)
            write(slot &+ 8, value &+ step)
            write(slot &+ 16, value &+ 2 &* step)
            write(slot &+ 24, value &+ 3 &* step)
            write(slot &+ 32, value &+ 4 &* step)
            write(slot &+ 40, value &+ 5 &* step)
            write(slot &+ 48, value &+ 6 &* step)
            write(slot &+ 56, value &+ 7 &* step)
            slot &+= 64
            value &+= 8 &* step
        }
        while slot != end {
            write(slot, value)
            slot &+= 8
            value &+= step
        }
    }
}

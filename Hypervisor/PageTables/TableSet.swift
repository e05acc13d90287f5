// The tables seen so far, found by address and level.

/// An open-addressing hash map from (table, level) to an index. One probe a table is all the walk pays.
///
/// Kernels take tables from memory one after the other, so 64 neighbours keep their order in the map: what is looked up
/// next is then mostly in the cache line that was looked at last. Where each such group of neighbours goes is mixed.
@usableFromInline struct TableSet {
    /// A table and what is stored for it.
    @usableFromInline struct Slot {
        /// Address | level; tables are at least 32-byte aligned, so the level fits.
        @usableFromInline var key: UInt64
        @usableFromInline var value: Int

        @inlinable init(key: UInt64, value: Int) {
            self.key = key
            self.value = value
        }
        /// All ones is no key.
        @inlinable static var empty: Slot { Slot(key: .max, value: 0) }
    }

    @usableFromInline var slots: [Slot]
    @usableFromInline var count = 0
    @usableFromInline var mask: Int

    @inlinable init() {
        slots = [Slot](repeating: .empty, count: 1024)
        mask = 1023
    }

    @inlinable static func key(_ table: UInt64, level: Int) -> UInt64 { table & ~15 | UInt64(level & 15) }

    @inline(__always) @inlinable func slot(of key: UInt64) -> Int {
        // Fibonacci hashing: the high bits of the product are the well-mixed ones.
        let group = (key >> 18 &+ (key & 15) << 40 &+ (key >> 4 & 0xff) << 44) &* 0x9e37_79b9_7f4a_7c15
        var slot = Int(truncatingIfNeeded: group >> 32 &+ (key >> 12 & 63)) & mask
        while slots[slot].key != key && slots[slot].key != .max { slot = (slot &+ 1) & mask }
        return slot
    }

    /// The index stored for a key, or nil after storing `new` for it.
    @inlinable mutating func find(_ key: UInt64, orInsert new: Int) -> Int? {
        let place = slot(of: key)
        if slots[place].key == key { return slots[place].value }
        slots[place] = Slot(key: key, value: new)
        count &+= 1
        if count &* 2 > mask { grow() }
        return nil
    }

    @inlinable mutating func grow() {
        let old = slots
        slots = [Slot](repeating: .empty, count: old.count * 4)
        mask = slots.count - 1
        for entry in old where entry.key != .max { slots[slot(of: entry.key)] = entry }
    }
}

// The tables seen so far, found by address and level.

/// An open-addressing hash map from (table, level) to an index. One probe a table is all the walk pays.
@usableFromInline struct TableSet {
    /// Address | level; tables are at least 32-byte aligned, so the level fits. The empty key is all ones.
    @usableFromInline var keys: [UInt64]
    @usableFromInline var values: [Int32]
    @usableFromInline var count = 0
    @usableFromInline var mask: Int

    @inlinable init() {
        keys = [UInt64](repeating: .max, count: 256)
        values = [Int32](repeating: 0, count: 256)
        mask = 255
    }

    @inlinable static func key(_ table: UInt64, level: Int) -> UInt64 { table & ~15 | UInt64(level & 15) }

    @inlinable func slot(of key: UInt64) -> Int {
        // Fibonacci hashing: the high bits of the product are the well-mixed ones.
        var slot = Int(truncatingIfNeeded: (key >> 4 &+ key &* 7) &* 0x9e37_79b9_7f4a_7c15 >> 32) & mask
        while keys[slot] != key && keys[slot] != .max { slot = (slot &+ 1) & mask }
        return slot
    }

    /// The index stored for a key, or nil after storing `new` for it.
    @inlinable mutating func find(_ key: UInt64, orInsert new: Int) -> Int? {
        let place = slot(of: key)
        if keys[place] == key { return Int(values[place]) }
        keys[place] = key
        values[place] = Int32(truncatingIfNeeded: new)
        count &+= 1
        if count &* 2 > mask { grow() }
        return nil
    }

    @usableFromInline mutating func grow() {
        let (oldKeys, oldValues) = (keys, values)
        keys = [UInt64](repeating: .max, count: oldKeys.count * 2)
        values = [Int32](repeating: 0, count: oldKeys.count * 2)
        mask = keys.count - 1
        for (key, value) in zip(oldKeys, oldValues) where key != .max {
            let place = slot(of: key)
            keys[place] = key
            values[place] = value
        }
    }
}

// The tables seen so far, found by address and level.

/// A map from (table, level) to when it was seen first: 0, 1, ...
///
/// Kernels take tables from memory one after the other, so 64 neighbours of one level share a group: who asks for the
/// neighbour of the last one pays for no search, only for a place in the group. Groups are found by hashing (open
/// addressing, at most a quarter full). A group takes 256 bytes, so even tables that all lie far apart cost less than a
/// hundredth of the memory they lie in.
@usableFromInline struct TableSet {
    /// Per group 64 times one more than when the table was seen first; 0: not seen.
    @usableFromInline var places: [UInt32] = []
    /// What the groups are found by, in the order they were made.
    @usableFromInline var groups: [UInt64] = []
    /// One more than a group's place in `groups`; 0: empty.
    @usableFromInline var slots: [UInt32]
    @usableFromInline var mask: Int
    @usableFromInline var count: UInt32 = 0
    /// The group asked for last, and where its part of `places` begins.
    @usableFromInline var lastGroup: UInt64 = .max
    @usableFromInline var lastStart = 0

    @inlinable init() {
        slots = [UInt32](repeating: 0, count: 256)
        mask = 255
        places.reserveCapacity(64 * 16)
    }

    /// Tables are at least 32-byte aligned, so the level (below 16) fits into the address.
    @inlinable static func key(_ table: UInt64, level: Int) -> UInt64 { table & ~15 | UInt64(level & 15) }

    /// When a key was seen first, or nil after storing it as the next.
    @inline(__always) @inlinable mutating func findOrInsert(_ key: UInt64) -> Int? {
        let group = (key >> 18) << 12 | key & 0xfff
        if group != lastGroup {
            lastStart = start(of: group)
            lastGroup = group
        }
        let place = lastStart &+ Int(truncatingIfNeeded: key >> 12 & 63)
        if places[place] != 0 { return Int(places[place]) &- 1 }
        count &+= 1
        places[place] = count
        return nil
    }

    /// Where the part of `places` for a group begins; it is made if it is new.
    @usableFromInline mutating func start(of group: UInt64) -> Int {
        var slot = slot(of: group)
        if slots[slot] == 0 {
            if groups.count &* 4 > mask {
                grow()
                slot = self.slot(of: group)
            }
            groups.append(group)
            places.append(contentsOf: repeatElement(0, count: 64))
            slots[slot] = UInt32(truncatingIfNeeded: groups.count)
        }
        return (Int(slots[slot]) &- 1) &* 64
    }

    /// The slot that refers to a group, or the empty one where it belongs.
    private func slot(of group: UInt64) -> Int {
        // Fibonacci hashing: the high bits of the product are the well-mixed ones.
        var slot = Int(truncatingIfNeeded: (group &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask
        while slots[slot] != 0 && groups[Int(slots[slot]) &- 1] != group { slot = (slot &+ 1) & mask }
        return slot
    }

    private mutating func grow() {
        slots = [UInt32](repeating: 0, count: slots.count * 4)
        mask = slots.count - 1
        for (index, group) in groups.enumerated() { slots[slot(of: group)] = UInt32(truncatingIfNeeded: index &+ 1) }
    }
}

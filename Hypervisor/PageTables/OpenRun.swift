// The run or repetition that may still grow.

import Addresses

/// What the next entry is compared with.
@usableFromInline struct OpenRun {
    @usableFromInline var run = MappedRun(va: GVA(0), gpa: GPA(0), pageCount: 0, pageShift: 0, flags: [], leafBits: 0)
    @usableFromInline var isOpen = false
    /// The virtual address that continues the run.
    @usableFromInline var nextVA: UInt64 = 0
    /// The entry that continues it, and what to add for the one after.
    @usableFromInline var nextEntry: UInt64 = 0
    @usableFromInline var step: UInt64 = 0
    /// How many entries may follow before the address would run over into other bits.
    @usableFromInline var room: UInt64 = 0
    /// What the levels above the leaf grant.
    @usableFromInline var pathGrants: UInt64 = 0

    /// The flags worked out last, and what for: most leaves have the same bits.
    @usableFromInline var cachedBits: UInt64 = .max
    @usableFromInline var cachedGrants: UInt64 = .max
    @usableFromInline var cachedShift: UInt8 = 0
    @usableFromInline var cachedKind: UInt8 = 0
    @usableFromInline var cachedFlags: PageFlags = []

    @usableFromInline var repetition: RepeatedTable?
    @usableFromInline var repetitionGrants: UInt64 = 0
    /// The table that was left last, where it ended and what its path granted.
    @usableFromInline var lastTable: UInt64 = .max
    @usableFromInline var lastLevel = 0
    @usableFromInline var lastGrants: UInt64 = 0
    @usableFromInline var lastEnd: UInt64 = 0

    @inlinable init() {}

    /// Ends the run.
    @inlinable mutating func take() -> MappedRun? {
        guard isOpen else { return nil }
        isOpen = false
        return run
    }

    /// Adds `count` leaves to the run.
    @inline(__always) @inlinable mutating func extend(by count: UInt64) {
        run.pageCount &+= count
        nextVA &+= count << UInt64(run.pageShift & 63)
        nextEntry &+= count &* step
        room &-= step == 0 ? 0 : count
    }

    /// Adds a leaf: to the run if it continues it, else to a new one.
    ///
    /// - Parameter offset: how far into the page that the entry names the leaf begins, for a part of a wide one.
    /// - Returns: the run that it ended, if any.
    @inlinable mutating func leaf(
        _ entry: UInt64, va: UInt64, rule: LeafRule, grants: UInt64, format: PageTableFormat, isPresent: Bool,
        ignoring ignored: UInt64 = 0, offset: UInt64 = 0
    ) -> MappedRun? {
        let address = rule.address(of: entry) | offset
        let bits = entry & ~rule.allAddressBits
        let flags = isPresent ? self.flags(entry, bits: bits, rule: rule, grants: grants, format: format) : []
        if isOpen && va == nextVA && rule.pageShift == run.pageShift && flags.symmetricDifference(run.flags).isEmpty
            && (bits ^ run.leafBits) & ~ignored == 0
        {
            if !run.repeatsPage && address == run.gpa.rawValue &+ run.size {
                pathGrants = grants
                nextEntry = entry
                step = rule.pageSize
                extend(by: 1)
                return nil
            }
            if address == run.gpa.rawValue && (run.repeatsPage || run.pageCount == 1) {
                run.repeatsPage = true
                pathGrants = grants
                nextEntry = entry
                step = 0
                extend(by: 1)
                return nil
            }
        }
        let ended = take()
        pathGrants = grants
        restart(
            MappedRun(
                va: GVA(va), gpa: GPA(address), pageCount: 1, pageShift: rule.pageShift, flags: flags, leafBits: bits),
            entry: entry, rule: rule)
        return ended
    }

    /// Opens a run of one leaf.
    @inline(__always) @inlinable mutating func restart(_ run: MappedRun, entry: UInt64, rule: LeafRule) {
        self.run = run
        isOpen = true
        step = rule.pageSize
        nextVA = run.va.rawValue &+ rule.pageSize
        nextEntry = entry &+ rule.pageSize
        room = (rule.addressMask &- (entry & rule.addressMask)) >> UInt64(rule.pageShift & 63)
    }

    @inline(__always) @inlinable mutating func flags(
        _ entry: UInt64, bits: UInt64, rule: LeafRule, grants: UInt64, format: PageTableFormat
    ) -> PageFlags {
        let all = grants & format.grants(ofLeaf: entry, rule: rule)
        if bits == cachedBits && all == cachedGrants && rule.pageShift == cachedShift && rule.kind == cachedKind {
            return cachedFlags
        }
        cachedBits = bits
        cachedGrants = all
        cachedShift = rule.pageShift
        cachedKind = rule.kind
        cachedFlags = format.flags(leaf: entry, rule: rule, grants: all, reserved: rule.wrongBits(of: entry) != 0)
        return cachedFlags
    }

    /// Ends the repetition.
    @inline(__always) @inlinable mutating func takeRepetition() -> RepeatedTable? {
        guard let ended = repetition else { return nil }
        repetition = nil
        return ended
    }

    /// Begins a repetition; the one before must have been taken.
    @inlinable mutating func beginRepetition(_ new: RepeatedTable, grants: UInt64) {
        repetition = new
        repetitionGrants = grants
    }

    /// Counts one more entry that refers to the same table.
    ///
    /// - Returns: false if it does not continue the repetition.
    @inlinable mutating func extendRepetition(table: UInt64, level: Int, va: UInt64, grants: UInt64) -> Bool {
        guard let known = repetition, known.table.rawValue == table, known.level == level, grants == repetitionGrants,
            known.va.rawValue &+ known.count &* known.coverage == va
        else { return false }
        repetition?.count &+= 1
        return true
    }
}

// The walk over all tables, one for every format.
//
// A table is read once for each level it is reached at; what is reached again is walked again only while it is cheap, else
// handed out as a repetition. Levels only fall, so tables that refer to each other or to themselves cannot hold the walk.
// Entries are read once: the guest runs on, and what was read is what is decoded.

import Addresses
import GuestMemory

/// Walks the tables below `root` and hands runs of leaves to `consumer`, by ascending virtual address.
///
/// - Parameters:
///   - root: the root table's address.
///   - format: see `PagingState.mode`.
///   - memory: where the tables are read; may change meanwhile.
///   - options: see there.
///   - consumer: told of each run.
@inlinable public func walk<Memory: PhysicalMemory, Consumer: WalkConsumer>(
    root: GPA, format: PageTableFormat, memory: Memory, options: WalkOptions = WalkOptions(),
    into consumer: inout Consumer
) -> WalkSummary {
    var walker = Walker<Memory, Consumer>(format: format, memory: memory, options: options)
    return walker.walk(root: root, into: &consumer)
}

@usableFromInline struct Walker<Memory: PhysicalMemory, Consumer: WalkConsumer> {
    @usableFromInline let format: PageTableFormat
    @usableFromInline let memory: Memory
    @usableFromInline let options: WalkOptions
    @usableFromInline let first: UInt64
    @usableFromInline let last: UInt64
    @usableFromInline let changeMask: UInt64
    /// How entries of the last level map pages, where tables of that level are pages that are read whole.
    @usableFromInline var wholeLeafTable: LeafRule?

    @usableFromInline var seen = TableSet()
    @usableFromInline var tables: [VisitedTable] = []
    @usableFromInline var hashes: [TableHash] = []
    @usableFromInline var findings: [WalkFinding] = []
    @usableFromInline var findingsDropped = 0
    @usableFromInline var visits = 0
    @usableFromInline var revisits = 0
    @usableFromInline var stopped = false
    /// How many tables on the way were walked before.
    @usableFromInline var repeatedLevels = 0
    /// The tables on the way to the one being read, by level.
    @usableFromInline var path: InlineArray<8, UInt64> = InlineArray(repeating: .max)
    @usableFromInline var current = OpenRun()

    @inlinable init(format: PageTableFormat, memory: Memory, options: WalkOptions) {
        self.format = format
        self.memory = memory
        self.options = options
        first = options.range?.lowerBound.rawValue ?? 0
        last = options.range?.upperBound.rawValue ?? .max
        changeMask = ~format.volatileMask
        if format.entrySize == 8 && options.range == nil && !Consumer.wantsEntries, let last = format.levels.first,
            last.entryCount == 512
        {
            wholeLeafTable = last.leaf
        }
    }

    @inlinable mutating func walk(root: GPA, into consumer: inout Consumer) -> WalkSummary {
        let top = format.rootLevel
        _ = seen.findOrInsert(TableSet.key(root.rawValue, level: top))
        tables.reserveCapacity(1024)
        tables.append(VisitedTable(gpa: root, level: top, va: GVA(0), size: format.tableSize(level: top)))
        visits = 1
        let leaves = table(
            root.rawValue, level: top, va: 0, grants: format.allGrants, record: 0, isNew: true,
            from: (GPA(root.rawValue), root.rawValue, top + 1), consumer: &consumer)
        if let run = current.take() { consumer.run(run) }
        return WalkSummary(
            tables: tables, hashes: hashes, leaves: leaves, findings: findings, findingsDropped: findingsDropped,
            isComplete: !stopped)
    }

    @inlinable mutating func report(_ finding: WalkFinding) {
        if findings.count < options.findingLimit { findings.append(finding) } else { findingsDropped &+= 1 }
    }

    /// Reads a table, and what is below it.
    ///
    /// - Parameters:
    ///   - record: its place in `tables`.
    ///   - isNew: whether it was not read before.
    ///   - from: the entry that refers to it: address, value, level.
    /// - Returns: the leaves in it and below.
    @inlinable mutating func table(
        _ table: UInt64, level number: Int, va base: UInt64, grants: UInt64, record: Int,
        isNew: Bool, from: (at: GPA, value: UInt64, level: Int), consumer: inout Consumer
    ) -> UInt64 {
        let level = format.levels[number &- 1]
        path[number & 7] = table
        defer { path[number & 7] = .max }
        // The entries that touch the range asked for.
        let entrySize = format.entrySize
        var index = 0
        var end = level.entryCount
        if options.range != nil {
            let isRoot = number == format.rootLevel
            (index, end) = entries(of: level, base: base, isRoot: isRoot)
        }
        var leaves: UInt64 = 0
        var present = 0
        var checksum: UInt64 = 0
        // What was read of the table: a walk that stops does not come to its end.
        let firstHashed = UInt64(truncatingIfNeeded: index &* entrySize)
        var endHashed = firstHashed
        while index < end {
            let at = table &+ UInt64(index &* entrySize)
            guard let page = memory.page(at: GPA(at)) else {
                report(
                    WalkFinding(
                        kind: .tableOutsideRAM, level: from.level, at: from.at, value: from.value,
                        va: GVA(format.canonical(base))))
                break
            }
            let offset = Int(at & 4095) & ~(entrySize &- 1)
            let count = min(end &- index, (4096 &- offset) / entrySize)
            if options.detectsChanges {
                checksum ^= tableChecksum(page, mask: changeMask)
                endHashed = UInt64(truncatingIfNeeded: (index &+ count) &* entrySize)
            }
            if number == 1 && entrySize == 8 && !Consumer.wantsEntries {
                if let rule = level.leaf {
                    present &+= leafTable(
                        page + offset, count: count, at: GPA(at), rule: rule,
                        va: base &+ UInt64(index) << UInt64(level.shift & 63), grants: grants, consumer: &consumer)
                }
            } else {
                var place = 0
                while place < count && !stopped {
                    let entry = load(page, offset, place)
                    defer { place &+= 1 }
                    if entry & (format.presentMask | options.absentMask) == 0 { continue }
                    let va = format.canonical(base &+ UInt64(index &+ place) << UInt64(level.shift & 63))
                    let entryAt = GPA(at &+ UInt64(place &* entrySize))
                    if entry & format.presentMask != 0 { present &+= 1 }
                    if level.hasWideLeaves, let rule = level.leaf(for: entry), rule.pageShift > level.shift {
                        let group = 1 << Int(rule.pageShift &- level.shift)
                        var same = 1
                        if (index &+ place) & (group &- 1) == 0 && place &+ group <= count {
                            while same < group && load(page, offset, place &+ same) == entry { same &+= 1 }
                        }
                        leaves = leaves.saturating(
                            adding: wideLeaf(
                                entry, rule: rule, count: same == group ? group : 1, at: entryAt, level: number,
                                description: level, va: va, grants: grants, consumer: &consumer))
                        if same == group {
                            present &+= group &- 1
                            place &+= group &- 1
                        }
                        continue
                    }
                    leaves = leaves.saturating(
                        adding: self.entry(
                            entry, at: entryAt, level: number, description: level, va: va, grants: grants,
                            consumer: &consumer))
                }
            }
            if stopped { break }
            index &+= count
        }
        if number == 1 && entrySize == 8 && !Consumer.wantsEntries { leaves = UInt64(present) }
        if let repeated = current.takeRepetition() { consumer.repeated(repeated) }
        if isNew && checksum != 0 {
            hashes.append(
                TableHash(gpa: tables[record].gpa, checksum: checksum, hashed: firstHashed..<endHashed))
        }
        tables[record].presentEntries = present
        tables[record].leaves = leaves
        if consumer.isFinished { stopped = true }
        return leaves
    }

    /// Reads a table of the last level that is one page: what `table` does, without what such a table cannot have.
    ///
    /// - Parameters:
    ///   - page: its contents.
    ///   - rule: how its entries map pages.
    /// - Returns: the leaves in it.
    @inline(__always) @inlinable mutating func lastTable(
        _ page: UnsafeRawPointer, at table: UInt64, rule: LeafRule, va base: UInt64, grants: UInt64, record: Int,
        isNew: Bool, consumer: inout Consumer
    ) -> UInt64 {
        if options.detectsChanges && isNew {
            hashes.append(
                TableHash(gpa: GPA(table), checksum: tableChecksum(page, mask: changeMask), hashed: 0..<4096))
        }
        let present = leafTable(
            page, count: 512, at: GPA(table), rule: rule, va: base, grants: grants, consumer: &consumer)
        tables[record].presentEntries = present
        tables[record].leaves = UInt64(present)
        if consumer.isFinished { stopped = true }
        return UInt64(present)
    }

    /// The entry at `place`, counted from the one at `offset` bytes.
    @inline(__always) @inlinable func load(_ page: UnsafeRawPointer, _ offset: Int, _ place: Int) -> UInt64 {
        format.entrySize == 8
            ? page.load(fromByteOffset: offset &+ place &* 8, as: UInt64.self)
            : UInt64(page.load(fromByteOffset: offset &+ place &* 4, as: UInt32.self))
    }

    /// Which entries of a table touch the range asked for.
    @inlinable func entries(of level: PageTableLevel, base: UInt64, isRoot: Bool) -> (Int, Int) {
        let shift = UInt64(level.shift & 63)
        var low: UInt64 = .max
        var high: UInt64 = 0
        for index in 0..<UInt64(level.entryCount) {
            let va = format.canonical(base &+ index << shift)
            if va <= last && va &+ (level.coverage &- 1) >= first {
                low = min(low, index)
                high = max(high, index)
            }
        }
        return low > high ? (0, 0) : (Int(low), Int(high) &+ 1)
    }

    /// One entry with a bit that counts, of any level.
    @inlinable mutating func entry(
        _ entry: UInt64, at: GPA, level number: Int, description level: PageTableLevel, va: UInt64, grants: UInt64,
        consumer: inout Consumer
    ) -> UInt64 {
        if options.range != nil && !(va <= last && va &+ (level.coverage &- 1) >= first) { return 0 }
        let isPresent = entry & format.presentMask != 0
        if let leaf = level.leaf(for: entry) {
            if let repeated = current.takeRepetition() { consumer.repeated(repeated) }
            if let run = current.leaf(
                entry, va: va, rule: leaf, grants: grants, format: format, isPresent: isPresent,
                ignoring: options.ignoredBits)
            {
                consumer.run(run)
            }
            if isPresent && leaf.wrongBits(of: entry) != 0 {
                report(WalkFinding(kind: .reservedBits, level: number, at: at, value: entry, va: GVA(va)))
            }
            if Consumer.wantsEntries && isPresent {
                consumer.entry(
                    WalkEntry(
                        entry: TranslationEntry(level: number, at: at, value: entry), va: GVA(va),
                        target: GPA(leaf.address(of: entry)), isLeaf: true, flags: current.run.flags,
                        pageShift: leaf.pageShift))
            }
            return isPresent ? 1 : 0
        }
        guard isPresent else { return 0 }
        let wrong = level.wrongTableBits(of: entry)
        guard let rule = level.table, rule.matches(entry), wrong == 0, number > 1 else {
            report(WalkFinding(kind: .reservedBits, level: number, at: at, value: entry, va: GVA(va)))
            return 0
        }
        let below = grants & format.grants(ofTable: entry, level: level)
        let target = entry & level.tableAddressMask
        if Consumer.wantsEntries {
            consumer.entry(
                WalkEntry(
                    entry: TranslationEntry(level: number, at: at, value: entry), va: GVA(va), target: GPA(target),
                    isLeaf: false, flags: pathFlags(entry, grants: below), pageShift: level.shift))
        }
        return descend(
            to: target, level: number &- 1, va: va, grants: below, coverage: level.coverage,
            from: (at, entry, number), consumer: &consumer)
    }

    /// What a mapping below an entry that refers to a table may do at most.
    @inlinable func pathFlags(_ entry: UInt64, grants: UInt64) -> PageFlags {
        let any = LeafRule(
            rule: .always, pageShift: 12, addressMask: 0, reserved: 0, kind: LeafRule.tableKind)
        return format.flags(leaf: entry, rule: any, grants: grants, reserved: false)
            .intersection([.readable, .writable, .executable, .user])
    }

    /// Reports an entry that refers to a table on the way to itself; once, not again from inside the loop.
    @inlinable mutating func reportLoop(
        to target: UInt64, va: UInt64, from: (at: GPA, value: UInt64, level: Int)
    ) {
        let referring = path[from.level & 7]
        var isOnPath = false
        for above in from.level...format.rootLevel {
            if path[above & 7] == target { isOnPath = true }
            if above > from.level && path[above & 7] == referring { return }
        }
        guard isOnPath else { return }
        let isRecursiveEntry = from.level == format.rootLevel
        report(
            WalkFinding(
                kind: isRecursiveEntry ? .selfMap : .loop, level: from.level, at: from.at, value: from.value,
                va: GVA(va)))
    }

    /// Follows an entry to a table: reads it, or says that it was there already.
    @inlinable mutating func descend(
        to target: UInt64, level: Int, va: UInt64, grants: UInt64, coverage: UInt64,
        from: (at: GPA, value: UInt64, level: Int), consumer: inout Consumer
    ) -> UInt64 {
        reportLoop(to: target, va: va, from: from)
        guard let page = memory.page(at: GPA(target)) else {
            report(
                WalkFinding(kind: .tableOutsideRAM, level: from.level, at: from.at, value: from.value, va: GVA(va)))
            return 0
        }
        let record: Int
        var isAgain = false
        // What is read in part only is no model for what is read in full: another key.
        let isWhole = options.range == nil || (va >= first && va &+ (coverage &- 1) <= last)
        let key = TableSet.key(target, level: isWhole ? level : level &+ 8)
        if let known = seen.findOrInsert(key) {
            record = known
            isAgain = true
            // Below a table that is walked again every table is: only the entry that leads there is worth a word.
            if repeatedLevels == 0 {
                tables[record].references &+= 1
                if tables[record].references == 2 {
                    report(
                        WalkFinding(kind: .shared, level: from.level, at: from.at, value: from.value, va: GVA(va)))
                }
            }
            if !options.everyPath && isWhole {
                // The same table as the entry before: one more of the same.
                if current.extendRepetition(table: target, level: level, va: va, grants: grants) {
                    return tables[record].leaves
                }
                let adjoins =
                    current.lastTable == target && current.lastLevel == level && current.lastGrants == grants
                    && current.lastEnd == va
                if adjoins || revisits >= options.revisitLimit {
                    if let earlier = current.takeRepetition() { consumer.repeated(earlier) }
                    if let run = current.take() { consumer.run(run) }
                    current.beginRepetition(
                        RepeatedTable(
                            table: GPA(target), level: level, va: GVA(va), count: 1, coverage: coverage,
                            firstVA: adjoins ? GVA(va &- coverage) : tables[record].va, leaves: tables[record].leaves,
                            flags: pathFlags(from.value, grants: grants)),
                        grants: grants)
                    return tables[record].leaves
                }
                revisits &+= 1
            }
        } else {
            record = tables.count
            tables.append(
                VisitedTable(
                    gpa: GPA(target), level: level, va: GVA(va), size: format.tableSize(level: level)))
        }
        guard visits < options.tableLimit else {
            report(WalkFinding(kind: .tableLimit, level: from.level, at: from.at, value: from.value, va: GVA(va)))
            stopped = true
            return 0
        }
        visits &+= 1
        if isAgain { repeatedLevels &+= 1 }
        defer { if isAgain { repeatedLevels &-= 1 } }
        if let earlier = current.takeRepetition() { consumer.repeated(earlier) }
        let leaves: UInt64
        if level == 1, let rule = wholeLeafTable {
            leaves = lastTable(
                page, at: target, rule: rule, va: va, grants: grants, record: record, isNew: !isAgain,
                consumer: &consumer)
        } else {
            leaves = table(
                target, level: level, va: va, grants: grants, record: record, isNew: !isAgain, from: from,
                consumer: &consumer)
        }
        current.lastTable = target
        current.lastLevel = level
        current.lastGrants = grants
        current.lastEnd = va &+ coverage
        return leaves
    }
}

extension UInt64 {
    /// The sum, or the greatest number there is.
    @inlinable func saturating(adding other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}

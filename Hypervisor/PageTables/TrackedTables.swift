// Page tables that are kept in copy, so that a change of one is found by reading that one again.
//
//     written pages -> compare with their copies -> changed entries -> virtual addresses, by the entries that refer to the
//     table -> walk these addresses over the copies and over what is there now -> compare
//
// What it costs follows what was written: nothing else is read.

import Addresses
import GuestMemory

/// Why tables cannot be kept.
public enum TrackedTablesError: Error, Equatable, CustomStringConvertible {
    /// There are more than so many pages of tables.
    case tooManyTables(limit: Int)

    /// What is wrong.
    public var description: String {
        switch self {
        case .tooManyTables(let limit):
            return "the page tables fill more than \(limit) pages, and no more are kept in copy"
        }
    }
}

/// What counts when tracked tables are read again.
public struct TrackingOptions: Sendable {
    /// Whether accessed and dirty bits count.
    public var countsAccessed = false
    /// Entries that are not present but have one of these bits count as mappings.
    public var absentMask: UInt64 = 0
    /// Virtual addresses of interest; nil: all.
    public var range: ClosedRange<GVA>?
    /// So many pages are kept at most (4 KiB each): a guest may have as many tables as it has memory.
    public var pageLimit = 1 << 18

    /// All addresses, without accessed and dirty bits.
    public init() {}
}

/// The tables below a root in copy. On one thread at a time.
public final class TrackedTables {
    /// A table at a level.
    private struct Key: Hashable {
        let table: UInt64
        let level: Int
    }

    /// An entry that refers to a table.
    private struct Reference: Hashable {
        let parent: Key
        let index: Int
    }

    /// The root table.
    public let root: GPA
    /// The tables' format.
    public let format: PageTableFormat
    private let options: TrackingOptions
    private let copies: TableCopies
    private var references: [Key: Set<Reference>] = [:]
    /// The tables that have a part in a page.
    private var tablesInPage: [UInt64: [Key]] = [:]
    /// Words that count.
    private let mask: UInt64
    /// A table that is reached in more ways than this is not followed up to the root; everything is walked instead.
    private static let pathLimit = 1024

    /// Copies the tables below a root.
    public init(
        root: GPA, format: PageTableFormat, memory: some PhysicalMemory, options: TrackingOptions = TrackingOptions()
    ) throws(TrackedTablesError) {
        self.root = root
        self.format = format
        self.options = options
        copies = TableCopies()
        mask = options.countsAccessed ? .max : ~format.volatileMask
        try add(Key(table: root.rawValue, level: format.rootLevel), from: nil, memory: memory)
    }

    /// The pages that hold tables, in no order.
    public var pages: [GPA] { tablesInPage.keys.map { GPA($0) } }
    /// How many tables there are, one that serves at two levels counted twice.
    public var tableCount: Int { references.count }
    /// Whether a page holds a table.
    public func holdsTable(_ page: GPA) -> Bool { tablesInPage[page.rawValue] != nil }

    /// All mappings, as the copies have them.
    public func mappings() -> (list: MappingList, summary: WalkSummary) { mappings(in: options.range, copies) }

    private func mappings(
        in range: ClosedRange<GVA>?, _ memory: some PhysicalMemory
    ) -> (list: MappingList, summary: WalkSummary) {
        var walkOptions = WalkOptions()
        walkOptions.range = range
        walkOptions.absentMask = options.absentMask
        var list = MappingList()
        let summary = walk(
            root: root, format: format, memory: memory, options: MappingList.walkOptions(walkOptions), into: &list)
        return (list, summary)
    }

    /// Reads pages again and hands the changes to `body`, by ascending virtual address; the copies are then what was read.
    ///
    /// - Parameters:
    ///   - pages: pages that may have been written; those that hold no table are passed over.
    ///   - memory: read as it is now, not from copies of its own.
    /// - Returns: false if there was more than can be compared; the changes are then not all.
    @discardableResult
    public func update(
        _ pages: some Sequence<GPA>, memory: some PhysicalMemory, _ body: (MappingChange) throws -> Void
    ) throws -> Bool {
        let new = NewTables(copies, memory: memory)
        var changed: [UInt64] = []
        for page in pages {
            let number = page.rawValue & ~4095
            guard tablesInPage[number] != nil else { continue }
            if new.take(number, comparing: mask) { changed.append(number) }
        }
        guard !changed.isEmpty else { return true }
        let isComplete = try compare(ranges(of: changed, new), new, body)
        try accept(changed, new)
        return isComplete
    }

    // MARK: Where

    /// The virtual addresses of changed entries, ascending, none overlapping another.
    private func ranges(of pages: [UInt64], _ new: NewTables) -> [ClosedRange<GVA>] {
        var ranges: [ClosedRange<GVA>] = []
        let whole = GVA(0)...GVA(.max)
        for page in pages {
            for key in tablesInPage[page] ?? [] {
                let groups = changedEntries(of: key, in: page, new)
                guard !groups.isEmpty else { continue }
                guard let bases = bases(of: key) else { return [whole] }
                let shift = UInt64(format.levels[key.level - 1].shift & 63)
                let coverage = format.levels[key.level - 1].coverage
                for base in bases {
                    for group in groups {
                        let first = format.canonical(base &+ UInt64(group.lowerBound) << shift)
                        let last = format.canonical(base &+ UInt64(group.upperBound) << shift) &+ (coverage &- 1)
                        ranges.append(first <= last ? GVA(first)...GVA(last) : whole)
                    }
                }
            }
        }
        ranges.sort { $0.lowerBound < $1.lowerBound }
        var merged: [ClosedRange<GVA>] = []
        for range in ranges {
            var range = range
            if let wanted = options.range {
                guard range.overlaps(wanted) else { continue }
                range = range.clamped(to: wanted)
            }
            if let last = merged.last,
                last.upperBound == GVA(.max) || range.lowerBound <= last.upperBound &+ 1
            {
                merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        // One walk over all of it costs less than very many over parts.
        if merged.count > 64, merged.count * 8 > tableCount, let first = merged.first, let last = merged.last {
            return [first.lowerBound...last.upperBound]
        }
        return merged
    }

    /// The entries of a table that differ, in groups of neighbours; of a table of the last level one group around all.
    private func changedEntries(of key: Key, in page: UInt64, _ new: NewTables) -> [ClosedRange<Int>] {
        var groups: [ClosedRange<Int>] = []
        let level = format.levels[key.level - 1]
        forChangedEntries(of: key, in: page, new) { index, _, _ in
            // Leaves that take several entries are seen as a whole.
            let low = level.hasWideLeaves ? index & ~15 : index
            let high = level.hasWideLeaves ? index | 15 : index
            if let last = groups.last, low <= last.upperBound + 1 || key.level == 1 {
                groups[groups.count - 1] = last.lowerBound...max(last.upperBound, high)
            } else {
                groups.append(low...high)
            }
        }
        return groups
    }

    private func forChangedEntries(
        of key: Key, in page: UInt64, _ new: NewTables, _ body: (Int, _ old: UInt64, _ new: UInt64) throws -> Void
    ) rethrows {
        guard let before = copies.page(at: GPA(page)), let after = new.fresh(page) else { return }
        let size = UInt64(format.entrySize)
        let entryMask = format.entrySize == 8 ? mask : mask & 0xffff_ffff
        let first = max(key.table, page)
        let end = min(key.table &+ UInt64(format.levels[key.level - 1].entryCount) &* size, page &+ 4096)
        var at = first
        while at < end {
            let old = load(before, Int(at & 4095))
            let now = load(after, Int(at & 4095))
            if (old ^ now) & entryMask != 0 { try body(Int((at &- key.table) / size), old, now) }
            at = at &+ size
        }
    }

    private func load(_ page: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        format.entrySize == 8
            ? page.load(fromByteOffset: offset & ~7, as: UInt64.self)
            : UInt64(page.load(fromByteOffset: offset & ~3, as: UInt32.self))
    }

    /// The first virtual addresses (not canonical) of a table in every way that leads to it; nil if there are too many.
    private func bases(of key: Key) -> [UInt64]? {
        if key.level == format.rootLevel { return [0] }
        var found: [UInt64] = []
        for reference in references[key] ?? [] {
            guard let above = bases(of: reference.parent) else { return nil }
            let shift = UInt64(format.levels[reference.parent.level - 1].shift & 63)
            for base in above { found.append(base &+ UInt64(reference.index) << shift) }
            if found.count > TrackedTables.pathLimit { return nil }
        }
        return found
    }

    // MARK: What

    private func compare(
        _ ranges: [ClosedRange<GVA>], _ new: NewTables, _ body: (MappingChange) throws -> Void
    ) throws -> Bool {
        var isComplete = true
        for range in ranges {
            let before = mappings(in: range, copies)
            let after = mappings(in: range, new)
            var comparison = ComparisonOptions()
            comparison.countsAccessed = options.countsAccessed
            comparison.range = range
            let summary = try compareMappings(before.list, format, after.list, format, options: comparison) {
                try body($0)
                return true
            }
            isComplete =
                isComplete && summary.isComplete && before.summary.isComplete && after.summary.isComplete
        }
        return isComplete
    }

    // MARK: Keeping up

    /// Makes what was read the copies, and follows entries that refer to other tables now.
    private func accept(_ pages: [UInt64], _ new: NewTables) throws(TrackedTablesError) {
        for page in pages {
            var lost: [(Key, Reference)] = []
            var gained: [(Key, Reference)] = []
            for key in tablesInPage[page] ?? [] where key.level > 1 {
                forChangedEntries(of: key, in: page, new) { index, old, now in
                    let reference = Reference(parent: key, index: index)
                    let before = child(of: old, level: key.level)
                    let after = child(of: now, level: key.level)
                    guard before != after else { return }
                    if let before { lost.append((before, reference)) }
                    if let after { gained.append((after, reference)) }
                }
            }
            if tablesInPage[page] != nil, let fresh = new.fresh(page) { copies.set(page, fresh) }
            // First what is new, so that a table that only moved is not forgotten in between.
            for (key, reference) in gained { try add(key, from: reference, memory: new) }
            for (key, reference) in lost { remove(key, from: reference) }
        }
    }

    /// The table that an entry refers to, if it does.
    private func child(of entry: UInt64, level number: Int) -> Key? {
        let level = format.levels[number - 1]
        guard number > 1, entry & format.presentMask != 0, level.leaf(for: entry) == nil, let rule = level.table,
            rule.matches(entry), level.wrongTableBits(of: entry) == 0
        else { return nil }
        return Key(table: entry & level.tableAddressMask, level: number - 1)
    }

    /// Notes a reference to a table, and copies the table if it is new. One that is not in RAM is left out.
    private func add(
        _ key: Key, from reference: Reference?, memory: some PhysicalMemory
    ) throws(TrackedTablesError) {
        if references[key] != nil {
            if let reference { references[key]?.insert(reference) }
            return
        }
        let size = UInt64(format.levels[key.level - 1].entryCount * format.entrySize)
        var page = key.table & ~4095
        while page < key.table &+ size {
            if copies.page(at: GPA(page)) == nil {
                guard copies.copy(page, from: memory) else { return }
                guard copies.count <= options.pageLimit else {
                    throw .tooManyTables(limit: options.pageLimit)
                }
            }
            page = page &+ 4096
        }
        references[key] = reference.map { [$0] } ?? []
        page = key.table & ~4095
        while page < key.table &+ size {
            tablesInPage[page, default: []].append(key)
            page = page &+ 4096
        }
        for (index, below) in children(of: key) {
            try add(below, from: Reference(parent: key, index: index), memory: memory)
        }
    }

    private func remove(_ key: Key, from reference: Reference) {
        guard references[key]?.remove(reference) != nil, references[key]?.isEmpty == true else { return }
        for (index, below) in children(of: key) { remove(below, from: Reference(parent: key, index: index)) }
        references[key] = nil
        let size = UInt64(format.levels[key.level - 1].entryCount * format.entrySize)
        var page = key.table & ~4095
        while page < key.table &+ size {
            tablesInPage[page]?.removeAll { $0 == key }
            if tablesInPage[page]?.isEmpty == true {
                tablesInPage[page] = nil
                copies.remove(page)
            }
            page = page &+ 4096
        }
    }

    /// The tables that a table refers to, by its copy.
    private func children(of key: Key) -> [(Int, Key)] {
        guard key.level > 1 else { return [] }
        var found: [(Int, Key)] = []
        for index in 0..<format.levels[key.level - 1].entryCount {
            let at = key.table &+ UInt64(index * format.entrySize)
            guard let page = copies.page(at: GPA(at)),
                let below = child(of: load(page, Int(at & 4095)), level: key.level)
            else { continue }
            found.append((index, below))
        }
        return found
    }
}

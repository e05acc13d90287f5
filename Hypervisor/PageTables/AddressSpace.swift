// What a processor translates by: one set of tables, or several that share the addresses between them (ARM's TTBR0 and
// TTBR1).

import Addresses
import GuestMemory

/// Tables and the virtual addresses that they translate.
public struct TableRegion: Hashable, Sendable {
    /// The format of the tables.
    public let format: PageTableFormat
    /// The root table.
    public let root: GPA
    /// The addresses.
    public let range: ClosedRange<GVA>

    /// Tables for a range of addresses.
    public init(format: PageTableFormat, root: GPA, range: ClosedRange<GVA> = GVA(0)...GVA(.max)) {
        self.format = format
        self.root = root
        self.range = range
    }
}

/// Everything that a processor translates addresses by at a moment.
public struct AddressSpace: Hashable, Sendable {
    /// The tables with the lowest addresses; on x86 there are no others.
    public let first: TableRegion
    /// Further tables, by ascending address.
    public let others: [TableRegion]

    /// One set of tables for all addresses.
    public init(format: PageTableFormat, root: GPA) {
        self.init(TableRegion(format: format, root: root))
    }

    /// Tables by ascending address; their ranges do not overlap.
    public init(_ first: TableRegion, _ others: [TableRegion] = []) {
        self.first = first
        self.others = others
    }

    /// The format of the tables; where there are several sets they differ in the size of their roots alone.
    @inlinable public var format: PageTableFormat { first.format }
    /// The root table of the lowest addresses.
    @inlinable public var root: GPA { first.root }
    /// Every set of tables.
    @inlinable public var regions: [TableRegion] { [first] + others }

    /// The tables that translate an address; the last if none does.
    @inlinable public func region(of address: GVA) -> TableRegion {
        regions.first { $0.range.contains(address) } ?? others.last ?? first
    }

    @usableFromInline var isWhole: Bool { others.isEmpty && first.range == GVA(0)...GVA(.max) }

    /// Translates an address as the processor would, without side effects.
    ///
    /// - Parameters:
    ///   - address: any number; one that is not canonical is a result.
    ///   - memory: where the tables are read.
    @inlinable public func translate(_ address: GVA, in memory: some PhysicalMemory) -> Translation {
        if first.range.contains(address) {
            return PageTables.translate(address, root: first.root, format: first.format, memory: memory)
        }
        for region in others where region.range.contains(address) {
            return PageTables.translate(address, root: region.root, format: region.format, memory: memory)
        }
        // No tables are in force for it (TTBCR.PD0, PD1), or no address is so high.
        var translation = Translation(address)
        if address <= (others.last ?? first).range.upperBound || address.rawValue >> 32 == 0 {
            translation.end = .notMapped(level: first.format.rootLevel, value: 0)
        }
        return translation
    }

    /// Walks all tables and hands runs of leaves to `consumer`, by ascending virtual address.
    ///
    /// - Parameters:
    ///   - memory: where the tables are read; may change meanwhile.
    ///   - options: see there.
    ///   - consumer: told of each run.
    @discardableResult
    @inlinable public func walk<Memory: PhysicalMemory, Consumer: WalkConsumer>(
        in memory: Memory, options: WalkOptions = WalkOptions(), into consumer: inout Consumer
    ) -> WalkSummary {
        if isWhole {
            return PageTables.walk(
                root: first.root, format: first.format, memory: memory, options: options, into: &consumer)
        }
        var total = WalkSummary(tables: [], leaves: 0, findings: [], findingsDropped: 0, isComplete: true)
        for region in regions {
            var part = options
            let low = max(region.range.lowerBound, options.range?.lowerBound ?? GVA(0))
            let high = min(region.range.upperBound, options.range?.upperBound ?? GVA(.max))
            guard low <= high, total.isComplete else { continue }
            part.range = low...high
            total.add(
                PageTables.walk(
                    root: region.root, format: region.format, memory: memory, options: part, into: &consumer),
                from: region.range.lowerBound)
        }
        return total
    }

    /// Every run of leaves, for callers that want them all at once.
    ///
    /// A table that is reached again is walked again, so that nothing is left out; tables that refer to themselves make
    /// this long: `limit` bounds the tables read, and `summary.isComplete` says whether that was enough.
    @inlinable public func runs(
        in memory: some PhysicalMemory, range: ClosedRange<GVA>? = nil, limit: Int = 1 << 22
    ) -> (runs: [MappedRun], summary: WalkSummary) {
        var options = WalkOptions()
        options.range = range
        options.everyPath = true
        options.tableLimit = limit
        var collector = RunCollector()
        let summary = walk(in: memory, options: options, into: &collector)
        return (collector.runs, summary)
    }

    /// Finds every virtual address that reaches a physical range, also inside large pages and behind tables used twice.
    ///
    /// - Parameters:
    ///   - range: physical addresses; a page is `gpa...gpa + 4095`.
    ///   - memory: where the tables are read.
    ///   - limit: at most so many entries in the result.
    public func aliases(
        of range: ClosedRange<GPA>, in memory: some PhysicalMemory, limit: Int = 100_000
    ) -> (Aliases, WalkSummary) {
        aliases(of: [range], in: memory, limit: limit)
    }

    /// The same for several physical ranges, by ascending address, none overlapping another.
    public func aliases(
        of ranges: [ClosedRange<GPA>], in memory: some PhysicalMemory, limit: Int = 100_000
    ) -> (Aliases, WalkSummary) {
        var search = AliasSearch(ranges: ranges, limit: limit)
        var options = WalkOptions()
        options.ignoredBits = format.volatileBits
        let summary = walk(in: memory, options: options, into: &search)
        // What another way to a table grants is seen by going that way.
        for index in search.moved {
            let translation = translate(search.found[index].va, in: memory)
            if let mapping = translation.mapping { search.found[index].flags = mapping.flags }
        }
        var result = Aliases()
        result.aliases = search.found.sorted { $0.va < $1.va }
        result.isTruncated = search.isTruncated || !summary.isComplete
        return (result, summary)
    }
}

extension WalkSummary {
    /// Adds what a walk of further tables found, whose first address is `start`.
    @usableFromInline mutating func add(_ other: WalkSummary, from start: GVA) {
        tables += other.tables
        hashes += other.hashes
        let root = tables.count - other.tables.count
        if tables.indices.contains(root) { tables[root].va = max(tables[root].va, start) }
        leaves = leaves.saturating(adding: other.leaves)
        findings += other.findings
        findingsDropped += other.findingsDropped
        isComplete = isComplete && other.isComplete
    }
}

/// What registers say of how addresses are translated, whatever the processor.
public enum TranslationMode: Hashable, Sendable {
    /// A virtual address is a physical one.
    case off
    /// By these tables.
    case tables(AddressSpace)
    /// By something that is not described; its name.
    case unsupported(String)
}

extension PagingState {
    /// The same as `mode`, in terms that all processors share.
    public var translation: TranslationMode {
        switch mode {
        case .pagingOff: return .off
        case .paging(let format, let root): return .tables(AddressSpace(format: format, root: root))
        case .unsupported(let name): return .unsupported(name)
        }
    }
}

extension ARMPagingState {
    /// The same as `mode`, in terms that all processors share.
    public var translation: TranslationMode {
        switch mode {
        case .translationOff: return .off
        case .tables(let regions):
            guard let first = regions.first else {
                return .unsupported("no tables (TTBCR.PD0 and PD1 are set)")
            }
            return .tables(AddressSpace(first, Array(regions.dropFirst())))
        case .longDescriptors: return .unsupported("long descriptors (TTBCR.EAE)")
        }
    }
}

// What a walk is asked for, whom it tells, and what it returns.

import Addresses

/// How to walk.
public struct WalkOptions: Sendable {
    /// Virtual addresses of interest; leaves that touch the range are handed out whole. Nil: all.
    public var range: ClosedRange<GVA>?
    /// Whether tables that are reached again are walked each time, whatever it costs.
    public var everyPath = false
    /// How many tables are walked again before further ones are handed out as `RepeatedTable`. Entries next to each other
    /// that refer to one table are always handed out so. Without meaning with `everyPath`.
    public var revisitLimit = 256
    /// How many tables are read at most, repetitions included.
    public var tableLimit = 1 << 22
    /// Leaf bits that do not end a run when they differ: accessed and dirty, for instance.
    public var ignoredBits: UInt64 = 0
    /// Entries that are not present but have one of these bits are handed out, with empty flags.
    public var absentMask: UInt64 = 0
    /// Whether to remember a hash of each table, so that `tableChanges` can tell whether any changed.
    public var detectsChanges = false
    /// How many findings are kept; further ones are counted.
    public var findingLimit = 1000

    /// The whole address space, tables once, no hashes.
    public init() {}
}

/// Who receives what a walk finds, by ascending virtual address.
public protocol WalkConsumer {
    /// Whether `entry(_:)` is to be called. A constant, so that the walk without it costs nothing.
    static var wantsEntries: Bool { get }
    /// A run that cannot grow any more.
    mutating func run(_ run: MappedRun)
    /// A table that was reached again and not walked again.
    mutating func repeated(_ table: RepeatedTable)
    /// A present entry, before what is below it.
    mutating func entry(_ entry: WalkEntry)
    /// Whether to stop.
    var isFinished: Bool { get }
}

extension WalkConsumer {
    /// No single entries.
    @inlinable public static var wantsEntries: Bool { false }
    /// Ignores the repetition.
    @inlinable public mutating func repeated(_ table: RepeatedTable) {}
    /// Ignores the entry.
    @inlinable public mutating func entry(_ entry: WalkEntry) {}
    /// Goes on.
    @inlinable public var isFinished: Bool { false }
}

/// Keeps the runs and repetitions, for callers that want them all.
public struct RunCollector: WalkConsumer, Sendable {
    /// The runs.
    public var runs: [MappedRun] = []
    /// Tables that were not walked again.
    public var repetitions: [RepeatedTable] = []

    /// Nothing yet.
    @inlinable public init() {}
    /// Keeps it.
    @inlinable public mutating func run(_ run: MappedRun) { runs.append(run) }
    /// Keeps it.
    @inlinable public mutating func repeated(_ table: RepeatedTable) { repetitions.append(table) }
}

/// What a walk has to say at its end.
public struct WalkSummary: Sendable {
    /// Every table read, once for each level it was read as, in the order they were reached.
    public internal(set) var tables: [VisitedTable]
    /// What they said, for those who ask whether they changed: see `WalkOptions.detectsChanges`. Else empty.
    public internal(set) var hashes: [TableHash]
    /// All leaves, those below repeated tables counted as often as they are reached.
    public internal(set) var leaves: UInt64
    /// What is odd, in the order found.
    public internal(set) var findings: [WalkFinding]
    /// Findings beyond the limit.
    public internal(set) var findingsDropped: Int
    /// False if the table limit or the consumer ended the walk early.
    public internal(set) var isComplete: Bool

    @usableFromInline init(
        tables: [VisitedTable], hashes: [TableHash] = [], leaves: UInt64, findings: [WalkFinding], findingsDropped: Int,
        isComplete: Bool
    ) {
        self.tables = tables
        self.hashes = hashes
        self.leaves = leaves
        self.findings = findings
        self.findingsDropped = findingsDropped
        self.isComplete = isComplete
    }
}

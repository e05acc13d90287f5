// `vitrine watch`: follows the page tables of a target and says what changed since they were last looked at.

import Addresses
import GuestMemory
import Layouts
import PageTables
import Targets

/// What `watch` is asked for.
public struct WatchOptions: Sendable {
    /// Virtual addresses of interest; nil: all.
    public var range: ClosedRange<GVA>?
    /// A change is shown if what was or what is meets this; nil: all are.
    public var filter: RangeFilter?
    /// The guest's PAT, for memory types.
    public var memoryTypes = PageAttributeTable.atReset
    /// Whether accessed and dirty bits count.
    public var countsAccessed = false
    /// The vCPU whose root is followed; nil: the root stays what it is.
    public var followedVCPU: Int?

    /// Everything but accessed and dirty bits, of one root.
    public init() {}
}

/// Tables in use: their format and their root.
public struct TableRoot: Hashable, Sendable {
    /// The format.
    public let format: PageTableFormat
    /// The root table.
    public let root: GPA

    /// A root.
    public init(format: PageTableFormat, root: GPA) {
        self.format = format
        self.root = root
    }
}

/// What a look at the tables found.
public enum WatchFinding: Sendable {
    /// Other tables are in use; nil: none, paging is off.
    case root(from: TableRoot?, to: TableRoot?)
    /// A range changed.
    case change(AnnotatedChange)
    /// There was more than can be compared: further changes of this moment are missing.
    case incomplete
}

/// The tables of a target, as they were when last looked at. On one thread at a time.
public final class TableWatcher {
    private let target: any Target
    private let subject: Subject
    private let options: WatchOptions
    private var tables: TrackedTables?

    /// Reads the tables of a subject for the first time.
    public init(_ subject: Subject, of target: any Target, options: WatchOptions) throws(TrackedTablesError) {
        self.target = target
        self.subject = subject
        self.options = options
        tables = try TrackedTables(
            root: subject.root, format: subject.format, memory: target.memory, options: tracking)
    }

    private var tracking: TrackingOptions {
        var tracking = TrackingOptions()
        tracking.countsAccessed = options.countsAccessed
        tracking.absentMask = subject.layout?.absentMask ?? 0
        tracking.range = options.range
        return tracking
    }

    /// The pages that hold the tables, in no order.
    public var pages: [GPA] { tables?.pages ?? [] }
    /// How many tables there are.
    public var tableCount: Int { tables?.tableCount ?? 0 }
    /// How many leaves there are within the range of interest.
    public var leafCount: UInt64 { tables?.mappings().summary.leaves ?? 0 }
    /// What the report begins with.
    public var heading: String { subject.heading }
    /// What is watched.
    public var watched: Subject { subject }

    /// Looks at pages again that may have been written.
    public func look(at pages: some Sequence<GPA>, _ body: (WatchFinding) throws -> Void) throws {
        guard let tables else { return }
        var annotator = annotator
        let isComplete = try tables.update(pages, memory: target.memory) { change in
            try annotator.annotate(change) { try body(.change($0)) }
        }
        if !isComplete { try body(.incomplete) }
    }

    /// Looks whether the followed vCPU uses other tables now, and if so, what they map otherwise.
    public func lookAtRoot(_ body: (WatchFinding) throws -> Void) throws {
        guard let vcpu = options.followedVCPU else { return }
        var root: TableRoot?
        if case .paging(let format, let its) = try target.registers(vcpu: vcpu).paging.mode {
            root = TableRoot(format: format, root: its)
        }
        let before = tables.map { TableRoot(format: $0.format, root: $0.root) }
        guard root != before else { return }
        let old = tables?.mappings()
        tables = try root.map {
            try TrackedTables(root: $0.root, format: $0.format, memory: target.memory, options: tracking)
        }
        let new = tables?.mappings()
        try body(.root(from: before, to: root))
        guard let format = root?.format ?? before?.format else { return }
        var comparison = ComparisonOptions()
        comparison.countsAccessed = options.countsAccessed
        comparison.range = options.range
        var annotator = annotator
        let summary = try compareMappings(
            old?.list ?? MappingList(), before?.format ?? format, new?.list ?? MappingList(), root?.format ?? format,
            options: comparison
        ) { change in
            try annotator.annotate(change) { try body(.change($0)) }
            return true
        }
        let isComplete =
            summary.isComplete && old?.summary.isComplete ?? true && new?.summary.isComplete ?? true
        if !isComplete { try body(.incomplete) }
    }

    private var annotator: ChangeAnnotator {
        ChangeAnnotator(from: subject, to: subject, filter: options.filter, types: options.memoryTypes)
    }
}

// `vitrine pages`: the tables as ranges, entries, a tree, or the list of tables; as text or JSON, written as the walk goes.

import Addresses
import GuestMemory
import JSON
import Layouts
import PageTables

/// How a report is written.
public enum ReportForm: String, Sendable, CaseIterable {
    /// For people.
    case text
    /// For programs; the schema is in the report.
    case json
}

/// What of the tables is shown.
public enum PagesView: String, Sendable, CaseIterable {
    /// Merged runs of leaves.
    case ranges
    /// Every leaf, with the entry that maps it.
    case entries
    /// Every present entry, tables included, indented by level.
    case tree
    /// Every table.
    case tables
}

/// What `pages` is asked for.
public struct PagesOptions: Sendable {
    /// What is shown.
    public var view = PagesView.ranges
    /// Virtual addresses of interest; nil: all.
    public var range: ClosedRange<GVA>?
    /// Which ranges and leaves are shown; nil: all.
    public var filter: RangeFilter?
    /// The guest's PAT, for memory types.
    public var memoryTypes = PageAttributeTable.atReset
    /// Text or JSON.
    public var form = ReportForm.text
    /// Whether to say how the names of regions were found.
    public var explains = false

    /// Ranges of the whole address space, as text.
    public init() {}

    /// Whether the filter lets a range pass.
    var matches: (AnnotatedRange) -> Bool {
        guard let filter else { return { _ in true } }
        let types = memoryTypes
        return { filter.matches($0, types: types) }
    }
}

/// Writes the tables of a subject.
///
/// - Parameters:
///   - subject: the guest's tables.
///   - options: what to write.
///   - holdsOutput: whether nothing is to be emitted before `afterWalk` was called: a paused guest must not wait for a
///     slow reader.
///   - afterWalk: called when the tables have been read; returns for how long the vCPUs stood still in microseconds, or
///     nil if they did not.
///   - emit: takes the text, piece by piece. What it throws ends the report.
public func writePages(
    _ subject: Subject, options: PagesOptions, holdsOutput: Bool = false,
    afterWalk: () throws -> UInt64? = { nil }, emit: ([UInt8]) throws -> Void
) throws {
    var walkOptions = WalkOptions()
    walkOptions.range = options.range
    walkOptions.absentMask = subject.layout?.absentMask ?? 0
    walkOptions.detectsChanges = true
    try withoutActuallyEscaping(emit) { emit in
        let output = ReportOutput(emit: emit, holds: holdsOutput)
        let printer: any PagesPrinter =
            options.form == .json
            ? PagesJSON(subject, view: options.view, output: output, explains: options.explains)
            : PagesText(subject, view: options.view, output: output, explains: options.explains)
        printer.begin()
        let annotator = RangeAnnotator(layout: subject.layout, slots: subject.slots)
        let summary: WalkSummary
        switch options.view {
        case .ranges:
            var consumer = RangeConsumer(
                annotator: annotator, printer: printer, output: output, matches: options.matches)
            summary = walk(
                root: subject.root, format: subject.format, memory: subject.memory, options: walkOptions,
                into: &consumer)
        case .entries, .tree:
            var consumer = EntryConsumer(
                annotator: annotator, printer: printer, output: output, leavesOnly: options.view == .entries,
                matches: options.matches)
            summary = walk(
                root: subject.root, format: subject.format, memory: subject.memory, options: walkOptions,
                into: &consumer)
        case .tables:
            var consumer = Silent()
            summary = walk(
                root: subject.root, format: subject.format, memory: subject.memory, options: walkOptions,
                into: &consumer)
            for table in summary.tables { printer.table(table, slot: subject.slots.slot(containing: table.gpa)) }
        }
        let changes = tableChanges(since: summary, format: subject.format, memory: subject.memory)
        let paused = try afterWalk()
        output.holds = false
        printer.end(PagesEnd(summary: summary, changes: changes, pausedMicroseconds: paused))
        output.flush()
        if let failure = output.failure { throw failure }
    }
}

/// What a report ends with.
struct PagesEnd {
    let summary: WalkSummary
    let changes: TableChanges
    let pausedMicroseconds: UInt64?
}

/// Where a report goes; what fails is kept, and ends the walk.
final class ReportOutput {
    private let emit: ([UInt8]) throws -> Void
    /// Whether everything is kept until this is false.
    var holds: Bool
    private(set) var failure: (any Error)?
    private var pending: [UInt8] = []

    init(emit: @escaping ([UInt8]) throws -> Void, holds: Bool) {
        self.emit = emit
        self.holds = holds
    }

    func add(_ bytes: [UInt8]) {
        pending.append(contentsOf: bytes)
        if !holds && pending.count >= 65536 { flush() }
    }

    func flush() {
        guard failure == nil, !pending.isEmpty else { return }
        do { try emit(pending) } catch { failure = error }
        pending.removeAll(keepingCapacity: true)
    }
}

/// One form of the report.
protocol PagesPrinter: AnyObject {
    func begin()
    func range(_ range: AnnotatedRange)
    func repeated(_ table: RepeatedTable)
    func entry(_ entry: WalkEntry, as range: AnnotatedRange?, isTree: Bool)
    func table(_ table: VisitedTable, slot: MemorySlot?)
    func end(_ end: PagesEnd)
}

/// Runs, annotated and printed.
struct RangeConsumer: WalkConsumer {
    var annotator: RangeAnnotator
    let printer: any PagesPrinter
    let output: ReportOutput
    let matches: (AnnotatedRange) -> Bool

    mutating func run(_ run: MappedRun) {
        annotator.annotate(run) { if matches($0) { printer.range($0) } }
    }
    mutating func repeated(_ table: RepeatedTable) { printer.repeated(table) }
    var isFinished: Bool { output.failure != nil }
}

/// Entries, printed one by one.
struct EntryConsumer: WalkConsumer {
    static var wantsEntries: Bool { true }
    var annotator: RangeAnnotator
    let printer: any PagesPrinter
    let output: ReportOutput
    let leavesOnly: Bool
    let matches: (AnnotatedRange) -> Bool

    mutating func run(_ run: MappedRun) {
        // Present entries come by `entry`; those that are not present have no other way to be shown.
        if !run.isPresent { annotator.annotate(run) { if matches($0) { printer.range($0) } } }
    }
    mutating func repeated(_ table: RepeatedTable) { printer.repeated(table) }
    mutating func entry(_ entry: WalkEntry) {
        guard entry.isLeaf else {
            if !leavesOnly { printer.entry(entry, as: nil, isTree: true) }
            return
        }
        // The first piece says it all: an entry is shown as one line.
        var first: AnnotatedRange?
        let run = MappedRun(
            va: entry.va, gpa: entry.target, pageCount: 1, pageShift: entry.pageShift, flags: entry.flags,
            leafBits: entry.entry.value)
        annotator.annotate(run) { if first == nil { first = $0 } }
        if let first, !matches(first) { return }
        printer.entry(entry, as: first, isTree: !leavesOnly)
    }
    var isFinished: Bool { output.failure != nil }
}

/// Nothing is printed while the walk goes.
struct Silent: WalkConsumer {
    mutating func run(_ run: MappedRun) {}
}

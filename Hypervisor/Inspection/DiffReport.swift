// `vitrine diff`: what two sets of page tables do not have in common.

import Addresses
import JSON
import Layouts
import PageTables

/// What `diff` is asked for.
public struct DiffOptions: Sendable {
    /// Virtual addresses of interest; nil: all.
    public var range: ClosedRange<GVA>?
    /// A change is shown if what was or what is meets this; nil: all are.
    public var filter: RangeFilter?
    /// The guest's PAT, for memory types.
    public var memoryTypes = PageAttributeTable.atReset
    /// Whether accessed and dirty bits count.
    public var countsAccessed = false
    /// Text or JSON.
    public var form = ReportForm.text

    /// Everything but accessed and dirty bits, as text.
    public init() {}
}

/// The mappings of a subject at a moment.
public struct MappingMoment: Sendable {
    /// Whose they are.
    public let subject: Subject
    /// What is mapped.
    public let list: MappingList
    /// Whether all of it was read.
    public let isComplete: Bool
    /// How many tables changed while they were read.
    public let tablesChanged: Int

    /// Reads the mappings of a subject.
    ///
    /// - Parameter absentMask: bits that make an entry that is not present count, see `WalkOptions`.
    public init(_ subject: Subject, range: ClosedRange<GVA>? = nil, absentMask: UInt64) {
        var options = MappingList.walkOptions()
        options.range = range
        options.absentMask = absentMask
        options.detectsChanges = true
        subject.memory.refresh()
        var list = MappingList()
        let summary = walk(
            root: subject.root, format: subject.format, memory: subject.memory, options: options, into: &list)
        self.subject = subject
        self.list = list
        isComplete = summary.isComplete
        tablesChanged = tableChanges(since: summary, format: subject.format, memory: subject.memory).changed
    }
}

/// Writes what differs between two moments.
///
/// - Parameter emit: takes the text, piece by piece. What it throws ends the report.
/// - Returns: whether both are equal, as far as is shown; false if they could not be compared to the end.
public func writeDiff(
    _ before: MappingMoment, _ after: MappingMoment, options: DiffOptions, emit: ([UInt8]) throws -> Void
) throws -> Bool {
    var printer = DiffPrinter(before, after, options: options)
    try emit(printer.begin())
    var annotator = ChangeAnnotator(
        from: before.subject, to: after.subject, filter: options.filter, types: options.memoryTypes)
    var comparison = ComparisonOptions()
    comparison.range = options.range
    comparison.countsAccessed = options.countsAccessed
    let summary = try compareMappings(
        before.list, before.subject.format, after.list, after.subject.format, options: comparison
    ) { change in
        annotator.annotate(change) { printer.add($0) }
        if printer.isFull { try emit(printer.take()) }
        return true
    }
    try emit(printer.end(summary))
    return printer.counts.total == 0 && summary.isComplete && before.isComplete && after.isComplete
}

/// Text or JSON.
private struct DiffPrinter {
    private let before: MappingMoment
    private let after: MappingMoment
    private let options: DiffOptions
    private let form: ChangeForm
    private(set) var counts = ChangeCounts()
    private var buffer = TextBuffer()
    private var writer = JSONWriter()

    init(_ before: MappingMoment, _ after: MappingMoment, options: DiffOptions) {
        self.before = before
        self.after = after
        self.options = options
        form = ChangeForm(showsAccessed: options.countsAccessed)
    }

    var isFull: Bool { buffer.bytes.count + writer.bytes.count >= 65536 }

    mutating func take() -> [UInt8] { options.form == .json ? writer.take() : buffer.take() }

    mutating func begin() -> [UInt8] {
        let sides = [("from", before), ("to", after)]
        guard options.form == .json else {
            buffer.line("from  \(before.subject.heading)")
            buffer.line("to    \(after.subject.heading)")
            return take()
        }
        writer.beginObject()
        writer.member("schema", "vitrine.diff/1")
        for (name, moment) in sides {
            writer.key(name)
            writer.object { writer in
                let subject = moment.subject
                writer.member("target", subject.name)
                writer.member("layout", subject.layout?.name)
                writer.member("root", hex: subject.root.rawValue)
                writer.member("mode", subject.format.name)
                writer.member("moment", subject.moment)
                if let source = subject.source { writer.member("memory", source) }
                writer.member("tablesChanged", moment.tablesChanged)
            }
        }
        writer.member("accessed", options.countsAccessed)
        writer.key("changes")
        writer.beginArray()
        return take()
    }

    mutating func add(_ change: AnnotatedChange) {
        if options.form == .json {
            let form = form
            writer.object { form.members(change, into: &$0) }
        } else {
            if counts.total == 0 { buffer.line(ChangeForm.heading) }
            form.line(change, into: &buffer)
        }
        counts.add(change)
    }

    mutating func end(_ summary: ComparisonSummary) -> [UInt8] {
        let isComplete = summary.isComplete && before.isComplete && after.isComplete
        if options.form == .json {
            writer.endArray()
            counts.members(into: &writer)
            writer.member("equal", counts.total == 0 && isComplete)
            writer.member("complete", isComplete)
            if let stop = summary.stoppedAt { writer.member("stoppedAt", hex: stop.rawValue) }
            writer.endObject()
            writer.newline()
            return take()
        }
        buffer.line(counts.total == 0 ? "no difference" : counts.text)
        for (name, moment) in [("from", before), ("to", after)] {
            if moment.tablesChanged > 0 {
                buffer.line("\(name): \(counted(moment.tablesChanged, "table")) changed while it was read")
            }
            if !moment.isComplete { buffer.line("\(name): incomplete, there are more tables than are read") }
        }
        if let stop = summary.stoppedAt {
            buffer.line("incomplete: compared up to \(stop.hex), too much is repeated from there on")
        }
        return take()
    }
}

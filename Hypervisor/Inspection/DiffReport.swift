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
    /// Text, JSON or CSV.
    public var form = ReportForm.text
    /// So many pieces are compared at most, see `ComparisonOptions`.
    public var stepLimit = ComparisonOptions().stepLimit

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
/// - Returns: whether both are equal, as far as is shown, false if they could not be compared to the end; and what a CSV has
///   no place for.
public func writeDiff(
    _ before: MappingMoment, _ after: MappingMoment, options: DiffOptions, emit: ([UInt8]) throws -> Void
) throws -> (isEqual: Bool, warnings: [String]) {
    var printer = DiffPrinter(before, after, options: options)
    try emit(printer.begin())
    var annotator = ChangeAnnotator(
        from: before.subject, to: after.subject, filter: options.filter, types: options.memoryTypes)
    var comparison = ComparisonOptions()
    comparison.range = options.range
    comparison.countsAccessed = options.countsAccessed
    comparison.stepLimit = options.stepLimit
    let summary = try compareMappings(
        before.list, before.subject.format, after.list, after.subject.format, options: comparison
    ) { change in
        annotator.annotate(change) { printer.add($0) }
        if printer.isFull { try emit(printer.take()) }
        return true
    }
    try emit(printer.end(summary))
    return (
        printer.counts.total == 0 && summary.isComplete && before.isComplete && after.isComplete,
        printer.warnings(summary)
    )
}

/// Text, JSON or CSV.
private struct DiffPrinter {
    private let before: MappingMoment
    private let after: MappingMoment
    private let options: DiffOptions
    private let form: ChangeForm
    private(set) var counts = ChangeCounts()
    private var buffer = TextBuffer()
    private var writer = JSONWriter()
    private var records = CSVWriter(header: ChangeForm.fieldNames)

    init(_ before: MappingMoment, _ after: MappingMoment, options: DiffOptions) {
        self.before = before
        self.after = after
        self.options = options
        form = ChangeForm(showsAccessed: options.countsAccessed)
    }

    var isFull: Bool { buffer.bytes.count + writer.bytes.count + records.bytes.count >= 65536 }

    mutating func take() -> [UInt8] {
        switch options.form {
        case .text: return buffer.take()
        case .json: return writer.take()
        case .csv: return records.take()
        }
    }

    private var sides: [(name: String, moment: MappingMoment)] { [("from", before), ("to", after)] }

    mutating func begin() -> [UInt8] {
        switch options.form {
        case .text:
            buffer.line("from  \(before.subject.heading)")
            buffer.line("to    \(after.subject.heading)")
        case .json: beginObject()
        case .csv: break
        }
        return take()
    }

    private mutating func beginObject() {
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
    }

    mutating func add(_ change: AnnotatedChange) {
        switch options.form {
        case .text:
            if counts.total == 0 { buffer.line(ChangeForm.heading) }
            form.line(change, into: &buffer)
        case .json:
            let form = form
            writer.object { form.members(change, into: &$0) }
        case .csv:
            form.fields(change, into: &records)
            records.endRecord()
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
        guard options.form == .text else { return take() }
        buffer.line(counts.total == 0 ? "no difference" : counts.text)
        for warning in warnings(summary) { buffer.line(warning) }
        return take()
    }

    /// What is to be known of the answer.
    func warnings(_ summary: ComparisonSummary) -> [String] {
        var warnings: [String] = []
        for (name, moment) in sides {
            if moment.tablesChanged > 0 {
                warnings.append("\(name): \(counted(moment.tablesChanged, "table")) changed while it was read")
            }
            if !moment.isComplete { warnings.append("\(name): incomplete, there are more tables than are read") }
        }
        if let stop = summary.stoppedAt {
            warnings.append("incomplete: compared up to \(stop.hex), too much is repeated from there on")
        }
        return warnings
    }
}

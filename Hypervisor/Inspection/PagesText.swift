// The text of `vitrine pages`: one line a range, within 100 columns.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// `4K`, `2M`, `1G`: the size of a page.
func pageName(_ size: UInt64) -> String { formatSize(size) }

/// What a finding says to people.
func describe(_ finding: WalkFinding, format: PageTableFormat) -> String {
    let place =
        finding.level > format.rootLevel
        ? "the root, \(GPA(finding.value).hex)"
        : "\(format.tableName(level: finding.level)) entry at \(finding.at.hex) = \(GPA(finding.value).hex), "
            + "VA \(finding.va.hex)"
    switch finding.kind {
    case .selfMap: return "recursive entry, the tables map themselves: \(place)"
    case .loop: return "loop, the entry refers to a table above it: \(place)"
    case .shared: return "table reached again: \(place)"
    case .tableOutsideRAM: return "table outside RAM: \(place)"
    case .reservedBits: return "reserved bits set, accesses fault: \(place)"
    case .tableLimit: return "more tables than are read, the rest is missing: \(place)"
    }
}

/// Text, in columns.
final class PagesText: PagesPrinter {
    private let subject: Subject
    private let view: PagesView
    private let output: ReportOutput
    private var buffer: TextBuffer
    private var lines = 0
    private let explains: Bool
    private var rangeRows = RowGatherer<AnnotatedRange>()
    private var tableRows = RowGatherer<RepeatedTable>()

    init(
        _ subject: Subject, view: PagesView, isColoured: Bool, output: ReportOutput, explains: Bool = false
    ) {
        buffer = TextBuffer(isColoured: isColoured)
        self.explains = explains
        self.subject = subject
        self.view = view
        self.output = output
    }

    private func endLine() {
        buffer.newline()
        lines += 1
        if buffer.bytes.count >= 16384 { output.add(buffer.take()) }
    }

    func begin() {
        buffer.line(subject.heading, .heading)
        if explains {
            for line in subject.explanation.split(separator: "\n") { buffer.line(String(line)) }
        }
        buffer.begin(.heading)
        switch view {
        case .ranges:
            buffer.add("virtual addresses")
            buffer.right("size", to: 44)
            buffer.right("page", to: 49)
            buffer.right("physical", to: 65)
            buffer.tab(to: 67)
            buffer.add("flags   kind     region")
        case .entries:
            buffer.add("virtual address    page physical        flags   kind     L entry at     value")
        case .tree:
            buffer.add("entries, indented by level")
        case .tables:
            buffer.add("table             level    first virtual address present      leaves  references  slot")
        }
        buffer.end()
        endLine()
        lines = 0
    }

    /// What has no memory behind it is faint.
    private func faint(_ kind: Backing) -> TextStyle? { kind == .unbacked || kind == .absent ? .faint : nil }

    func range(_ range: AnnotatedRange) {
        for row in tableRows.end() { line(row) }
        for row in rangeRows.add(range) { line(row) }
    }

    /// Prints what may still grow.
    private func endRows() {
        for row in rangeRows.end() { line(row) }
        for row in tableRows.end() { line(row) }
    }

    private func line(_ row: EqualRow<AnnotatedRange>) {
        let range = row.first
        buffer.begin(faint(range.kind))
        buffer.hex(range.va.rawValue, digits: 16)
        buffer.add("-")
        buffer.hex((row.lastVA &+ (range.size &- 1)).rawValue, digits: 16)
        buffer.right(formatSize(range.size), to: 44)
        buffer.right(pageName(range.pageSize), to: 49)
        buffer.right(range.kind == .absent ? "-" : range.gpa.hex, to: 65)
        buffer.tab(to: 67)
        buffer.flags(range.flags)
        buffer.tab(to: 75)
        buffer.add(range.kind.rawValue, faint(range.kind))
        annotations(of: range, from: 84, times: row.times)
        endLine()
    }

    private func annotations(of range: AnnotatedRange, from column: Int, times: String? = nil) {
        var words: [String] = []
        if let region = range.region { words.append(region) }
        if let meaning = range.meaning { words.append(meaning) }
        if range.flags.contains(.reserved) && range.meaning == nil { words.append("reserved") }
        if range.repeatsPage { words.append("(one page, \(counted(range.size / range.pageSize, "time")))") }
        if let times { words.append("(\(times))") }
        guard !words.isEmpty else { return }
        buffer.tab(to: column)
        buffer.add(words.joined(separator: " "))
    }

    func repeated(_ table: RepeatedTable) {
        for row in rangeRows.end() { line(row) }
        for row in tableRows.add(table) { line(row) }
    }

    private func line(_ row: EqualRow<RepeatedTable>) {
        let table = row.first
        buffer.hex(table.va.rawValue, digits: 16)
        buffer.add("-")
        buffer.hex((row.lastVA &+ (table.count &* table.coverage &- 1)).rawValue, digits: 16)
        buffer.add("  as at \(table.firstVA.hex)")
        if let times = row.times { buffer.add(", \(times)") }
        if table.count > 1 { buffer.add(", \(grouped(table.count)) times") }
        buffer.add(", \(counted(table.leaves, "leaf", "leaves")) each, table \(table.table.hex)")
        endLine()
    }

    func entry(_ entry: WalkEntry, as range: AnnotatedRange?, isTree: Bool) {
        endRows()
        if isTree {
            tree(entry, as: range)
            return
        }
        buffer.hex(entry.va.rawValue, digits: 16)
        buffer.tab(to: 19)
        if let range {
            buffer.add(pageName(range.pageSize))
            buffer.tab(to: 24)
            buffer.hex(entry.target.rawValue)
            buffer.tab(to: 40)
            buffer.flags(entry.flags)
            buffer.tab(to: 48)
            buffer.add(range.kind.rawValue, faint(range.kind))
        }
        buffer.tab(to: 57)
        buffer.add(String(entry.entry.level))
        buffer.tab(to: 59)
        buffer.hex(entry.entry.at.rawValue)
        buffer.tab(to: 72)
        buffer.hex(entry.entry.value)
        if let meaning = range?.meaning { buffer.add(" \(meaning)") }
        endLine()
    }

    private func tree(_ entry: WalkEntry, as range: AnnotatedRange?) {
        let format = subject.space.region(of: entry.va).format
        let depth = format.rootLevel - entry.entry.level
        buffer.add(String(repeating: "  ", count: depth))
        let index = format.index(of: entry.va, level: entry.entry.level)
        buffer.add("\(format.tableName(level: entry.entry.level))[\(index)]")
        buffer.tab(to: 18)
        buffer.hex(entry.va.rawValue, digits: 16)
        buffer.tab(to: 37)
        if let range {
            buffer.add(pageName(range.pageSize))
            buffer.tab(to: 43)
            buffer.hex(entry.target.rawValue)
            buffer.tab(to: 59)
            buffer.flags(entry.flags)
            buffer.tab(to: 67)
            buffer.add(range.kind.rawValue, faint(range.kind))
            annotations(of: range, from: 76)
        } else {
            buffer.add("table")
            buffer.tab(to: 43)
            buffer.hex(entry.target.rawValue)
            buffer.tab(to: 59)
            buffer.add(String(entry.flags.columns.prefix(4)))
        }
        endLine()
    }

    func table(_ table: VisitedTable, slot: MemorySlot?) {
        buffer.hex(table.gpa.rawValue)
        buffer.tab(to: 18)
        buffer.add("\(table.level)  \(subject.format.tableName(level: table.level))")
        buffer.tab(to: 27)
        buffer.hex(table.va.rawValue, digits: 16)
        buffer.right(grouped(table.presentEntries), to: 55)
        buffer.right(grouped(table.leaves), to: 67)
        buffer.right(grouped(table.references), to: 79)
        buffer.tab(to: 81)
        buffer.add(slot.map { "\($0.id) \($0.name)" } ?? "-")
        endLine()
    }

    func end(_ end: PagesEnd) {
        endRows()
        let summary = end.summary
        if view == .ranges && lines == 0 { buffer.line("nothing is mapped") }
        var text = view == .ranges ? "\(counted(lines, "line")), " : ""
        text += "\(counted(summary.leaves, "leaf", "leaves")) in \(counted(summary.tables.count, "table"))"
        if end.changes.changed == 0 {
            text += "; no table changed meanwhile"
        } else {
            text += "; \(grouped(end.changes.changed)) of them changed while they were read"
        }
        buffer.line(text)
        if let paused = end.pausedMicroseconds { buffer.line("the vCPUs stood still for \(milliseconds(paused)) ms") }
        if !summary.isComplete { buffer.line("incomplete: there are more tables than are read") }
        // Reserved bits that mean something in the layout are no oddity.
        let findings = summary.findings.filter { finding in
            finding.kind != .reservedBits || subject.layout?.meaning(of: finding.value) == nil
        }
        for finding in findings.prefix(20) { buffer.line(describe(finding, format: subject.format)) }
        let more = max(0, findings.count - 20) + summary.findingsDropped
        if more > 0 { buffer.line("and \(counted(more, "more finding"))") }
        output.add(buffer.take())
    }
}

extension TextBuffer {
    /// Appends flags in seven columns: writable and executable at once stands out, and what ring 3 may use. Ends the
    /// style that was on.
    mutating func flags(_ flags: PageFlags) {
        guard isColoured else {
            add(flags.columns)
            return
        }
        end()
        add(
            flags.columns,
            flags.isSuperset(of: [.writable, .executable]) ? .bad : flags.contains(.user) ? .user : nil)
    }
}

/// `1.234`: microseconds as milliseconds.
func milliseconds(_ microseconds: UInt64) -> String {
    let rest = String(microseconds % 1000)
    return "\(microseconds / 1000)." + String(repeating: "0", count: 3 - rest.count) + rest
}

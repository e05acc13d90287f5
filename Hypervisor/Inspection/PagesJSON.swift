// The JSON of `vitrine pages`, schema vitrine.pages/1.

import Addresses
import GuestMemory
import JSON
import Layouts
import PageTables

/// JSON, one line a range.
final class PagesJSON: PagesPrinter {
    private let subject: Subject
    private let view: PagesView
    private let output: ReportOutput
    private var writer = JSONWriter()
    private var repetitions: [RepeatedTable] = []
    private let explains: Bool

    init(_ subject: Subject, view: PagesView, output: ReportOutput, explains: Bool = false) {
        self.explains = explains
        self.subject = subject
        self.view = view
        self.output = output
    }

    private func pass() {
        if writer.bytes.count >= 16384 { output.add(writer.take()) }
    }

    func begin() {
        writer.beginObject()
        writer.member("schema", "vitrine.pages/1")
        writer.member("target", subject.name)
        writer.member("layout", subject.layout?.name)
        writer.member("root", hex: subject.root.rawValue)
        writer.member("mode", subject.format.name)
        writer.member("moment", subject.moment)
        if let source = subject.source { writer.member("memory", source) }
        if explains, let linux = subject.linux {
            writer.key("names")
            linux.write(into: &writer)
        }
        switch view {
        case .ranges: writer.key("ranges")
        case .entries, .tree: writer.key("entries")
        case .tables: writer.key("tables")
        }
        writer.beginArray()
    }

    func range(_ range: AnnotatedRange) {
        writer.object { writer in
            writer.member("va", hex: range.va.rawValue)
            writer.member("size", range.size)
            writer.member("gpa", hex: range.kind == .absent ? nil : range.gpa.rawValue)
            writer.member("page", pageName(range.pageSize))
            writer.member("flags", range.flags.letters)
            writer.member("kind", range.kind.rawValue)
            writer.member("region", range.region)
            if let meaning = range.meaning { writer.member("meaning", meaning) }
            if range.flags.contains(.reserved) { writer.member("reserved", true) }
            if range.repeatsPage { writer.member("repeats", range.size / range.pageSize) }
        }
        pass()
    }

    func repeated(_ table: RepeatedTable) { repetitions.append(table) }

    func entry(_ entry: WalkEntry, as range: AnnotatedRange?, isTree: Bool) {
        writer.object { writer in
            writer.member("va", hex: entry.va.rawValue)
            writer.member("level", entry.entry.level)
            writer.member("at", hex: entry.entry.at.rawValue)
            writer.member("value", hex: entry.entry.value)
            if isTree { writer.member("leaf", entry.isLeaf) }
            if let range {
                writer.member("gpa", hex: entry.target.rawValue)
                writer.member("page", pageName(range.pageSize))
                writer.member("flags", entry.flags.letters)
                writer.member("kind", range.kind.rawValue)
                writer.member("region", range.region)
                if let meaning = range.meaning { writer.member("meaning", meaning) }
            } else {
                writer.member("table", hex: entry.target.rawValue)
                writer.member("flags", entry.flags.letters)
            }
        }
        pass()
    }

    func table(_ table: VisitedTable, slot: MemorySlot?) {
        writer.object { writer in
            writer.member("gpa", hex: table.gpa.rawValue)
            writer.member("level", table.level)
            writer.member("va", hex: table.va.rawValue)
            writer.member("present", table.presentEntries)
            writer.member("leaves", table.leaves)
            writer.member("references", table.references)
            writer.key("slot")
            if let slot { writer.value(slot.id) } else { writer.null() }
        }
        pass()
    }

    func end(_ end: PagesEnd) {
        writer.endArray()
        if !repetitions.isEmpty {
            writer.key("repetitions")
            writer.array { writer in
                for table in repetitions {
                    writer.object { writer in
                        writer.member("va", hex: table.va.rawValue)
                        writer.member("size", table.count &* table.coverage)
                        writer.member("count", table.count)
                        writer.member("as", hex: table.firstVA.rawValue)
                        writer.member("table", hex: table.table.rawValue)
                        writer.member("level", table.level)
                        writer.member("leaves", table.leaves)
                        writer.member("flags", table.flags.letters)
                    }
                }
            }
        }
        writer.member("leaves", end.summary.leaves)
        writer.member("tableCount", end.summary.tables.count)
        writer.member("tablesChanged", end.changes.changed)
        writer.member("complete", end.summary.isComplete)
        if let paused = end.pausedMicroseconds { writer.member("pausedMicroseconds", paused) }
        writer.key("findings")
        writer.array { writer in
            for finding in end.summary.findings {
                writer.object { writer in
                    writer.member("kind", finding.kind.rawValue)
                    writer.member("level", finding.level)
                    writer.member("at", hex: finding.at.rawValue)
                    writer.member("value", hex: finding.value)
                    writer.member("va", hex: finding.va.rawValue)
                }
            }
        }
        writer.endObject()
        writer.newline()
        output.add(writer.take())
    }
}

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
        subject.members(schema: "vitrine.pages/1", into: &writer)
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
        PagesColumns.ranges.write(range, into: &writer)
        pass()
    }

    func repeated(_ table: RepeatedTable) { repetitions.append(table) }

    func entry(_ entry: WalkEntry, as range: AnnotatedRange?, isTree: Bool) {
        PagesColumns.entries.write(EntryRow(entry: entry, range: range, isTree: isTree), into: &writer)
        pass()
    }

    func table(_ table: VisitedTable, slot: MemorySlot?) {
        PagesColumns.tables.write(TableRow(table: table, slot: slot), into: &writer)
        pass()
    }

    func end(_ end: PagesEnd) {
        writer.endArray()
        if !repetitions.isEmpty {
            writer.key("repetitions")
            writer.array { writer in
                for table in repetitions { PagesColumns.repetitions.write(table, into: &writer) }
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

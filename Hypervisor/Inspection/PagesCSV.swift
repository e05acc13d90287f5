// The CSV of `vitrine pages`, and the columns that it shares with the JSON.

import Addresses
import GuestMemory
import PageTables

/// A leaf, an entry of a tree, or entries that are not present.
struct EntryRow {
    /// The entry; nil for those that are not present, which are known as a range only.
    var entry: WalkEntry?
    /// What it maps; nil for an entry that refers to a table.
    var range: AnnotatedRange?
    /// Whether tables are shown as well.
    var isTree: Bool

    /// A value of the range, if there is one.
    func ofRange(_ value: (AnnotatedRange) -> FieldValue) -> FieldValue { range.map(value) ?? .absent }
    /// A value of the entry, if there is one.
    func ofEntry(_ value: (WalkEntry) -> FieldValue) -> FieldValue { entry.map(value) ?? .absent }
}

/// A table and the slot it lies in.
struct TableRow {
    let table: VisitedTable
    let slot: MemorySlot?
}

/// The fields of `vitrine pages`, by view.
enum PagesColumns {
    static let ranges = Columns<AnnotatedRange>(
        Column("va") { .address($0.va.rawValue) },
        Column("size") { .unsigned($0.size) },
        Column("gpa") { FieldValue(address: $0.kind == .absent ? nil : $0.gpa.rawValue) },
        Column("page") { .text(pageName($0.pageSize)) },
        Column("flags") { .text($0.flags.letters) },
        Column("kind") { .text($0.kind.rawValue) },
        Column("region") { FieldValue($0.region) },
        Column("meaning") { $0.meaning.map { .text($0) } ?? .absent },
        Column("reserved") { $0.flags.contains(.reserved) ? .flag(true) : .absent },
        Column("repeats") { $0.repeatsPage ? .unsigned($0.size / $0.pageSize) : .absent })

    static let entries = Columns<EntryRow>(
        Column("va") { .address($0.entry?.va.rawValue ?? $0.range?.va.rawValue ?? 0) },
        Column("size") { row in row.entry == nil ? row.ofRange { .unsigned($0.size) } : .absent },
        Column("level") { $0.ofEntry { FieldValue($0.entry.level) } },
        Column("at") { $0.ofEntry { .address($0.entry.at.rawValue) } },
        Column("value") { $0.ofEntry { .address($0.entry.value) } },
        Column("leaf") { row in row.isTree ? row.ofEntry { .flag($0.isLeaf) } : .absent },
        Column("gpa") { row in
            guard let range = row.range else { return .absent }
            return FieldValue(address: range.kind == .absent ? nil : row.entry?.target.rawValue ?? range.gpa.rawValue)
        },
        Column("page") { $0.ofRange { .text(pageName($0.pageSize)) } },
        Column("flags") { .text($0.entry?.flags.letters ?? $0.range?.flags.letters ?? "") },
        Column("kind") { $0.ofRange { .text($0.kind.rawValue) } },
        Column("region") { $0.ofRange { FieldValue($0.region) } },
        Column("meaning") { $0.ofRange { $0.meaning.map { .text($0) } ?? .absent } },
        Column("table") { row in row.range == nil ? row.ofEntry { .address($0.target.rawValue) } : .absent })

    static let tables = Columns<TableRow>(
        Column("gpa") { .address($0.table.gpa.rawValue) },
        Column("level") { FieldValue($0.table.level) },
        Column("va") { .address($0.table.va.rawValue) },
        Column("present") { FieldValue($0.table.presentEntries) },
        Column("leaves") { .unsigned($0.table.leaves) },
        Column("references") { .unsigned($0.table.references) },
        Column("slot") { $0.slot.map { .number(Int64($0.id)) } ?? .null })

    static let repetitions = Columns<RepeatedTable>(
        Column("va") { .address($0.va.rawValue) },
        Column("size") { .unsigned($0.count &* $0.coverage) },
        Column("count") { .unsigned($0.count) },
        Column("as") { .address($0.firstVA.rawValue) },
        Column("table") { .address($0.table.rawValue) },
        Column("level") { FieldValue($0.level) },
        Column("leaves") { .unsigned($0.leaves) },
        Column("flags") { .text($0.flags.letters) })

    /// A table that is there again, in the columns of ranges: the kind `repeated`.
    static func record(_ table: RepeatedTable, into writer: inout CSVWriter) {
        writer.field(hex: table.va.rawValue)
        writer.field(table.count &* table.coverage)
        writer.emptyField()
        writer.emptyField()
        writer.field(table.flags.letters)
        writer.field("repeated")
        writer.emptyField()
        writer.emptyField()
        writer.emptyField()
        writer.field(table.count)
        writer.field(hex: table.firstVA.rawValue)
        writer.endRecord()
    }
}

/// CSV, one line a range. Ranges have a column more than the JSON: `as`, where a repeated table was first.
final class PagesCSV: PagesPrinter {
    private let view: PagesView
    private let output: ReportOutput
    private var writer: CSVWriter

    init(view: PagesView, output: ReportOutput) {
        self.view = view
        self.output = output
        switch view {
        case .ranges: writer = CSVWriter(header: PagesColumns.ranges.names + ["as"])
        case .entries, .tree: writer = CSVWriter(header: PagesColumns.entries.names)
        case .tables: writer = CSVWriter(header: PagesColumns.tables.names)
        }
    }

    private func pass() {
        if writer.bytes.count >= 16384 { output.add(writer.take()) }
    }

    func begin() {}

    func range(_ range: AnnotatedRange) {
        if view == .ranges {
            PagesColumns.ranges.fields(of: range, into: &writer)
            writer.emptyField()
            writer.endRecord()
        } else {
            PagesColumns.entries.write(EntryRow(range: range, isTree: view == .tree), into: &writer)
        }
        pass()
    }

    func repeated(_ table: RepeatedTable) {
        // Entries say themselves which table they refer to.
        guard view == .ranges else { return }
        PagesColumns.record(table, into: &writer)
        pass()
    }

    func entry(_ entry: WalkEntry, as range: AnnotatedRange?, isTree: Bool) {
        PagesColumns.entries.write(EntryRow(entry: entry, range: range, isTree: isTree), into: &writer)
        pass()
    }

    func table(_ table: VisitedTable, slot: MemorySlot?) {
        PagesColumns.tables.write(TableRow(table: table, slot: slot), into: &writer)
        pass()
    }

    func end(_ end: PagesEnd) { output.add(writer.take()) }
}

// A change as a line of text, as JSON, and as a record of CSV.

import Addresses
import JSON
import PageTables

/// How changes are written.
struct ChangeForm {
    /// Whether accessed and dirty bits counted, so that they mean something.
    let showsAccessed: Bool

    /// What stands above the lines of text.
    static let heading = "  virtual addresses                         size  region        from -> to"

    /// A line: `~ 0x...-0x... 64K mmap 4K 0x53b000 urw-- -> ur---`.
    func line(_ change: AnnotatedChange, into buffer: inout TextBuffer) {
        let start = buffer.column
        switch change.kind {
        case .added: buffer.add("+ ")
        case .removed: buffer.add("- ")
        case .changed: buffer.add("~ ")
        }
        buffer.hex(change.va.rawValue, digits: 16)
        buffer.add("-")
        buffer.hex(change.lastVA.rawValue, digits: 16)
        buffer.right(formatSize(change.size), to: start + 47)
        buffer.tab(to: start + 49)
        buffer.add(change.region ?? "-")
        buffer.tab(to: start + 63)
        switch (change.from, change.to) {
        case (let from?, let to?):
            buffer.add(whole(from, change))
            buffer.add(" -> ")
            buffer.add(difference(from, to).joined(separator: " "))
        case (let one?, nil), (nil, let one?): buffer.add(whole(one, change))
        case (nil, nil): break
        }
        buffer.newline()
    }

    private func flags(_ range: AnnotatedRange) -> String {
        showsAccessed ? range.flags.columns : String(range.flags.columns.prefix(5))
    }

    private func physical(_ range: AnnotatedRange) -> String { range.kind == .absent ? "-" : range.gpa.hex }

    private func whole(_ range: AnnotatedRange, _ change: AnnotatedChange) -> String {
        var words = [pageName(range.pageSize), physical(range), flags(range)]
        if let meaning = range.meaning { words.append(meaning) }
        if range.kind != .ram && range.kind != .absent { words.append(range.kind.rawValue) }
        if range.repeatsPage { words.append("(one page, \(counted(range.size / range.pageSize, "time")))") }
        if change.isScattered {
            words.append("(\(counted(max(1, change.size / range.pageSize), "page")), scattered)")
        }
        return words.joined(separator: " ")
    }

    /// What is said of the new side: what is not as before.
    private func difference(_ from: AnnotatedRange, _ to: AnnotatedRange) -> [String] {
        var words: [String] = []
        if from.pageSize != to.pageSize { words.append(pageName(to.pageSize)) }
        if from.gpa != to.gpa || from.kind == .absent || to.kind == .absent { words.append(physical(to)) }
        if from.flags != to.flags { words.append(flags(to)) }
        if from.meaning != to.meaning { words.append(to.meaning ?? "no \(from.meaning ?? "")") }
        if from.kind != to.kind && to.kind != .absent { words.append(to.kind.rawValue) }
        if from.repeatsPage != to.repeatsPage {
            words.append(to.repeatsPage ? "(one page, \(counted(to.size / to.pageSize, "time")))" : "(page by page)")
        }
        if words.isEmpty {
            words.append("leaf bits \(GPA(from.leafBits).hex) -> \(GPA(to.leafBits).hex)")
        }
        return words
    }

    /// The members of a change in JSON; the object is the caller's.
    func members(_ change: AnnotatedChange, into writer: inout JSONWriter) {
        ChangeForm.columns.members(of: change, into: &writer)
        for (name, side) in [("from", change.from), ("to", change.to)] {
            writer.key(name)
            if let side { ChangeForm.sideColumns.write(side, into: &writer) } else { writer.null() }
        }
    }

    /// What a change has beside its two sides.
    private static let columns = Columns<AnnotatedChange>(
        Column("change") { .text($0.kind.rawValue) },
        Column("va") { .address($0.va.rawValue) },
        Column("size") { .unsigned($0.size) },
        Column("region") { FieldValue($0.region) },
        Column("scattered") { $0.isScattered ? .flag(true) : .absent })

    /// What was, or what is.
    private static let sideColumns = Columns<AnnotatedRange>(
        Column("gpa") { FieldValue(address: $0.kind == .absent ? nil : $0.gpa.rawValue) },
        Column("page") { .text(pageName($0.pageSize)) },
        Column("flags") { .text($0.flags.letters) },
        Column("kind") { .text($0.kind.rawValue) },
        Column("bits") { .address($0.leafBits) },
        Column("meaning") { $0.meaning.map { .text($0) } ?? .absent },
        Column("repeats") { $0.repeatsPage ? .unsigned($0.size / $0.pageSize) : .absent })

    /// The names of a record's fields: those of the sides with `from.` and `to.` before them.
    static var fieldNames: [String] {
        columns.names + ["from", "to"].flatMap { side in sideColumns.names.map { "\(side).\($0)" } }
    }

    /// A change as fields of a record, which the caller ends.
    func fields(_ change: AnnotatedChange, into writer: inout CSVWriter) {
        ChangeForm.columns.fields(of: change, into: &writer)
        for side in [change.from, change.to] {
            if let side {
                ChangeForm.sideColumns.fields(of: side, into: &writer)
            } else {
                for _ in ChangeForm.sideColumns.names { writer.emptyField() }
            }
        }
    }
}

/// How many changes there were, and how much memory they were about.
struct ChangeCounts {
    private var changes: [AnnotatedChange.Kind: (count: Int, bytes: UInt64)] = [:]

    /// Changes in all.
    var total: Int { changes.values.reduce(0) { $0 + $1.count } }

    mutating func add(_ change: AnnotatedChange) {
        let (count, bytes) = changes[change.kind] ?? (0, 0)
        changes[change.kind] = (count + 1, bytes &+ change.size)
    }

    /// `2 ranges added (64K), 1 removed (4K), 3 changed (1M)`.
    var text: String {
        AnnotatedChange.Kind.allCases.map { kind in
            let (count, bytes) = changes[kind] ?? (0, 0)
            return "\(grouped(count)) \(kind.rawValue)" + (count == 0 ? "" : " (\(roundSize(bytes)))")
        }.joined(separator: ", ")
    }

    /// The counts as members.
    func members(into writer: inout JSONWriter) {
        for kind in AnnotatedChange.Kind.allCases {
            writer.member(kind.rawValue, changes[kind]?.count ?? 0)
            writer.member("\(kind.rawValue)Bytes", changes[kind]?.bytes ?? 0)
        }
    }
}

// `vitrine aliases`: every virtual address of a physical range.

import Addresses
import GuestMemory
import JSON
import Layouts
import PageTables

/// Finds and writes the aliases of a physical range.
///
/// - Returns: the report, and how many virtual addresses there are.
public func aliasesReport(
    of range: ClosedRange<GPA>, subject: Subject, form: ReportForm, isColoured: Bool = false
) -> (text: [UInt8], count: UInt64) {
    let (found, summary) = aliases(
        of: range, root: subject.root, format: subject.format, memory: subject.memory)
    switch form {
    case .text: return (aliasesText(found, range: range, subject: subject, isColoured: isColoured), found.count)
    case .json: return (aliasesJSON(found, summary: summary, range: range, subject: subject), found.count)
    case .csv: return (columns(subject).csv(found.aliases), found.count)
    }
}

/// The fields of a line.
private func columns(_ subject: Subject) -> Columns<Alias> {
    Columns(
        Column("va") { .address($0.va.rawValue) },
        Column("gpa") { .address($0.gpa.rawValue) },
        Column("size") { .unsigned($0.size) },
        Column("count") { .unsigned($0.count) },
        Column("stride") { .unsigned($0.stride) },
        Column("page") { .text(pageName($0.pageSize)) },
        Column("flags") { .text($0.flags.letters) },
        Column("region") { FieldValue(subject.layout?.region(of: $0.va)?.name) })
}

private func aliasesText(
    _ found: Aliases, range: ClosedRange<GPA>, subject: Subject, isColoured: Bool
) -> [UInt8] {
    var buffer = TextBuffer(isColoured: isColoured)
    let size = (range.upperBound &- range.lowerBound) &+ 1
    let slot = subject.slots.slot(containing: range.lowerBound)
    let hva = subject.hva(of: range.lowerBound).map { ", HVA \($0.hex)" } ?? ""
    let place = slot.map { "slot \($0.id) \($0.name)\(hva)" } ?? "no slot"
    buffer.line(
        "\(subject.name): GPA \(range.lowerBound.hex), \(formatSize(size)), \(place), \(subject.moment)", .heading)
    if found.aliases.isEmpty {
        buffer.line("no virtual address reaches it")
    } else {
        buffer.line("virtual address     physical                size  page  flags    region", .heading)
    }
    for alias in found.aliases {
        buffer.hex(alias.va.rawValue, digits: 16)
        buffer.tab(to: 20)
        buffer.hex(alias.gpa.rawValue)
        buffer.right(formatSize(alias.size), to: 48)
        buffer.right(pageName(alias.pageSize), to: 54)
        buffer.tab(to: 56)
        buffer.flags(alias.flags)
        buffer.tab(to: 65)
        buffer.add(subject.layout?.region(of: alias.va)?.name ?? "-")
        if alias.count > 1 { buffer.add(" \(grouped(alias.count)) times, every \(formatSize(alias.stride))") }
        buffer.newline()
    }
    buffer.line(
        counted(found.count, "virtual address", "virtual addresses") + (found.isTruncated ? ", and more" : ""))
    return buffer.take()
}

private func aliasesJSON(
    _ found: Aliases, summary: WalkSummary, range: ClosedRange<GPA>, subject: Subject
) -> [UInt8] {
    var writer = JSONWriter()
    writer.object { writer in
        subject.members(schema: "vitrine.aliases/1", into: &writer)
        writer.member("gpa", hex: range.lowerBound.rawValue)
        writer.member("size", (range.upperBound &- range.lowerBound) &+ 1)
        writer.member("hva", hex: subject.hva(of: range.lowerBound)?.rawValue)
        writer.member("count", found.count)
        writer.member("complete", !found.isTruncated)
        writer.key("aliases")
        writer.array { writer in
            let columns = columns(subject)
            for alias in found.aliases { columns.write(alias, into: &writer) }
        }
    }
    writer.newline()
    return writer.bytes
}

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
    of range: ClosedRange<GPA>, subject: Subject, form: ReportForm
) -> (text: [UInt8], count: UInt64) {
    let (found, summary) = subject.space.aliases(of: range, in: subject.memory)
    switch form {
    case .text: return (aliasesText(found, range: range, subject: subject), found.count)
    case .json: return (aliasesJSON(found, summary: summary, range: range, subject: subject), found.count)
    }
}

private func aliasesText(
    _ found: Aliases, range: ClosedRange<GPA>, subject: Subject
) -> [UInt8] {
    var buffer = TextBuffer()
    let size = (range.upperBound &- range.lowerBound) &+ 1
    let slot = subject.slots.slot(containing: range.lowerBound)
    let hva = subject.hva(of: range.lowerBound).map { ", HVA \($0.hex)" } ?? ""
    let place = slot.map { "slot \($0.id) \($0.name)\(hva)" } ?? "no slot"
    buffer.line("\(subject.name): GPA \(range.lowerBound.hex), \(formatSize(size)), \(place), \(subject.moment)")
    if found.aliases.isEmpty {
        buffer.line("no virtual address reaches it")
    } else {
        buffer.line("virtual address     physical                size  page  flags    region")
    }
    for alias in found.aliases {
        buffer.hex(alias.va.rawValue, digits: 16)
        buffer.tab(to: 20)
        buffer.hex(alias.gpa.rawValue)
        buffer.right(formatSize(alias.size), to: 48)
        buffer.right(pageName(alias.pageSize), to: 54)
        buffer.tab(to: 56)
        buffer.add(alias.flags.columns)
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
        writer.member("schema", "vitrine.aliases/1")
        writer.member("target", subject.name)
        writer.member("layout", subject.layout?.name)
        subject.writeRoots(into: &writer)
        writer.member("mode", subject.format.name)
        writer.member("moment", subject.moment)
        writer.member("gpa", hex: range.lowerBound.rawValue)
        writer.member("size", (range.upperBound &- range.lowerBound) &+ 1)
        writer.member("hva", hex: subject.hva(of: range.lowerBound)?.rawValue)
        writer.member("count", found.count)
        writer.member("complete", !found.isTruncated)
        writer.key("aliases")
        writer.array { writer in
            for alias in found.aliases {
                writer.object { writer in
                    writer.member("va", hex: alias.va.rawValue)
                    writer.member("gpa", hex: alias.gpa.rawValue)
                    writer.member("size", alias.size)
                    writer.member("count", alias.count)
                    writer.member("stride", alias.stride)
                    writer.member("page", pageName(alias.pageSize))
                    writer.member("flags", alias.flags.letters)
                    writer.member("region", subject.layout?.region(of: alias.va)?.name)
                }
            }
        }
    }
    writer.newline()
    return writer.bytes
}

// `vitrine aliases`: every virtual address of a physical range.

import Addresses
import GuestMemory
import JSON
import Layouts
import PageTables

/// Finds and writes the aliases of a physical range.
///
/// - Parameters:
///   - range: physical addresses; a page is `gpa...gpa + 4095`.
///   - limit: how many addresses JSON lists one by one at most.
/// - Returns: the report, and how many virtual addresses there are.
public func aliasesReport(
    of range: ClosedRange<GPA>, subject: Subject, form: ReportForm, limit: Int = 10_000
) -> (text: [UInt8], count: UInt64) {
    aliasesReport(of: [range], subject: subject, form: form, limit: limit)
}

/// Finds and writes the aliases of several physical ranges, by ascending address, none overlapping another.
public func aliasesReport(
    of ranges: [ClosedRange<GPA>], subject: Subject, form: ReportForm, limit: Int = 10_000
) -> (text: [UInt8], count: UInt64) {
    let (found, _) = aliases(of: ranges, root: subject.root, format: subject.format, memory: subject.memory)
    let groups = found.groups { subject.layout?.region(of: $0)?.name }
    switch form {
    case .text: return (aliasesText(found, groups, ranges: ranges, subject: subject), found.count)
    case .json: return (aliasesJSON(found, groups, ranges: ranges, subject: subject, limit: limit), found.count)
    }
}

private func size(_ range: ClosedRange<GPA>) -> UInt64 { (range.upperBound &- range.lowerBound) &+ 1 }

private func aliasesText(
    _ found: Aliases, _ groups: [AliasGroup], ranges: [ClosedRange<GPA>], subject: Subject
) -> [UInt8] {
    var buffer = TextBuffer()
    if let range = ranges.first, ranges.count == 1 {
        let slot = subject.slots.slot(containing: range.lowerBound)
        let hva = subject.hva(of: range.lowerBound).map { ", HVA \($0.hex)" } ?? ""
        let place = slot.map { "slot \($0.id) \($0.name)\(hva)" } ?? "no slot"
        buffer.line(
            "\(subject.name): GPA \(range.lowerBound.hex), \(formatSize(size(range))), \(place), \(subject.moment)")
    } else {
        let bytes = ranges.reduce(0) { $0 &+ size($1) }
        buffer.line(
            "\(subject.name): \(counted(ranges.count, "physical range")), \(formatSize(bytes)), \(subject.moment)")
    }
    if groups.isEmpty {
        buffer.line("no virtual address reaches it")
    } else {
        buffer.add("virtual addresses")
        buffer.right("count", to: 46)
        buffer.tab(to: 48)
        buffer.add("physical")
        buffer.right("size", to: 66)
        buffer.right("page", to: 72)
        buffer.tab(to: 74)
        buffer.add("flags    region")
        buffer.newline()
    }
    for group in groups {
        buffer.add(group.pattern.description)
        buffer.right(grouped(group.pattern.count), to: 46)
        buffer.tab(to: 48)
        buffer.hex(group.gpa.rawValue)
        buffer.right(formatSize(group.size), to: 66)
        buffer.right(pageName(group.pageSize), to: 72)
        buffer.tab(to: 74)
        buffer.add(group.flags.columns)
        buffer.tab(to: 83)
        buffer.add(group.regionText)
        buffer.newline()
    }
    buffer.line(
        counted(found.count, "virtual address", "virtual addresses")
            + (UInt64(groups.count) < found.count ? " in \(counted(groups.count, "line"))" : "")
            + (found.isTruncated ? ", and more" : ""))
    return buffer.take()
}

private func aliasesJSON(
    _ found: Aliases, _ groups: [AliasGroup], ranges: [ClosedRange<GPA>], subject: Subject, limit: Int
) -> [UInt8] {
    var writer = JSONWriter()
    writer.object { writer in
        writer.member("schema", "vitrine.aliases/1")
        writer.member("target", subject.name)
        writer.member("layout", subject.layout?.name)
        writer.member("root", hex: subject.root.rawValue)
        writer.member("mode", subject.format.name)
        writer.member("moment", subject.moment)
        writer.member("gpa", hex: ranges.first?.lowerBound.rawValue)
        writer.member("size", ranges.reduce(0) { $0 &+ size($1) })
        writer.member("hva", hex: ranges.first.flatMap { subject.hva(of: $0.lowerBound) }?.rawValue)
        if ranges.count > 1 { writer.member("ranges", ranges.count) }
        writer.member("count", found.count)
        writer.member("complete", !found.isTruncated)
        writer.key("groups")
        var left = limit
        writer.array { writer in
            for group in groups { group.write(into: &writer, listing: &left) }
        }
        writer.member("listed", limit - left)
        writer.key("aliases")
        writer.array { writer in
            for alias in found.aliases.prefix(limit) {
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

extension AliasGroup {
    /// The group, with every address as long as `left` are to be listed.
    fileprivate func write(into writer: inout JSONWriter, listing left: inout Int) {
        writer.beginObject()
        writer.member("pattern", pattern.description)
        writer.member("count", pattern.count)
        writer.member("gpa", hex: gpa.rawValue)
        writer.member("size", size)
        writer.member("page", pageName(pageSize))
        writer.member("flags", flags.letters)
        writer.key("regions")
        writer.array { writer in for name in regions { writer.value(name) } }
        writer.key("addresses")
        writer.beginArray()
        if left > 0 {
            pattern.forEach { address in
                writer.value(address.hex)
                left -= 1
                return left > 0
            }
        }
        writer.endArray()
        writer.endObject()
    }
}

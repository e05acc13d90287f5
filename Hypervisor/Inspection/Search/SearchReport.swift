// How what a search found is written.

import Addresses
import JSON
import PageTables

/// The matches as text.
///
/// - Parameter seconds: how long the search took.
public func searchText(
    _ result: SearchResult, subject: Subject, seconds: Double, isColoured: Bool = false
) -> [UInt8] {
    var buffer = TextBuffer(isColoured: isColoured)
    buffer.line(subject.heading, .heading)
    if !result.matches.isEmpty {
        buffer.line("virtual address     physical       seen at  flags    region        bytes", .heading)
    }
    for match in result.matches {
        buffer.hex(match.va.rawValue, digits: 16)
        buffer.tab(to: 20)
        buffer.hex(match.gpa.rawValue)
        buffer.right(grouped(match.count), to: 42)
        buffer.tab(to: 44)
        buffer.flags(match.flags)
        buffer.tab(to: 53)
        buffer.add(match.region ?? "-")
        buffer.tab(to: 67)
        for byte in match.bytes.prefix(16) {
            buffer.add((byte < 16 ? "0" : "") + String(byte, radix: 16) + " ")
        }
        buffer.tab(to: 67 + 48)
        buffer.add("|" + printable(match.bytes.prefix(16)) + "|")
        buffer.newline()
    }
    let more =
        UInt64(result.matches.count) < result.count ? ", \(grouped(result.matches.count)) of them shown (--limit)" : ""
    var speed = ""
    if seconds > 0.001 { speed = ", \(tenths(Double(result.bytes) / seconds / 1e9)) GB/s" }
    buffer.line(
        "\(counted(result.count, "match", "matches"))\(more); \(roundSize(result.bytes)) behind "
            + "\(counted(result.ranges, "range")) in \(tenths(seconds * 1000)) ms\(speed)")
    if result.repetitions > 0 {
        buffer.line(
            "\(counted(result.repetitions, "mapping repeats", "mappings repeat")) a table: searched once, not counted in "
                + "'seen at'")
    }
    return buffer.take()
}

/// The matches as JSON (`vitrine.search/1`).
public func searchJSON(_ result: SearchResult, subject: Subject, pattern: SearchPattern) -> [UInt8] {
    var writer = JSONWriter()
    writer.object { writer in
        subject.members(schema: "vitrine.search/1", into: &writer)
        writer.member("pattern", hexadecimal(pattern.values))
        writer.member("mask", hexadecimal(pattern.masks))
        writer.member("count", result.count)
        writer.member("bytes", result.bytes)
        writer.member("complete", result.count == UInt64(result.matches.count))
        writer.key("matches")
        writer.array { writer in
            for match in result.matches { matchColumns.write(match, into: &writer) }
        }
    }
    writer.newline()
    return writer.bytes
}

/// The matches as CSV, a line each.
public func searchCSV(_ result: SearchResult) -> [UInt8] { matchColumns.csv(result.matches) }

/// The fields of a match.
private let matchColumns = Columns<SearchMatch>(
    Column("va") { .address($0.va.rawValue) },
    Column("gpa") { .address($0.gpa.rawValue) },
    Column("count") { .unsigned($0.count) },
    Column("flags") { .text($0.flags.letters) },
    Column("region") { FieldValue($0.region) },
    Column("bytes") { .text(hexadecimal($0.bytes)) })

/// Two digits a byte.
private func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.reduce(into: "") { $0 += ($1 < 16 ? "0" : "") + String($1, radix: 16) }
}

/// ASCII, with a dot for what cannot be printed.
private func printable(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes.map { $0 >= 0x20 && $0 < 0x7f ? $0 : UInt8(ascii: ".") }, as: UTF8.self)
}

/// A number with one decimal.
private func tenths(_ value: Double) -> String {
    guard value.isFinite, value >= 0, value < 1e15 else { return "?" }
    let scaled = UInt64((value * 10).rounded())
    return "\(grouped(scaled / 10)).\(scaled % 10)"
}

// `vitrine layouts`: the layouts as tables.

import Addresses
import JSON
import Layouts

/// Writes layouts as text: one in full, or a line each.
public func layoutsText(_ layouts: [Layout], inFull: Bool, isColoured: Bool = false) -> String {
    var buffer = TextBuffer(isColoured: isColoured)
    guard inFull else {
        for layout in layouts {
            buffer.add(layout.name, .heading)
            buffer.tab(to: 12)
            buffer.line(layout.summary)
        }
        return String(decoding: buffer.take(), as: UTF8.self)
    }
    for layout in layouts {
        buffer.line(layout.summary, .heading)
        buffer.line("from \(layout.source)")
        buffer.newline()
        buffer.line("virtual addresses                        size  mapping   region       purpose", .heading)
        for region in layout.regions {
            buffer.hex(region.first.rawValue, digits: 16)
            buffer.add("-")
            buffer.hex(region.last.rawValue, digits: 16)
            buffer.right(formatSize(region.size), to: 45)
            buffer.tab(to: 47)
            buffer.add(mappingName(region.mapping))
            buffer.tab(to: 57)
            buffer.add(region.name)
            buffer.tab(to: 70)
            buffer.line(region.purpose)
        }
        buffer.newline()
        for bit in layout.softwareBits {
            buffer.add(bit.name)
            buffer.tab(to: 16)
            buffer.line(bit.form)
        }
        for fact in layout.facts {
            buffer.add(fact.name)
            buffer.tab(to: 16)
            buffer.line(fact.value)
        }
    }
    return String(decoding: buffer.take(), as: UTF8.self)
}

private func mappingName(_ mapping: Region.Mapping) -> String {
    switch mapping {
    case .identity: return "VA = PA"
    case .linear: return "linear"
    case .paged: return "paged"
    }
}

/// Writes layouts as JSON, schema vitrine.layouts/1.
public func layoutsJSON(_ layouts: [Layout]) -> [UInt8] {
    var writer = JSONWriter()
    writer.object { writer in
        writer.member("schema", "vitrine.layouts/1")
        writer.key("layouts")
        writer.array { writer in
            for layout in layouts {
                writer.object { writer in
                    writer.member("name", layout.name)
                    writer.member("summary", layout.summary)
                    writer.member("source", layout.source)
                    writer.key("regions")
                    writer.array { writer in
                        for region in layout.regions { regionColumns.write(region, into: &writer) }
                    }
                    writer.key("softwareBits")
                    writer.array { writer in
                        for bit in layout.softwareBits {
                            writer.object { writer in
                                writer.member("name", bit.name)
                                writer.member("mask", hex: bit.mask)
                                writer.member("value", hex: bit.value)
                                writer.member("form", bit.form)
                            }
                        }
                    }
                    writer.key("facts")
                    writer.object { writer in
                        for fact in layout.facts { writer.member(fact.name, fact.value) }
                    }
                }
            }
        }
    }
    writer.newline()
    return writer.bytes
}

/// Writes the regions of layouts as CSV, a line each.
public func layoutsCSV(_ layouts: [Layout]) -> [UInt8] {
    var writer = CSVWriter(header: ["layout"] + regionColumns.names)
    for layout in layouts {
        for region in layout.regions {
            writer.field(layout.name)
            regionColumns.fields(of: region, into: &writer)
            writer.endRecord()
        }
    }
    return writer.take()
}

/// The fields of a region.
private let regionColumns = Columns<Region>(
    Column("name") { .text($0.name) },
    Column("va") { .address($0.first.rawValue) },
    Column("size") { .unsigned($0.size) },
    Column("mapping") { .text(mappingName($0.mapping)) },
    Column("purpose") { .text($0.purpose) })

// The contents of the picture for programs: JSON, schema vitrine.map/1, and CSV.

import Addresses
import GuestMemory
import JSON
import Layouts
import PageTables
import SecondStage

/// The three rows and what leads where, as JSON.
public func mapJSON(_ subject: Subject, pid: Int32, backing: BackingPages? = nil) -> [UInt8] {
    let contents = MapContents(subject)
    let columns = MapColumns(subject, contents, backing: backing)
    var writer = JSONWriter()
    writer.object { writer in
        subject.members(schema: "vitrine.map/1", into: &writer)
        writer.member("pid", pid)
        writer.key("virtual")
        writer.array { writer in for region in contents.regions { columns.regions.write(region, into: &writer) } }
        writer.key("physical")
        writer.array { writer in for piece in contents.pieces { columns.pieces.write(piece, into: &writer) } }
        writer.key("host")
        writer.array { writer in for slot in subject.slots.slots { columns.slots.write(slot, into: &writer) } }
    }
    writer.newline()
    return writer.bytes
}

/// The three rows as CSV: the boxes of one after those of the other, in the union of their columns.
public func mapCSV(_ subject: Subject, backing: BackingPages? = nil) -> [UInt8] {
    let contents = MapContents(subject)
    let columns = MapColumns(subject, contents, backing: backing)
    let names = [
        "name", "va", "gpa", "hva", "size", "mapped", "ranges", "physical", "slot", "present", "swapped", "lowestHPA",
        "highestHPA",
    ]
    var writer = CSVWriter(header: ["row", "number"] + names)
    func add<Row>(_ row: String, _ boxes: [Row], _ columns: Columns<Row>) {
        for (number, box) in boxes.enumerated() {
            writer.field(row)
            writer.field(number)
            for name in names {
                writer.field(columns.columns.first { $0.name == name }?.value(box) ?? .absent)
            }
            writer.endRecord()
        }
    }
    add("virtual", contents.regions, columns.regions)
    add("physical", contents.pieces, columns.pieces)
    add("host", subject.slots.slots, columns.slots)
    return writer.take()
}

/// The fields of the boxes.
private struct MapColumns {
    let regions: Columns<MapRegion>
    let pieces: Columns<MapPiece>
    let slots: Columns<MemorySlot>

    init(_ subject: Subject, _ contents: MapContents, backing: BackingPages?) {
        let host = backing.map(HostPages.bySlot)
        let hasHostAddresses = subject.hasHostAddresses
        regions = Columns(
            Column("name") { .text($0.name) },
            Column("va") { .address($0.first.rawValue) },
            Column("size") { .unsigned(($0.last &- $0.first) &+ 1) },
            Column("mapped") { .unsigned($0.mapped) },
            Column("ranges") { FieldValue($0.ranges.count) },
            Column("physical") { .numbers(contents.targets(of: $0)) })
        pieces = Columns(
            Column("name") { .text($0.name) },
            Column("gpa") { .address($0.first.rawValue) },
            Column("size") { .unsigned($0.size) },
            Column("slot") { $0.slot.map { .number(Int64($0.id)) } ?? .null })
        @Sendable func pages(_ slot: MemorySlot, _ value: (HostPages) -> FieldValue) -> FieldValue {
            host.map { value($0[slot.id] ?? HostPages()) } ?? .absent
        }
        slots = Columns(
            Column("slot") { .number(Int64($0.id)) },
            Column("name") { .text($0.name) },
            Column("gpa") { .address($0.guestPhysicalAddress.rawValue) },
            Column("size") { .unsigned($0.size) },
            Column("hva") { FieldValue(address: hasHostAddresses ? $0.userspaceAddress.rawValue : nil) },
            Column("present") { pages($0) { .unsigned($0.present) } },
            Column("swapped") { pages($0) { .unsigned($0.swapped) } },
            Column("lowestHPA") { pages($0) { FieldValue(address: $0.lowest?.rawValue) } },
            Column("highestHPA") { pages($0) { FieldValue(address: $0.highest?.rawValue) } })
    }
}

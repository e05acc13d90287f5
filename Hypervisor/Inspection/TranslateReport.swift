// `vitrine translate`: the whole way of an address, entry by entry.

import Addresses
import GuestMemory
import JSON
import Layouts
import PageTables
import SecondStage

/// An address with everything that is behind it.
public struct AddressWay: Sendable {
    /// The walk through the guest's tables.
    public let translation: Translation
    /// The format of the tables that translate the address.
    public let format: PageTableFormat
    /// The page, also where reserved bits make accesses fault.
    public let mapping: PageMapping?
    /// The layout's name for the address.
    public let region: String?
    /// What the leaf's software bits mean in the layout.
    public let meaning: String?
    /// The slot that holds the physical address.
    public let slot: MemorySlot?
    /// The host virtual address, in the process that runs the guest.
    public let hva: HVA?
    /// What the host has there; nil if it does not say.
    public let frame: HostFrame?
    /// What is behind the physical address.
    public let backing: Backing
    /// The entries of KVM's own tables between the guest physical address and the host's; nil if they were not read.
    public var secondStage: SecondStageWay?

    /// Follows an address to its end.
    ///
    /// - Parameter pageMap: of the process that runs the guest; nil if it may not be read.
    public init(
        _ address: GVA, in subject: Subject, pageMap: borrowing PageMap?
    ) {
        translation = subject.translate(address)
        format = subject.space.region(of: address).format
        var mapping = translation.mapping
        if case .reservedBits(_, _, let reserved) = translation.result { mapping = reserved }
        self.mapping = mapping
        region = subject.layout?.region(of: address)?.name
        let last = translation.entries.last?.value ?? 0
        meaning = subject.layout?.meaning(of: last)?.name
        slot = mapping.flatMap { subject.slots.slot(containing: $0.gpa) }
        hva = mapping.flatMap { subject.hva(of: $0.gpa) }
        backing = mapping.map { subject.slots.backing(of: $0.gpa).0 } ?? .absent
        if let hva, let frame = pageMap?.frame(of: hva) { self.frame = frame } else { frame = nil }
    }

    /// One word for the result: `mapped`, `not-mapped`, `reserved-bits`, `table-outside-ram`, `non-canonical`.
    public var status: String {
        switch translation.result {
        case .mapped: return "mapped"
        case .notMapped: return "not-mapped"
        case .reservedBits: return "reserved-bits"
        case .tableOutsideRAM: return "table-outside-ram"
        case .nonCanonical: return "non-canonical"
        }
    }

    /// Why the address leads nowhere, naming the level; nil if it leads somewhere.
    public var problem: String? {
        switch translation.result {
        case .mapped: return nil
        case .notMapped(let level, let value):
            let held = value == 0 ? "is empty" : "holds \(GPA(value).hex)"
            let name = meaning.map { ", which means \($0)" } ?? ""
            return "not mapped: the \(format.tableName(level: level)) entry (level \(level)) \(held)\(name)"
        case .reservedBits(let level, let bits, _):
            let name = meaning.map { " (\($0))" } ?? ""
            return "faults: reserved bits \(GPA(bits).hex) are set in the \(format.tableName(level: level)) entry "
                + "(level \(level))\(name)"
        case .tableOutsideRAM(let level, let at):
            return "the \(format.tableName(level: level)) (level \(level)) at GPA \(at.hex) is not in RAM"
        case .nonCanonical:
            return format.signExtended
                ? "not canonical: bits 63 to \(format.virtualBits - 1) of an address must be equal"
                : "no address of these tables: it has more than \(format.virtualBits) bits"
        }
    }
}

/// Writes the ways of addresses as text: a ladder each.
public func translateText(_ ways: [AddressWay], subject: Subject, pid: Int32, isColoured: Bool = false) -> String {
    var buffer = TextBuffer(isColoured: isColoured)
    buffer.line(subject.heading, .heading)
    for way in ways {
        buffer.newline()
        ladder(way, subject: subject, pid: pid, into: &buffer)
    }
    return String(decoding: buffer.take(), as: UTF8.self)
}

private func ladder(
    _ way: AddressWay, subject: Subject, pid: Int32, into buffer: inout TextBuffer
) {
    let format = way.format
    let address = way.translation.va
    /// A rung: what it is, its value, and a remark. The four kinds of address stand out.
    func rung(_ name: String, _ value: String, _ remark: String) {
        buffer.add("  \(name)", ["GPA", "HVA", "HPA"].contains(name) ? .heading : nil)
        buffer.tab(to: 14)
        buffer.add(value)
        if !remark.isEmpty {
            buffer.tab(to: 35)
            buffer.add(remark)
        }
        buffer.newline()
    }
    buffer.add("VA", .heading)
    buffer.tab(to: 14)
    buffer.add(address.hex)
    if let region = way.region {
        buffer.tab(to: 35)
        buffer.add(region)
    }
    buffer.newline()
    for entry in way.translation.entries {
        let isLast = entry.at == way.translation.entries.last?.at && entry.level == way.translation.entries.last?.level
        let isLeaf = isLast && way.mapping != nil
        let bits = format.names(of: entry.value, level: entry.level, isLeaf: isLeaf).joined(separator: " ")
        rung(
            "\(format.tableName(level: entry.level))[\(format.index(of: address, level: entry.level))]",
            GPA(entry.value).hex,
            "at \(entry.at.hex)" + (bits.isEmpty ? "" : "  \(bits)"))
    }
    if let mapping = way.mapping {
        let kind = way.backing == .ram ? "" : ", \(way.backing.rawValue)"
        rung("GPA", mapping.gpa.hex, "in a \(pageName(mapping.pageSize)) page, \(mapping.flags.columns)\(kind)")
    }
    if let slot = way.slot, let mapping = way.mapping {
        rung(
            "slot \(slot.id)", slot.name,
            "GPA \(slot.guestPhysicalAddress.hex) + \(GPA(mapping.gpa &- slot.guestPhysicalAddress).hex)")
    }
    if let hva = way.hva {
        rung("HVA", hva.hex, "in process \(pid)")
        if let second = way.secondStage {
            let format = second.format.rawValue
            for step in second.steps {
                rung(
                    "\(format) \(step.level)[\(step.index)]", GPA(step.value).hex,
                    "at HPA \(step.at.hex)  \(step.meaning.text)")
            }
            rung(
                "KVM's HPA", second.hpa?.hex ?? "none",
                second.hpa == nil ? "no vCPU has touched it since it was last unmapped" : "")
        }
        switch way.frame {
        case .present(let hpa): rung("HPA", hpa.hex, "")
        case .absent: rung("HPA", "none", "the host has no frame there yet")
        case .swapped: rung("HPA", "none", "swapped out")
        case .hidden, nil: rung("HPA", "unknown", "frame numbers are for root")
        }
    }
    if let problem = way.problem { buffer.line("  \(problem)", .bad) }
}

/// Writes the ways of addresses as JSON, schema vitrine.translate/1.
public func translateJSON(_ ways: [AddressWay], subject: Subject, pid: Int32) -> [UInt8] {
    var writer = JSONWriter()
    writer.object { writer in
        subject.members(schema: "vitrine.translate/1", into: &writer)
        writer.member("pid", pid)
        writer.key("translations")
        writer.array { writer in
            for way in ways { translation(way, into: &writer) }
        }
    }
    writer.newline()
    return writer.bytes
}

/// Writes the ways of addresses as CSV: a line each.
public func translateCSV(_ ways: [AddressWay], subject: Subject) -> [UInt8] {
    let (start, end) = columns()
    var writer = CSVWriter(header: start.names + ["entries"] + end.names)
    for way in ways {
        start.fields(of: way, into: &writer)
        // Level, place and value of each entry: what stands in the JSON's array, in one field.
        writer.field(
            .texts(way.translation.entries.map { "\($0.level):\($0.at.hex)=\(GPA($0.value).hex)" }))
        end.fields(of: way, into: &writer)
        writer.endRecord()
    }
    return writer.take()
}

/// The fields of an address before and after its entries.
private func columns() -> (Columns<AddressWay>, Columns<AddressWay>) {
    let start = Columns<AddressWay>(
        Column("va") { .address($0.translation.va.rawValue) },
        Column("status") { .text($0.status) },
        Column("region") { FieldValue($0.region) })
    let end = Columns<AddressWay>(
        Column("gpa") { $0.mapping.map { .address($0.gpa.rawValue) } ?? .absent },
        Column("page") { $0.mapping.map { .text(pageName($0.pageSize)) } ?? .absent },
        Column("flags") { $0.mapping.map { .text($0.flags.letters) } ?? .absent },
        Column("kind") { $0.mapping == nil ? .absent : .text($0.backing.rawValue) },
        Column("slot") { $0.slot.map { .number(Int64($0.id)) } ?? .absent },
        Column("slotName") { $0.slot.map { .text($0.name) } ?? .absent },
        Column("hva") { $0.hva.map { .address($0.rawValue) } ?? .absent },
        Column("hpa") { way in
            if case .present(let hpa)? = way.frame { return .address(hpa.rawValue) }
            return .absent
        },
        Column("meaning") { $0.meaning.map { .text($0) } ?? .absent },
        Column("problem") { $0.problem.map { .text($0) } ?? .absent })
    return (start, end)
}

private func translation(_ way: AddressWay, into writer: inout JSONWriter) {
    let format = way.format
    let entries = way.translation.entries
    let (start, end) = columns()
    writer.object { writer in
        start.members(of: way, into: &writer)
        writer.key("entries")
        writer.array { writer in
            for (number, entry) in entries.enumerated() {
                writer.object { writer in
                    writer.member("level", entry.level)
                    writer.member("table", format.tableName(level: entry.level))
                    writer.member("index", format.index(of: way.translation.va, level: entry.level))
                    writer.member("at", hex: entry.at.rawValue)
                    writer.member("value", hex: entry.value)
                    writer.key("bits")
                    let isLeaf = number == entries.count - 1 && way.mapping != nil
                    writer.value(.texts(format.names(of: entry.value, level: entry.level, isLeaf: isLeaf)))
                }
            }
        }
        end.members(of: way, into: &writer)
        if let second = way.secondStage { secondStage(second, into: &writer) }
    }
}

private func secondStage(_ way: SecondStageWay, into writer: inout JSONWriter) {
    writer.key("secondStage")
    writer.object { writer in
        writer.member("format", way.format.rawValue)
        writer.key("entries")
        writer.array { writer in
            for step in way.steps {
                writer.object { writer in
                    writer.member("level", step.level)
                    writer.member("index", step.index)
                    writer.member("at", hex: step.at.rawValue)
                    writer.member("value", hex: step.value)
                    writer.member("meaning", step.meaning.text)
                }
            }
        }
        writer.member("hpa", hex: way.hpa?.rawValue)
    }
}

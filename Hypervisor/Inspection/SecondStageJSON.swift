// `vitrine ept` as JSON, schema vitrine.ept/1, and as CSV.

import Addresses
import GuestMemory
import JSON
import SecondStage

extension SecondStageReport {
    /// Writes the report for programs.
    ///
    /// - Parameter withMappings: whether every mapping is listed.
    public func writeJSON(
        withMappings: Bool, range: ClosedRange<GPA>? = nil, emit: ([UInt8]) throws -> Void
    ) throws {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("schema", "vitrine.ept/1")
        writer.member("target", name)
        writer.member("pid", pid)
        writer.member("source", source.rawValue)
        writer.member("format", format)
        writer.member("moment", "live")
        slotsJSON(into: &writer)
        if let kernel { kernelJSON(kernel, into: &writer) }
        if let backing {
            writer.member("framesVisible", backing.seesFrames)
            writer.member("pageSizesKnown", backing.seesPageSizes)
        }
        if let check { checkJSON(check, into: &writer) }
        if withMappings {
            writer.key("mappings")
            writer.beginArray()
            try eachRun(in: range) { run in
                SecondStageReport.mappingColumns.write(run, into: &writer)
                if writer.bytes.count > 1 << 16 { try emit(writer.take()) }
            }
            writer.endArray()
        }
        writer.endObject()
        writer.newline()
        try emit(writer.take())
    }

    /// Writes the mappings, or the slots with what is mapped of each, as CSV.
    public func writeCSV(
        withMappings: Bool, range: ClosedRange<GPA>? = nil, emit: ([UInt8]) throws -> Void
    ) throws {
        guard withMappings else {
            try emit(slotColumns.csv(summary.slots))
            return
        }
        var writer = CSVWriter(header: SecondStageReport.mappingColumns.names)
        try eachRun(in: range) { run in
            SecondStageReport.mappingColumns.write(run, into: &writer)
            if writer.bytes.count > 1 << 16 { try emit(writer.take()) }
        }
        try emit(writer.take())
    }

    /// The fields of a mapping.
    private static let mappingColumns = Columns<SecondStageRun>(
        Column("gpa") { .address($0.gpa.rawValue) },
        Column("va") { $0.va.map { .address($0.rawValue) } ?? .absent },
        Column("size") { .unsigned($0.size) },
        Column("hva") { FieldValue(address: $0.hva?.rawValue) },
        Column("hpa") { FieldValue(address: $0.hpa?.rawValue) },
        Column("page") { .text(pageName($0.page)) },
        Column("flags") { .text($0.flags) },
        Column("slot") { $0.slot.map { .number(Int64($0)) } ?? .null },
        Column("root") { $0.root.map { FieldValue($0) } ?? .absent },
        Column("memoryType") { $0.memory.map { .text($0.text) } ?? .absent })

    /// The fields of a slot.
    private var slotColumns: Columns<SlotSummary> {
        let hasKernel = kernel != nil
        let hasBacking = backing != nil
        return Columns(
            Column("slot") { .number(Int64($0.slot.id)) },
            Column("name") { .text($0.slot.name) },
            Column("gpa") { .address($0.slot.guestPhysicalAddress.rawValue) },
            Column("size") { .unsigned($0.slot.size) },
            Column("hva") { .address($0.slot.userspaceAddress.rawValue) },
            Column("dirtyLogging") { hasKernel ? .flag($0.logsDirtyPages) : .absent },
            Column("mapped") { hasKernel ? .unsigned($0.mapped) : .absent },
            Column("present") { hasBacking ? .unsigned($0.present) : .absent },
            Column("swapped") { hasBacking ? .unsigned($0.swapped) : .absent },
            Column("processOnly") { hasKernel && hasBacking ? .unsigned($0.processOnly) : .absent })
    }

    private func slotsJSON(into writer: inout JSONWriter) {
        writer.key("slots")
        writer.array { writer in
            let columns = slotColumns
            for slot in summary.slots {
                writer.object { writer in
                    columns.members(of: slot, into: &writer)
                    if kernel != nil {
                        leaves("leaves", slot.leaves, into: &writer)
                        writer.key("splits")
                        writer.object { writer in
                            for reason in SplitReason.allCases {
                                if let count = slot.splits[reason] { writer.member(reason.rawValue, count) }
                            }
                        }
                    }
                }
            }
        }
    }

    private func leaves(_ name: String, _ counts: LeafCounts, into writer: inout JSONWriter) {
        writer.key(name)
        writer.object { writer in
            writer.member("4K", counts.pages4K)
            writer.member("2M", counts.pages2M)
            writer.member("1G", counts.pages1G)
        }
    }

    private func kernelJSON(_ kernel: KernelTables, into writer: inout JSONWriter) {
        writer.key("roots")
        writer.array { writer in
            for root in kernel.roots {
                writer.object { writer in
                    writer.member("hpa", hex: root.hpa?.rawValue)
                    writer.member("level", root.level)
                    writer.member("use", root.use.rawValue)
                    writer.key("vcpus")
                    writer.array { writer in for vcpu in root.vcpus { writer.value(vcpu) } }
                    if let table = root.guestTable { writer.member("cr3", hex: table) }
                    writer.member("invalid", root.isInvalid)
                    writer.member("nestedGuest", root.isNestedGuest)
                    writer.member("systemManagement", root.isSystemManagement)
                }
            }
        }
        writer.member("tables", kernel.tables.count)
        leaves("leaves", kernel.leaves, into: &writer)
        if let statistics = kernel.statistics.last { leaves("statistics", statistics, into: &writer) }
        writer.member("mmioEntries", kernel.mmioEntries)
        writer.member("removedEntries", kernel.removedEntries)
        writer.member("vanishedTables", kernel.vanishedTables)
    }

    private func checkJSON(_ check: CrossCheck, into writer: inout JSONWriter) {
        writer.key("check")
        writer.object { writer in
            writer.member("passed", passed)
            writer.member("leaves", check.leaves)
            writer.member("pages", check.pages)
            writer.member("settled", check.settled)
            writer.member("awaitingFlush", check.awaitingFlush)
            writer.member("skipped", check.skipped)
            leaves("counted", check.counted, into: &writer)
            if let statistics = check.statistics { leaves("statistics", statistics, into: &writer) }
            writer.member("countsAgree", check.countsAgree)
            writer.key("slotDifferences")
            writer.array { writer in for difference in slotDifferences { writer.value(difference) } }
            writer.key("disagreements")
            writer.array { writer in
                for difference in check.disagreements {
                    writer.object { writer in
                        if kernel?.format == .shadow {
                            writer.member("va", hex: (difference.mapping.va &+ difference.offset).rawValue)
                        }
                        writer.member(
                            "gpa", hex: (difference.gpa ?? difference.mapping.gpa &+ difference.offset).rawValue)
                        writer.member("kernel", hex: difference.kernel.rawValue)
                        writer.member("computed", hex: difference.computed?.rawValue)
                        writer.member("reason", difference.reason)
                    }
                }
            }
        }
    }
}

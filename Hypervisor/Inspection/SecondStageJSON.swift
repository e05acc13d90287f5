// `vitrine ept` as JSON, schema vitrine.ept/1.

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
                writer.beginObject()
                writer.member("gpa", hex: run.gpa.rawValue)
                if let va = run.va { writer.member("va", hex: va.rawValue) }
                writer.member("size", run.size)
                writer.member("hva", hex: run.hva?.rawValue)
                writer.member("hpa", hex: run.hpa?.rawValue)
                writer.member("page", pageName(run.page))
                writer.member("flags", run.flags)
                writer.key("slot")
                if let slot = run.slot { writer.value(slot) } else { writer.null() }
                if let root = run.root { writer.member("root", root) }
                if let memory = run.memory { writer.member("memoryType", memory.text) }
                writer.endObject()
                if writer.bytes.count > 1 << 16 { try emit(writer.take()) }
            }
            writer.endArray()
        }
        writer.endObject()
        writer.newline()
        try emit(writer.take())
    }

    private func slotsJSON(into writer: inout JSONWriter) {
        writer.key("slots")
        writer.array { writer in
            for slot in summary.slots {
                writer.object { writer in
                    writer.member("slot", slot.slot.id)
                    writer.member("name", slot.slot.name)
                    writer.member("gpa", hex: slot.slot.guestPhysicalAddress.rawValue)
                    writer.member("size", slot.slot.size)
                    writer.member("hva", hex: slot.slot.userspaceAddress.rawValue)
                    if kernel != nil {
                        writer.member("dirtyLogging", slot.logsDirtyPages)
                        writer.member("mapped", slot.mapped)
                        leaves("leaves", slot.leaves, into: &writer)
                        writer.key("splits")
                        writer.object { writer in
                            for reason in SplitReason.allCases {
                                if let count = slot.splits[reason] { writer.member(reason.rawValue, count) }
                            }
                        }
                    }
                    if backing != nil {
                        writer.member("present", slot.present)
                        writer.member("swapped", slot.swapped)
                        if kernel != nil { writer.member("processOnly", slot.processOnly) }
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

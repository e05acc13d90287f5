// `vitrine ept`: the second stage of a guest, as text; SecondStageJSON has the other forms.

import Addresses
import GuestMemory
import JSON
import SecondStage

/// Where the second stage is read.
public enum SecondStageSource: String, Sendable, CaseIterable {
    /// Slots and the process's page tables.
    case computed
    /// KVM's own tables.
    case kernel
    /// Both, compared.
    case both
}

/// What was read of the second stage.
public struct SecondStageReport: Sendable {
    /// What the user called the target.
    public let name: String
    /// The process.
    public let pid: Int32
    /// Where it was read.
    public let source: SecondStageSource
    /// The slots, with names.
    public let slots: SlotTable
    /// KVM's tables.
    public let kernel: KernelTables?
    /// What the process has.
    public let backing: BackingPages?
    /// The comparison.
    public let check: CrossCheck?
    /// Slots that the target and KVM do not agree on, in words.
    public let slotDifferences: [String]
    /// What is mapped.
    public let summary: SecondStageSummary

    /// A report.
    public init(
        name: String, pid: Int32, source: SecondStageSource, slots: SlotTable, kernelSlots: [KernelSlot] = [],
        kernel: KernelTables?, backing: BackingPages?, check: CrossCheck?, slotDifferences: [String] = []
    ) {
        self.name = name
        self.pid = pid
        self.source = source
        self.slots = slots
        self.kernel = kernel
        self.backing = backing
        self.check = check
        self.slotDifferences = slotDifferences
        summary = SecondStageSummary(slots, kernel: kernel, kernelSlots: kernelSlots, backing: backing)
    }

    /// Whether nothing disagrees.
    public var passed: Bool { (check?.passed ?? true) && slotDifferences.isEmpty }

    /// `npt`, `ept`, `shadow`, or `computed`.
    var format: String { kernel?.format.rawValue ?? "computed" }

    /// Calls `body` with each run that is wanted; returns how many there were.
    func eachRun(in range: ClosedRange<GPA>?, _ body: (SecondStageRun) throws -> Void) rethrows {
        func wanted(_ run: SecondStageRun) -> Bool {
            guard let range else { return true }
            return run.gpa <= range.upperBound && run.gpa &+ (run.size &- 1) >= range.lowerBound
        }
        if let kernel {
            try forEachRun(kernel, slots: slots) { if wanted($0) { try body($0) } }
        } else if let backing {
            try forEachRun(backing) { if wanted($0) { try body($0) } }
        }
    }
}

extension SecondStageReport {
    /// Writes the report for people.
    ///
    /// - Parameters:
    ///   - limit: how many mappings are listed; the rest is counted.
    ///   - emit: takes the text, piece by piece.
    public func writeText(
        limit: Int, range: ClosedRange<GPA>? = nil, isColoured: Bool = false, emit: ([UInt8]) throws -> Void
    ) throws {
        var buffer = TextBuffer(isColoured: isColoured)
        let how = kernel.map { "\($0.format.rawValue) tables of the kernel" } ?? "slots and page tables of the process"
        buffer.line("\(name): \(how), process \(pid), live", .heading)
        if let kernel { roots(kernel, into: &buffer) }
        summaryText(into: &buffer)
        if let check { checkText(check, into: &buffer) }
        for difference in slotDifferences { buffer.line("  DIFFERS: \(difference)", .bad) }
        try emit(buffer.take())
        try mappingsText(limit: limit, range: range, into: &buffer, emit: emit)
        try emit(buffer.take())
    }

    private func roots(_ kernel: KernelTables, into buffer: inout TextBuffer) {
        for (number, root) in kernel.roots.enumerated() {
            var words: [String] = ["root \(number)", "at HPA \(root.hpa?.hex ?? "unknown")", "level \(root.level)"]
            if let table = root.guestTable { words.append("for CR3 \(GPA(table).hex)") }
            switch root.use {
            case .current: words.append("vCPU " + root.vcpus.map(String.init).joined(separator: ","))
            case .previous: words.append("used before by vCPU " + root.vcpus.map(String.init).joined(separator: ","))
            case .kept: words.append("no vCPU uses it")
            }
            if root.isInvalid { words.append("INVALID: left from before the slots changed") }
            if root.isSystemManagement { words.append("system management mode") }
            if root.isNestedGuest { words.append("guest of the guest") }
            buffer.line("  " + words.joined(separator: ", "))
        }
        if kernel.roots.isEmpty { buffer.line("  no root: no vCPU has run since the slots last changed") }
        var words = [
            counted(kernel.tables.count, "table"),
            "leaves 4K \(grouped(kernel.leaves.pages4K)), 2M "
                + "\(grouped(kernel.leaves.pages2M)), 1G \(grouped(kernel.leaves.pages1G))",
        ]
        if kernel.mmioEntries > 0 { words.append("MMIO \(grouped(kernel.mmioEntries))") }
        if kernel.removedEntries > 0 { words.append("being changed \(kernel.removedEntries)") }
        if kernel.vanishedTables > 0 { words.append("given up while read: \(counted(kernel.vanishedTables, "table"))") }
        buffer.line("  " + words.joined(separator: ", "))
    }

    private func summaryText(into buffer: inout TextBuffer) {
        buffer.newline()
        buffer.begin(.heading)
        buffer.add("slot")
        for (title, column) in [("GPA", 30), ("size", 38), ("mapped", 48), ("present", 58), ("process only", 72)] {
            buffer.right(title, to: column)
        }
        buffer.add("  pages")
        buffer.end()
        buffer.newline()
        for slot in summary.slots {
            buffer.add("\(slot.slot.id) \(slot.slot.name)")
            buffer.right(slot.slot.guestPhysicalAddress.hex, to: 30)
            buffer.right(formatSize(slot.slot.size), to: 38)
            buffer.right(kernel == nil ? "-" : formatSize(slot.mapped), to: 48)
            buffer.right(backing == nil ? "-" : formatSize(slot.present), to: 58)
            buffer.right(kernel == nil || backing == nil ? "-" : formatSize(slot.processOnly), to: 72)
            buffer.add("  ")
            let sizes =
                kernel != nil
                ? [("4K", slot.leaves.pages4K), ("2M", slot.leaves.pages2M), ("1G", slot.leaves.pages1G)]
                    .filter { $0.1 != 0 }.map { "\($0.0) \(grouped($0.1))" }
                : slot.backing.keys.sorted().map { "\(pageName($0)) \(grouped((slot.backing[$0] ?? 0) / $0))" }
            buffer.add(sizes.isEmpty ? "none" : sizes.joined(separator: ", "))
            if slot.swapped > 0 { buffer.add(", swapped out \(formatSize(slot.swapped))") }
            buffer.newline()
            let splits = SplitReason.allCases.compactMap { reason in
                slot.splits[reason].map { "\(reason.rawValue) \(grouped($0))" }
            }
            if !splits.isEmpty {
                buffer.line("      2 MiB ranges in small pages, and why: " + splits.joined(separator: ", "))
            }
        }
        if let backing, !backing.seesFrames, !backing.runs.isEmpty {
            buffer.line("frame numbers are hidden: run as root or with CAP_SYS_ADMIN to see host physical addresses")
        }
        if let backing, !backing.seesPageSizes {
            buffer.line("page sizes are not known: Linux 6.7, or root for /proc/kpageflags")
        }
    }

    private func checkText(_ check: CrossCheck, into buffer: inout TextBuffer) {
        buffer.newline()
        var words = [
            "\(grouped(check.leaves - check.disagreements.count)) of \(counted(check.leaves, "leaf", "leaves")) agree"
        ]
        if check.settled > 0 { words.append("\(grouped(check.settled)) of them when read again") }
        if check.awaitingFlush > 0 {
            words.append("\(grouped(check.awaitingFlush)) of them changed by the guest without a TLB flush so far")
        }
        if check.skipped > 0 { words.append("\(grouped(check.skipped)) below unused roots not compared") }
        buffer.line("check: " + words.joined(separator: ", "))
        func text(_ counts: LeafCounts) -> String {
            "4K \(grouped(counts.pages4K)), 2M \(grouped(counts.pages2M)), 1G \(grouped(counts.pages1G))"
        }
        if let statistics = check.statistics {
            let verdict =
                statistics == check.counted
                ? "agree with KVM's statistics"
                : check.countsMoved
                    ? "changed while they were compared; KVM has \(text(statistics))"
                    : "DIFFER from KVM's statistics: \(text(statistics))"
            buffer.line("counts: \(text(check.counted)), \(verdict)")
        }
        for difference in check.disagreements.prefix(100) {
            let mapping = difference.mapping
            let place = kernel?.format == .shadow ? "VA \((mapping.va &+ difference.offset).hex)" : ""
            let gpa = (difference.gpa ?? mapping.gpa &+ difference.offset).hex
            buffer.line(
                "  DIFFERS: \(place) GPA \(gpa): the kernel has HPA \(difference.kernel.hex), computed "
                    + "\(difference.computed?.hex ?? "none") (\(difference.reason))", .bad)
        }
        if check.disagreements.count > 100 {
            buffer.line("  and \(grouped(check.disagreements.count - 100)) more")
        }
    }

    private func mappingsText(
        limit: Int, range: ClosedRange<GPA>?, into buffer: inout TextBuffer, emit: ([UInt8]) throws -> Void
    ) throws {
        guard limit > 0 else { return }
        let isShadow = kernel?.format == .shadow
        buffer.newline()
        if isShadow { buffer.add("VA                  ", .heading) }
        buffer.line("GPA           size     HVA             HPA            page slot  flags", .heading)
        var listed = 0
        var more = 0
        try eachRun(in: range) { run in
            guard listed < limit else {
                more += 1
                return
            }
            listed += 1
            let left = isShadow ? 20 : 0
            if isShadow {
                buffer.hex(run.va?.rawValue ?? 0, digits: 1)
                buffer.tab(to: left)
            }
            buffer.hex(run.gpa.rawValue)
            buffer.tab(to: left + 14)
            buffer.add(formatSize(run.size))
            buffer.tab(to: left + 23)
            if let hva = run.hva { buffer.hex(hva.rawValue) } else { buffer.add("-") }
            buffer.tab(to: left + 39)
            if let hpa = run.hpa { buffer.hex(hpa.rawValue) } else { buffer.add("-") }
            buffer.tab(to: left + 54)
            buffer.add(pageName(run.page))
            buffer.tab(to: left + 59)
            buffer.add(run.slot.map(String.init) ?? "-")
            buffer.tab(to: left + 65)
            buffer.add(run.flags)
            if let memory = run.memory, memory != .pat(index: 0) { buffer.add("  \(memory.text)") }
            buffer.newline()
            if buffer.bytes.count > 1 << 16 { try emit(buffer.take()) }
        }
        if listed == 0 { buffer.line("nothing is mapped") }
        if more > 0 { buffer.line("and \(counted(more, "range")) more: --view mappings lists them all") }
    }
}

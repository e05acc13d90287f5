// How much of a guest the second stage maps: by page size and slot, and why large pages are not there.

import Addresses
import GuestMemory
import SecondStage

/// Why 2 MiB of a slot are mapped by small pages.
public enum SplitReason: String, Sendable, CaseIterable {
    /// The slot's writes are logged, page by page.
    case dirtyLogging = "dirty logging"
    /// Its guest physical and host virtual address differ modulo 2 MiB.
    case misaligned = "misaligned slot"
    /// They are not wholly in the slot.
    case edge = "edge of the slot"
    /// Large pages are not executable on this processor (iTLB multihit), so they were split.
    case noHugePage = "executable (iTLB multihit)"
    /// The process has small pages there.
    case backing = "small host pages"
    /// The guest's own tables have small pages there (shadow paging).
    case guestTables = "small guest pages"
    /// Nothing that can be seen.
    case other = "not known"
}

/// What is mapped of one slot.
public struct SlotSummary: Sendable {
    /// The slot.
    public let slot: MemorySlot
    /// Leaves in use.
    public var leaves = LeafCounts()
    /// Bytes of the slot that a leaf maps.
    public var mapped: UInt64 = 0
    /// Bytes that the process has in memory.
    public var present: UInt64 = 0
    /// Bytes that the process has swapped out.
    public var swapped: UInt64 = 0
    /// Bytes that the process has and no leaf maps: no vCPU touched them since they were last unmapped.
    public var processOnly: UInt64 = 0
    /// Bytes of the process by the size of its pages.
    public var backing: [UInt64: UInt64] = [:]
    /// 2 MiB ranges mapped by small pages, by reason.
    public var splits: [SplitReason: Int] = [:]
    /// Whether writes are logged.
    public var logsDirtyPages = false
}

/// Counts what is mapped.
public struct SecondStageSummary: Sendable {
    /// By slot, in the order of the table.
    public private(set) var slots: [SlotSummary]
    private let table: SlotTable
    /// A bit a page of the slot: whether a leaf maps it.
    private var mapped: [[UInt64]]

    /// - Parameters:
    ///   - kernel: KVM's tables, if they were read.
    ///   - kernelSlots: KVM's list of slots, if it was read.
    ///   - backing: what the process has, if that was read.
    public init(_ table: SlotTable, kernel: KernelTables?, kernelSlots: [KernelSlot], backing: BackingPages?) {
        self.table = table
        let logged = Set(kernelSlots.filter(\.logsDirtyPages).map(\.slot.id))
        slots = table.slots.map { slot in
            var summary = SlotSummary(slot: slot)
            summary.logsDirtyPages = logged.contains(slot.id)
            return summary
        }
        mapped = table.slots.map { kernel == nil ? [] : [UInt64](repeating: 0, count: Int(($0.size >> 12) + 63) / 64) }
        var large: Set<UInt64> = []
        if let backing { addBacking(backing, &large) }
        if let kernel { addLeaves(kernel, large, seesBacking: backing?.seesPageSizes ?? false) }
        if kernel != nil, let backing { addUntouched(backing) }
    }

    private func number(of gpa: GPA, near hint: Int) -> Int? {
        let slots = table.slots
        if slots.indices.contains(hint), slots[hint].hva(of: gpa) != nil { return hint }
        guard let slot = table.slot(containing: gpa) else { return nil }
        return slots.firstIndex { $0.id == slot.id }
    }

    private mutating func addBacking(_ backing: BackingPages, _ large: inout Set<UInt64>) {
        var slot = 0
        for run in backing.runs {
            guard let number = number(of: run.gpa, near: slot) else { continue }
            slot = number
            if run.flags.contains(.swapped) {
                slots[slot].swapped &+= run.size
                continue
            }
            slots[slot].present &+= run.size
            slots[slot].backing[run.pageSize, default: 0] &+= run.size
            if run.pageSize > 4096 {
                var chunk = run.hva.rawValue >> 21
                while chunk <= (run.hva.rawValue &+ run.size &- 1) >> 21 {
                    large.insert(chunk)
                    chunk += 1
                }
            }
        }
    }

    private mutating func addLeaves(_ kernel: KernelTables, _ large: Set<UInt64>, seesBacking: Bool) {
        var slot = 0
        // A bit for each 2 MiB of a slot that has small pages; leaves of shadow tables come in any order.
        var split = slots.map { [UInt64](repeating: 0, count: Int($0.slot.size >> 27) + 2) }
        for mapping in kernel.mappings {
            let root = kernel.roots[Int(mapping.root)]
            guard !root.isInvalid, !root.isNestedGuest, let found = number(of: mapping.gpa, near: slot) else {
                continue
            }
            slot = found
            switch mapping.level {
            case 1: slots[slot].leaves.pages4K += 1
            case 2: slots[slot].leaves.pages2M += 1
            default: slots[slot].leaves.pages1G += 1
            }
            mark(mapping, slot)
            let chunk = mapping.gpa.rawValue >> 21
            let number = Int(chunk - (slots[slot].slot.guestPhysicalAddress.rawValue >> 21))
            let bit: UInt64 = 1 << UInt64(number & 63)
            if mapping.level == 1, split[slot].indices.contains(number >> 6), split[slot][number >> 6] & bit == 0 {
                split[slot][number >> 6] |= bit
                let noHuge = kernel.tables[Int(mapping.table)].noHugePage
                let reason = reason(
                    chunk, slot, noHuge: noHuge, isShadow: !kernel.format.isNested, large, seesBacking: seesBacking)
                slots[slot].splits[reason, default: 0] += 1
            }
        }
    }

    private mutating func mark(_ mapping: KernelMapping, _ slot: Int) {
        let first = Int((mapping.gpa &- slots[slot].slot.guestPhysicalAddress) >> 12)
        let count = min(Int(mapping.size >> 12), Int(slots[slot].slot.size >> 12) - first)
        for page in first..<first + max(0, count) {
            let bit: UInt64 = 1 << UInt64(page & 63)
            if mapped[slot][page >> 6] & bit == 0 {
                mapped[slot][page >> 6] |= bit
                slots[slot].mapped &+= 4096
            }
        }
    }

    private func reason(
        _ chunk: UInt64, _ number: Int, noHuge: Bool, isShadow: Bool, _ large: Set<UInt64>, seesBacking: Bool
    ) -> SplitReason {
        let slot = slots[number].slot
        let start = chunk << 21
        if slots[number].logsDirtyPages { return .dirtyLogging }
        if (slot.guestPhysicalAddress.rawValue ^ slot.userspaceAddress.rawValue) & 0x1f_ffff != 0 { return .misaligned }
        if start < slot.guestPhysicalAddress.rawValue
            || start &+ (2 << 20) > slot.guestPhysicalAddress.rawValue &+ slot.size
        {
            return .edge
        }
        if noHuge { return .noHugePage }
        let hva = slot.userspaceAddress &+ (start &- slot.guestPhysicalAddress.rawValue)
        if seesBacking, !large.contains(hva.rawValue >> 21) { return .backing }
        return isShadow ? .guestTables : .other
    }

    private mutating func addUntouched(_ backing: BackingPages) {
        var slot = 0
        for run in backing.runs where run.flags.contains(.present) {
            guard let found = number(of: run.gpa, near: slot) else { continue }
            slot = found
            let first = Int((run.gpa &- slots[slot].slot.guestPhysicalAddress) >> 12)
            for page in first..<first + Int(run.size >> 12) where mapped[slot][page >> 6] >> UInt64(page & 63) & 1 == 0
            {
                slots[slot].processOnly &+= 4096
            }
        }
    }
}

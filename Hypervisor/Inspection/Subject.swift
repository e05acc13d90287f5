// What is looked at: tables, the memory behind them, the slots, and the layout that gives names.

import Addresses
import GuestMemory
import Layouts
import PageTables
import Targets

/// Where tables are read: one concrete type, so that the walk is compiled for it.
public enum TableMemory: PhysicalMemory, Sendable {
    /// The memory of a guest that runs on.
    case live(TargetMemory)
    /// Tables of a moment that has passed.
    case stage(StageTables)
    /// Any other memory, at the cost of a dynamic call a table.
    case other(any PhysicalMemory & Sendable)

    /// The page of RAM that holds an address, or nil.
    @inlinable public func page(at address: GPA) -> UnsafeRawPointer? {
        switch self {
        case .live(let memory): return memory.page(at: address)
        case .stage(let tables): return tables.page(at: address)
        case .other(let memory): return memory.page(at: address)
        }
    }

    /// Forgets copies.
    public func refresh() {
        switch self {
        case .live(let memory): memory.refresh()
        case .stage: break
        case .other(let memory): memory.refresh()
        }
    }
}

/// Page tables of a guest at a moment, with all that is needed to say what they mean.
public struct Subject: Sendable {
    /// What the user called the guest.
    public let name: String
    /// The layout, or nil if it is not known.
    public let layout: Layout?
    /// The Linux kernel that the layout was found with, or nil.
    public let linux: LinuxKernel?
    /// The slots, with host virtual addresses of the guest's process.
    public let slots: SlotTable
    /// Where tables are read.
    public let memory: TableMemory
    /// The tables' format.
    public let format: PageTableFormat
    /// The root table.
    public let root: GPA
    /// When this is: `live`, `consistent`, `stage A`.
    public let moment: String
    /// How the memory is read, where that is worth a word: `process 1234`, `monitor`, `file`.
    public let source: String?
    /// Whether the slots' host addresses are those of a process.
    public let hasHostAddresses: Bool

    /// A subject.
    public init(
        name: String, layout: Layout?, slots: SlotTable, memory: TableMemory, format: PageTableFormat, root: GPA,
        moment: String = "live", source: String? = nil, hasHostAddresses: Bool = true, linux: LinuxKernel? = nil
    ) {
        self.linux = linux
        self.source = source
        self.hasHostAddresses = hasHostAddresses
        self.name = name
        self.layout = layout
        self.slots = slots
        self.memory = memory
        self.format = format
        self.root = root
        self.moment = moment
    }

    /// The host virtual address of a physical one; nil if there is none, or no process that it means anything in.
    func hva(of address: GPA) -> HVA? { hasHostAddresses ? slots.hva(of: address) : nil }

    /// What a report begins with.
    var heading: String {
        let layout = layout.map { "layout \($0.name)\(linux == nil ? "" : " (found)"), " } ?? ""
        let source = source.map { ", memory by \($0)" } ?? ""
        return "\(name): \(layout)\(format.name) tables, root \(root.hex), \(moment)\(source)"
    }

    /// One address through the tables.
    public func translate(_ address: GVA) -> Translation {
        PageTables.translate(address, root: root, format: format, memory: memory)
    }

    /// Every run of leaves; entries that are not present but mean something in the layout included.
    ///
    /// - Parameter tableLimit: how many tables are read at most, repetitions included; the summary says if more were needed.
    public func runs(
        in range: ClosedRange<GVA>? = nil, tableLimit: Int = WalkOptions().tableLimit
    ) -> (collector: RunCollector, summary: WalkSummary) {
        var options = WalkOptions()
        options.range = range
        options.tableLimit = tableLimit
        options.absentMask = layout?.absentMask ?? 0
        var collector = RunCollector()
        let summary = walk(root: root, format: format, memory: memory, options: options, into: &collector)
        return (collector, summary)
    }
}

/// What is behind a guest physical address.
public enum Backing: String, Sendable {
    /// A memory slot.
    case ram
    /// A device that the machine has there.
    case mmio
    /// Nothing: reads give all ones.
    case unbacked
    /// The entry is not present, so nothing can be behind it.
    case absent
}

/// Guest physical ranges of devices, where there is no slot.
let deviceRanges: [ClosedRange<GPA>] = [
    // I/O APIC and local APIC (Intel SDM volume 3, 11.4.1; 82093AA data sheet), as docs/guest-contract.md has them.
    GPA(0xfec0_0000)...GPA(0xfec0_0fff), GPA(0xfee0_0000)...GPA(0xfee0_0fff),
]

extension SlotTable {
    /// What is behind an address, and the last address up to which that stays so.
    func backing(of address: GPA) -> (Backing, last: GPA) {
        if let slot = slot(containing: address) {
            var last = slot.guestPhysicalAddress &+ (slot.size &- 1)
            // Slots side by side are one piece of RAM.
            while let next = last.advanced(by: 1), let following = self.slot(containing: next) {
                last = following.guestPhysicalAddress &+ (following.size &- 1)
            }
            return (.ram, last)
        }
        if let device = deviceRanges.first(where: { $0.contains(address) }) { return (.mmio, device.upperBound) }
        var last = GPA(.max)
        if let next = slots.first(where: { $0.guestPhysicalAddress > address }) {
            last = min(last, next.guestPhysicalAddress &+ UInt64.max)
        }
        if let next = deviceRanges.first(where: { $0.lowerBound > address }) {
            last = min(last, next.lowerBound &+ UInt64.max)
        }
        return (.unbacked, last)
    }
}

// What the inspecting verbs have in common: which target, whose tables, of which moment.

import Addresses
import GuestMemory
import Inspection
import Layouts
import Options
import PageTables
import Targets

extension InspectionVerbs {
    /// Options that say whose tables are meant.
    static let tableOptions = [
        OptionDescription("vcpu", "N", "the tables that this vCPU uses, 0 if not given"),
        OptionDescription("root", "PA", "the tables with this root"),
        OptionDescription("paging", "MODE", "read them as 32-bit, pae, 4-level or 5-level, whatever the vCPU does"),
        OptionDescription("stage", "A|B|C|ready", "the tables as they were at this boot stage"),
    ]

    /// The layout that --layout names, or the target's own.
    static func layout(_ arguments: Arguments, of target: any Target) throws -> Layout? {
        guard let name = arguments.value("layout") ?? target.layout else { return nil }
        if let layout = Layout.named(name) { return layout }
        guard arguments.value("layout") != nil else { return nil }
        let names = Layout.all.map(\.name)
        throw UsageError(
            unknownName(name, among: names, what: "layout") + " (there are: \(names.joined(separator: ", ")))")
    }

    /// The tables that the options mean.
    static func subject(
        _ arguments: Arguments, target: any Target, moment: String = "live"
    ) throws -> Subject {
        let layout = try layout(arguments, of: target)
        let vcpu = try arguments.number("vcpu", in: 0...max(0, target.vcpuCount - 1)) ?? 0
        let (format, itsRoot) = try tables(arguments, target: target, vcpu: vcpu)
        var root = itsRoot
        if let text = arguments.value("stage") {
            guard arguments.value("root") == nil, arguments.value("vcpu") == nil else {
                throw UsageError("--stage has tables of its own; it goes with neither --vcpu nor --root")
            }
            let stage = text.lowercased() == "ready" || text == "R" || text == "r" ? "ready" : text.uppercased()
            guard ["A", "B", "C", "ready"].contains(stage) else {
                throw UsageError("--stage \(text): the stages are A, B, C and ready")
            }
            let tables = try target.stageTables(stage)
            return Subject(
                name: target.name, layout: layout, slots: target.slots, memory: .stage(tables), format: format,
                root: GPA(tables.cr3 & X86Bit.address), moment: "stage \(stage)")
        }
        if let text = arguments.value("root") {
            guard let address = GPA(parsing: text) else { throw UsageError("--root \(text): no address") }
            let alignment = format.rootAlignment
            guard address.isAligned(to: alignment) else {
                throw UsageError(
                    "--root \(text): a root is a multiple of \(alignment), this is "
                        + "\(address.rawValue & (alignment - 1)) more")
            }
            guard target.slots.slot(containing: address) != nil else {
                throw UsageError("--root \(text): no memory slot of '\(target.name)' holds that address")
            }
            root = address
        }
        // A layout that is known wins; else the tables may show a Linux kernel.
        let linux =
            layout == nil
            ? LinuxKernel.find(
                root: root, format: format, memory: target.memory, slots: target.slots,
                // A monitor takes a millisecond for each.
                tableLimit: target.memorySource == "monitor" ? 2048 : 1 << 18) : nil
        return Subject(
            name: target.name, layout: layout ?? linux?.layout, slots: target.slots, memory: .live(target.memory),
            format: format, root: root, moment: target.isLive ? moment : "consistent",
            source: target.memorySource == "mapped" ? nil : target.memorySource, hasHostAddresses: target.pid != 0,
            linux: linux)
    }

    /// Formats that --paging names.
    private static let pagingModes: [(name: String, format: PageTableFormat)] = [
        ("32-bit", .x86ThirtyTwoBit()), ("pae", .x86PAE()), ("4-level", .x86FourLevel()), ("5-level", .x86FiveLevel()),
    ]

    /// Format and root as the options and the vCPU's registers have them; a root that --root will replace may be 0.
    private static func tables(
        _ arguments: Arguments, target: any Target, vcpu: Int
    ) throws -> (PageTableFormat, GPA) {
        let isRootGiven = arguments.value("root") != nil
        if let text = arguments.value("paging") {
            guard let mode = pagingModes.first(where: { $0.name == text.lowercased() }) else {
                throw UsageError(
                    unknownName(text, among: pagingModes.map(\.name), what: "--paging")
                        + " (32-bit, pae, 4-level or 5-level)")
            }
            if isRootGiven { return (mode.format, GPA(0)) }
            let root = try target.registers(vcpu: vcpu).cr3 & X86Bit.address
            return (mode.format, GPA(root))
        }
        // An image without registers: 64-bit tables unless --paging says otherwise.
        if target.vcpuCount == 0 && isRootGiven { return (.x86FourLevel(), GPA(0)) }
        let registers = try target.registers(vcpu: vcpu)
        switch registers.paging.mode {
        case .paging(let format, let root): return (format, root)
        case .pagingOff:
            guard isRootGiven || arguments.value("stage") != nil else {
                throw CommandError(
                    .unable,
                    "paging is off on vCPU \(vcpu) of '\(target.name)': a virtual address is a physical one; "
                        + "--vcpu N or --root PA names tables")
            }
            return (.x86FourLevel(maxPhysicalAddressBits: registers.maxPhysicalAddressBits), GPA(0))
        case .unsupported(let mode):
            throw CommandError(.unable, "vCPU \(vcpu) of '\(target.name)' uses \(mode), which this version cannot read")
        }
    }

    /// `A-B`, both included; addresses of 2^63 and above too.
    static func range(_ text: String) throws -> ClosedRange<GVA> {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let first = GVA(parsing: parts[0]), let last = GVA(parsing: parts[1]) else {
            throw UsageError("--range \(text): two addresses with a dash between them are needed, as 0x200000-0x3fffff")
        }
        guard first <= last else { throw UsageError("--range \(text): the first address is above the last") }
        return first...last
    }

    /// The form of a report.
    static func form(_ arguments: Arguments) throws -> ReportForm {
        try arguments.format([.text, .json]) == .json ? .json : .text
    }
}

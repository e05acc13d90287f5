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
        OptionDescription(
            "paging", "32-bit|pae|4-level|5-level|arm", "read them so, whatever the vCPU does"),
        OptionDescription("ttbcr", "N", "with --paging arm: TTBCR.N, so that the root has 4096 >> N entries; 0 to 7"),
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
        var space = try tables(arguments, target: target, vcpu: vcpu)
        let format = space.format
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
            space = AddressSpace(format: format, root: address)
        }
        // A layout that is known wins; else the tables may show a Linux kernel.
        let linux =
            layout == nil && format.virtualBits > 32
            ? LinuxKernel.find(
                root: space.root, format: format, memory: target.memory, slots: target.slots,
                // A monitor takes a millisecond for each.
                tableLimit: ["monitor", "libvirt's memory peek"].contains(target.memorySource) ? 2048 : 1 << 18) : nil
        var subject = Subject(
            name: target.name, layout: layout ?? linux?.layout, slots: target.slots, memory: .live(target.memory),
            space: space, moment: target.isLive ? moment : "consistent",
            source: target.memorySource == "mapped" ? nil : target.memorySource, hasHostAddresses: target.pid != 0,
            linux: linux)
        if arguments.value("root") == nil { subject.registersMoment = try target.registersMoment(vcpu: vcpu) }
        return subject
    }

    /// Formats that --paging names.
    private static let pagingModes: [(name: String, format: PageTableFormat)] = [
        ("32-bit", .x86ThirtyTwoBit()), ("pae", .x86PAE()), ("4-level", .x86FourLevel()), ("5-level", .x86FiveLevel()),
        ("arm", .armShort()),
    ]

    /// Format and root as the options and the vCPU's registers have them; a root that --root will replace may be 0.
    private static func tables(
        _ arguments: Arguments, target: any Target, vcpu: Int
    ) throws -> AddressSpace {
        let isRootGiven = arguments.value("root") != nil
        let split = try arguments.number("ttbcr", in: 0...7)
        guard split == nil || isRootGiven else {
            throw UsageError("--ttbcr goes with --paging arm and --root PA: a CPU's own tables need no help")
        }
        let armFormat = PageTableFormat.armShort(split: split ?? 0)
        if let text = arguments.value("paging") {
            guard let mode = pagingModes.first(where: { $0.name == text.lowercased() }) else {
                throw UsageError(
                    unknownName(text, among: pagingModes.map(\.name), what: "--paging")
                        + " (32-bit, pae, 4-level, 5-level or arm)")
            }
            if isRootGiven { return AddressSpace(format: mode.name == "arm" ? armFormat : mode.format, root: GPA(0)) }
            let registers = try target.registers(vcpu: vcpu)
            // The processor's own tables say more than the name of their format.
            if mode.name == "arm", registers.arm != nil { return try target.addressSpace(vcpu: vcpu) }
            guard mode.name != "arm" else {
                throw UsageError("--paging arm: '\(target.name)' is no ARM machine; --root PA names the tables")
            }
            return AddressSpace(format: mode.format, root: GPA(registers.cr3 & X86Bit.address))
        }
        // An image without registers: 64-bit tables unless the core or --paging says otherwise.
        if target.vcpuCount == 0 && isRootGiven {
            return AddressSpace(
                format: (target as? CoreTarget)?.isARM == true ? armFormat : .x86FourLevel(), root: GPA(0))
        }
        guard isRootGiven || arguments.value("stage") != nil else { return try target.addressSpace(vcpu: vcpu) }
        let registers = try target.registers(vcpu: vcpu)
        switch registers.translation {
        case .tables(let space):
            return split == nil ? space : AddressSpace(format: armFormat, root: GPA(0))
        case .off, .unsupported:
            return AddressSpace(
                format: registers.arm != nil
                    ? armFormat : .x86FourLevel(maxPhysicalAddressBits: registers.maxPhysicalAddressBits), root: GPA(0))
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

    /// The condition of --filter.
    static func filter(_ arguments: Arguments) throws -> RangeFilter? {
        guard let text = arguments.value("filter") else { return nil }
        do throws(FilterError) { return try RangeFilter(parsing: text) } catch {
            throw UsageError(error.description)
        }
    }

    /// The PAT that a vCPU has, or the one after a reset where nothing is known.
    static func memoryTypes(of target: any Target, vcpu: Int = 0) throws -> PageAttributeTable {
        guard target.vcpuCount > 0, let pat = try target.registers(vcpu: vcpu)["pat"] else { return .atReset }
        return PageAttributeTable(rawValue: pat)
    }

    /// The forms that every report has.
    static let forms: [OutputFormat] = [.text, .json, .csv]

    /// The form of a report.
    static func form(_ arguments: Arguments) throws -> ReportForm {
        ReportForm(rawValue: try arguments.format(forms).rawValue) ?? .text
    }
}

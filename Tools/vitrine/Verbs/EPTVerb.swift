// vitrine ept

import Addresses
import GuestMemory
import Inspection
import Options
import SecondStage
import Targets

extension InspectionVerbs {
    static let ept = Verb(
        name: "ept", summary: "second-stage mappings: GPA -> host VA -> host PA",
        usage: "TARGET [options]",
        details: """
            The kernel's own tables (EPT, NPT or shadow) are read with BPF while the guest runs: CAP_BPF and CAP_PERFMON.
            The computed view is slots x page tables of the process, and needs no BPF; frame numbers want CAP_SYS_ADMIN.
            Without --source the kernel's tables are shown with what the process has beside them, and the computed view
            where the kernel refuses. --source both compares the two, leaf by leaf, and ends with status 1 if they differ.
            Flags: r w x, u user, a accessed, d dirty, t access-tracked, l write-protected for dirty logging.
            """,
        options: [
            OptionDescription(
                "source", "computed|kernel|both",
                "where it is read; if not given: the kernel, with what the process has beside it"),
            OptionDescription(
                "view", "summary|mappings", "the summary only, or every mapping; some mappings if not given"),
            OptionDescription("range", "A-B", "guest physical addresses from A to B only"),
        ],
        formats: forms,
        examples: [
            ("vitrine ept a", "how much is mapped, in which pages, and the first mappings"),
            ("vitrine ept pid:1234 --source both", "KVM's tables of a QEMU against what they are made from"),
            ("vitrine ept a --source computed --json", "every host page of the guest, for a program"),
        ],
        run: { arguments, output in
            let form = try form(arguments)
            let source = try arguments.value("source").map { text in
                guard let source = SecondStageSource(rawValue: text) else {
                    throw UsageError(
                        unknownName(text, among: SecondStageSource.allCases.map(\.rawValue), what: "source")
                            + " (computed, kernel or both)")
                }
                return source
            }
            let view = arguments.value("view")
            guard view == nil || view == "summary" || view == "mappings" else {
                throw UsageError("--view \(view ?? ""): the views are summary and mappings")
            }
            let wanted = try arguments.value("range").map { text in
                let addresses = try range(text)
                return GPA(addresses.lowerBound.rawValue)...GPA(addresses.upperBound.rawValue)
            }
            let name = try arguments.operand("TARGET")
            try arguments.end()
            let target = try Targets.open(name)
            guard target.pid > 0 else {
                throw CommandError(
                    .unable, "'\(name)' has no process of this host: a second stage is there only while it runs")
            }
            let report = try secondStage(of: target, source: source)
            switch form {
            case .text:
                let limit = view == "summary" ? 0 : view == "mappings" ? Int.max : 32
                try report.writeText(limit: limit, range: wanted, isColoured: output.isColoured) {
                    try output.write(bytes: $0)
                }
            case .json:
                try report.writeJSON(withMappings: view != "summary", range: wanted) { try output.write(bytes: $0) }
            case .csv:
                try report.writeCSV(withMappings: view != "summary", range: wanted) { try output.write(bytes: $0) }
                if !report.passed { complain("the kernel's tables and the computed view differ: see --format text") }
            }
            return report.passed ? .success : .fault
        })

    /// Reads the second stage of a target from where it is asked for.
    private static func secondStage(
        of target: any Target, source: SecondStageSource?
    ) throws -> SecondStageReport {
        do {
            guard source != .computed else { return try computed(target) }
            do throws(SecondStageError) {
                return try kernel(target, source: source ?? .kernel, withBacking: source != .kernel)
            } catch {
                switch error {
                case .refused, .missing, .unknownLayout:
                    guard source == nil else { throw error }
                    complain("\(error); showing the computed view")
                    return try computed(target)
                default: throw error
                }
            }
        } catch let error as SecondStageError {
            throw TargetError(error, name: target.name)
        }
    }

    private static func computed(_ target: any Target) throws(SecondStageError) -> SecondStageReport {
        // Without the right to see frame numbers, the process's page tables are read as the kernel has them, if that is allowed.
        let vm =
            SecondStageAbilities.seesFrames ? nil : try? KernelVM.open(process: target.pid, index: index(of: target))
        let reader = try BackingReader(process: target.pid, vm: vm)
        let backing = try reader.read(target.slots.slots)
        return SecondStageReport(
            name: target.name, pid: target.pid, source: .computed, slots: target.slots, kernel: nil, backing: backing,
            check: nil)
    }

    /// Which of the process's VMs is meant, where that was said.
    private static func index(of target: any Target) -> Int? { (target as? ProcessTarget)?.index }

    private static func kernel(
        _ target: any Target, source: SecondStageSource, withBacking: Bool
    ) throws(SecondStageError) -> SecondStageReport {
        let vm = try KernelVM.open(process: target.pid, index: index(of: target))
        let kernelSlots = try vm.slots()
        let names = Dictionary(target.slots.slots.map { ($0.id, $0.name) }) { first, _ in first }
        let slots = try vm.slotTable(of: kernelSlots, names: names)
        let tables = try vm.tables()
        var backing: BackingPages?
        var check: CrossCheck?
        if source == .both {
            var checker = try CrossChecker(tables, of: vm, slots: slots, memory: target.memory)
            check = try checker.check()
        }
        // What the process has explains the tables; without the right to see it they are shown alone.
        if withBacking, let reader = try? BackingReader(process: target.pid, vm: vm) {
            backing = try? reader.read(slots.slots)
        }
        return SecondStageReport(
            name: target.name, pid: target.pid, source: source, slots: slots, kernelSlots: kernelSlots, kernel: tables,
            backing: backing, check: check,
            // A process without a monitor to ask has no list of its own: its slots were KVM's a moment ago.
            slotDifferences: target is ProcessTarget ? [] : differences(target.slots, slots, kernelSlots))
    }

    /// Slots that the target names and KVM does not have like that, or the other way round.
    private static func differences(_ target: SlotTable, _ kernel: SlotTable, _ kernelSlots: [KernelSlot]) -> [String] {
        func key(_ slot: MemorySlot) -> String {
            "slot \(slot.id) at GPA \(slot.guestPhysicalAddress.hex), \(slot.size) bytes, HVA \(slot.userspaceAddress.hex)"
        }
        let internals = Set(kernelSlots.filter(\.isInternal).map(\.slot.id))
        let here = Set(target.slots.filter { !internals.contains($0.id) }.map(key))
        let there = Set(kernel.slots.filter { !internals.contains($0.id) }.map(key))
        return here.subtracting(there).sorted().map { "\($0): the target has it, KVM has not" }
            + there.subtracting(here).sorted().map { "\($0): KVM has it, the target has not" }
    }
}

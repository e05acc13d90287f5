// The osv layout's rules about tables alone: the three stages, the linear areas, Core, and what must not be there.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// A stretch of a linear area: bytes from its base on, and the page size.
struct LinearStretch: Equatable {
    var first: UInt64
    var end: UInt64
    let pageSize: UInt64
}

/// Rules about the tables of osv and of the layouts derived from it, at one moment.
struct OSvTableRules {
    /// The layout's numbers: where its kernel is, and its leaf bits.
    let plan: KernelPlan

    static let gib: UInt64 = 1 << 30
    static let large: UInt64 = 2 << 20

    /// The rules of stage A: the boot tables.
    func stageA(_ subject: Subject) -> [AuditResult] {
        [
            AuditResult("stage A, root", expected: "only PML4\(Self.list([0] + kernelEntries)) is present") {
                let present = try Self.rootEntries(subject).filter { $0.value & 1 != 0 }.map(\.index)
                return present == [0] + kernelEntries
                    ? .right("only PML4\(Self.list(present)) is present") : .wrong("present: \(Self.list(present))")
            },
            AuditResult("stage A, leaves", expected: "PA 0-1 GiB 1:1 as 512 leaves of 2 MiB, bits 0xe7") {
                try linear(
                    subject, base: 0, named: "VA 0",
                    wanted: [LinearStretch(first: 0, end: Self.gib, pageSize: Self.large)],
                    bits: OSv.leafBits2M)
            },
        ]
    }

    /// The rules of stage B: the upper half through the boot tables.
    func stageB(_ subject: Subject) -> [AuditResult] {
        [
            AuditResult("stage B, root", expected: "PML4[256], [288] and [320] equal PML4[0], nothing else is present")
            {
                let entries = try Self.rootEntries(subject)
                let present = entries.filter { $0.value & 1 != 0 }.map(\.index)
                guard present == [0, 256, 288, 320] + kernelEntries else {
                    return .wrong("present: \(Self.list(present))")
                }
                // The processor may have set the accessed bit in one and not in another.
                let areas = entries.filter { $0.value & 1 != 0 && !kernelEntries.contains($0.index) }
                let values = Set(areas.map { $0.value & ~X86Bit.accessed })
                guard values.count == 1, let value = values.first else {
                    return .wrong("they differ: \(values.sorted().map { GPA($0).hex }.joined(separator: ", "))")
                }
                return .right("all four refer to the table at \(GPA(value & X86Bit.address).hex)")
            },
            AuditResult("stage B, leaves", expected: "main, page and mempool each map PA 0-1 GiB as 512 x 2 MiB") {
                for area in [OSv.Area.main, .page, .mempool] {
                    let finding = try linear(
                        subject, base: area.base, named: Self.name(area),
                        wanted: [LinearStretch(first: 0, end: Self.gib, pageSize: Self.large)], bits: OSv.leafBits2M)
                    if case .wrong = finding { return finding }
                }
                return .right("3 x 512 leaves of 2 MiB")
            },
        ]
    }

    /// The rules of stage C that are about the boot: a new root, and debug not yet there.
    func stageC(_ subject: Subject, after earlier: Subject?) -> [AuditResult] {
        [
            AuditResult("stage C, root", expected: "a new root") {
                guard let earlier else { throw AuditTrouble("the tables of stage B are not there to compare with") }
                return subject.root != earlier.root
                    ? .right("\(subject.root.hex), stage B had \(earlier.root.hex)")
                    : .wrong("still \(subject.root.hex), as at stage B")
            },
            AuditResult("stage C, debug", expected: "nothing is mapped in debug before its first use") {
                let last = GVA(plan.imageOffset == 0 ? .max : plan.imageOffset - 1)
                let runs = try subject.audited(GVA(OSv.Area.debug.base)...last).collector.runs
                return runs.first.map { .wrong("\($0.va.hex) is mapped to \($0.gpa.hex)") }
                    ?? .right("nothing is mapped")
            },
        ]
    }

    /// The rules that hold from stage C on, on a live guest too.
    func runtime(_ subject: Subject) -> [AuditResult] {
        let moment = subject.moment.hasPrefix("stage") ? subject.moment : "now"
        var results: [AuditResult] = []
        for area in [OSv.Area.main, .page, .mempool] {
            let split = area == .main
            results.append(
                AuditResult(
                    "\(moment), \(Self.name(area)), first GiB",
                    expected: split
                        ? "PA 0-1 GiB, linear: 512 x 4 KiB (bits \(GPA(plan.kernelLeaf4K).hex)), then 511 x 2 MiB"
                        : "PA 0-1 GiB, linear: 512 x 2 MiB (bits \(GPA(plan.kernelLeaf2M).hex))"
                ) {
                    try linear(
                        subject, base: area.base, named: Self.name(area), wanted: Self.firstGiB(split: split),
                        below: Self.gib)
                })
        }
        results.append(
            AuditResult(
                "\(moment), RAM above 1 GiB",
                expected: "every RAM range above 1 GiB in main, page and mempool, 2 MiB leaves"
            ) {
                let wanted = Self.ramAbove(subject.slots, from: Self.gib)
                for area in [OSv.Area.main, .page, .mempool] {
                    let finding = try linear(
                        subject, base: area.base, named: Self.name(area), wanted: wanted, from: Self.gib)
                    if case .wrong = finding { return finding }
                }
                guard !wanted.isEmpty else { return .notApplicable("no RAM above 1 GiB, and nothing mapped there") }
                return .right(
                    "3 x \(counted(wanted.reduce(0) { $0 + ($1.end - $1.first) / Self.large }, "leaf", "leaves")) of 2 MiB"
                )
            })
        results += [core(subject, moment), low(subject, moment), leafBits(subject, moment), devices(subject, moment)]
        // A kernel's half has no place outside the regions, and nothing is below it.
        if plan.imageOffset == 0 { results.append(elsewhere(subject, moment)) }
        return results + [tablesInArena(subject, moment)]
    }

    /// The entry of the boot root through which a kernel that is not at VA = PA runs.
    private var kernelEntries: [Int] { plan.imageOffset == 0 ? [] : [Int(plan.imageOffset >> 39 & 511)] }

    /// What the kernel's image is called, and where it begins.
    private var imageName: String { plan.imageOffset == 0 ? "Core" : "kernel" }
    private var imageStart: UInt64 { plan.imageOffset &+ plan.imageBase }

    // MARK: Single rules

    private func core(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult(
            "\(moment), \(imageName)",
            expected:
                "PA 0x200000 at \(GVA(imageStart).hex), to its end rounded up to 2 MiB, at most PA 0x1800000, bits "
                + GPA(plan.kernelLeaf2M).hex
        ) {
            let range =
                plan.imageOffset == 0
                ? GVA(Self.large)...GVA(OSv.programBase - 1)
                : GVA(plan.imageOffset)...GVA(plan.imageOffset + (Self.gib / 2))
            let runs = try subject.audited(range).collector.runs
            guard let run = runs.first else { return .wrong("nothing is mapped there") }
            guard runs.count == 1 else { return .wrong("\(runs.count) runs, the second at \(runs[1].va.hex)") }
            guard run.va.rawValue == imageStart, run.gpa.rawValue == plan.imageBase else {
                return .wrong("it begins at \(run.va.hex), mapped to \(run.gpa.hex)")
            }
            guard run.pageSize == Self.large, run.leafBits == plan.kernelLeaf2M else {
                return .wrong("pages of \(pageName(run.pageSize)), bits \(GPA(run.leafBits).hex)")
            }
            let end = run.gpa.rawValue + run.size
            guard end <= plan.imageLimit else { return .wrong("it ends at PA \(GPA(end).hex)") }
            return .right("\(counted(run.pageCount, "leaf", "leaves")) of 2 MiB up to PA \(GPA(end).hex)")
        }
    }

    private func low(_ subject: Subject, _ moment: String) -> AuditResult {
        let isLow = plan.imageOffset == 0
        let last = GVA((isLow ? plan.imageBase : plan.vmaEnd) - 1)
        return AuditResult(
            isLow ? "\(moment), below Core" : "\(moment), low alias",
            expected: "VA 0-\(last.hex) is not mapped in the kernel's root"
        ) {
            let runs = try subject.audited(GVA(0)...last).collector.runs
            return runs.first.map { .wrong("\($0.va.hex) is mapped to \($0.gpa.hex)") } ?? .right("nothing is mapped")
        }
    }

    private func leafBits(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult("\(moment), leaf bits", expected: "no NX, no global and no 1 GiB leaf in Core and the linear areas")
        {
            var leaves: UInt64 = 0
            let areas = GVA(OSv.areasBase)...GVA(OSv.Area.debug.base - 1)
            let image = GVA(imageStart)...GVA(plan.imageOffset &+ plan.imageLimit - 1)
            let permissions: PageFlags = plan.kernelLeaf4K & X86Bit.user != 0 ? [.user, .writable] : [.writable]
            for range in [image, areas] {
                for run in try subject.audited(range).collector.runs {
                    leaves += run.pageCount
                    guard run.pageSize < Self.gib else { return .wrong("\(run.va.hex) is a page of 1 GiB") }
                    guard run.flags.contains(.executable) else { return .wrong("\(run.va.hex) has NX") }
                    guard !run.flags.contains(.global) else { return .wrong("\(run.va.hex) is global") }
                    guard run.flags.intersection([.user, .writable]) == permissions else {
                        return .wrong("\(run.va.hex) has the permissions \(run.flags.columns)")
                    }
                }
            }
            return leaves > 0
                ? .right("so it is in \(counted(leaves, "leaf", "leaves"))") : .wrong("there are no leaves")
        }
    }

    private func devices(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult("\(moment), devices", expected: "device registers at main + PA in 4 KiB leaves, nowhere else") {
            var found: [String] = []
            for run in try subject.audited().collector.runs where run.isPresent {
                for device in deviceRanges
                where run.gpa <= device.upperBound && device.lowerBound <= run.lastGPA {
                    let va = run.va &+ (device.lowerBound &- run.gpa)
                    guard run.pageSize == 4096, va.rawValue == OSv.Area.main.base + device.lowerBound.rawValue else {
                        return .wrong("\(device.lowerBound.hex) at \(va.hex), pages of \(pageName(run.pageSize))")
                    }
                    found.append(va.hex)
                }
            }
            return found.isEmpty ? .notApplicable("no device is mapped") : .right("at \(found.joined(separator: ", "))")
        }
    }

    private func elsewhere(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult("\(moment), elsewhere", expected: "no leaf outside the layout's regions") {
            let found = try subject.audited().collector
            if let again = found.repetitions.first {
                return .wrong("the table at \(again.table.hex) is reached again at \(again.va.hex)")
            }
            // What is mapped below the image has a rule of its own.
            for run in found.runs where run.va.rawValue >= plan.imageBase {
                let last = run.va &+ (run.size &- 1)
                guard let region = (subject.layout ?? .osv).region(of: run.va),
                    region.contains(last) || region.name.hasPrefix("pro")
                else { return .wrong("\(run.va.hex)-\(last.hex) is mapped to \(run.gpa.hex)") }
            }
            return .right("every leaf lies in a region")
        }
    }

    private func tablesInArena(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult("\(moment), page tables", expected: "every table lies in the slot 'arena'") {
            guard let arena = subject.slots.slots.first(where: { $0.name == "arena" }) else {
                return .wrong("there is no slot 'arena'")
            }
            let tables = try subject.audited().summary.tables
            for table in tables where arena.hva(of: table.gpa) == nil {
                return .wrong("the \(subject.format.tableName(level: table.level)) at \(table.gpa.hex) is not in it")
            }
            return .right(
                "\(counted(tables.count, "table")) in slot \(arena.id), GPA \(arena.guestPhysicalAddress.hex)")
        }
    }

    // MARK: Helpers

    static func name(_ area: OSv.Area) -> String {
        switch area {
        case .main: return "main"
        case .page: return "page"
        case .mempool: return "mempool"
        case .debug: return "debug"
        }
    }

    private static func firstGiB(split: Bool) -> [LinearStretch] {
        guard split else { return [LinearStretch(first: 0, end: Self.gib, pageSize: Self.large)] }
        return [
            LinearStretch(first: 0, end: large, pageSize: 4096), LinearStretch(first: large, end: gib, pageSize: large),
        ]
    }

    /// RAM above an address as 2 MiB pages map it.
    static func ramAbove(_ slots: SlotTable, from: UInt64) -> [LinearStretch] {
        var stretches: [LinearStretch] = []
        for slot in slots.slots {
            let first = max(slot.guestPhysicalAddress.rawValue, from) & ~(large - 1)
            let end = (slot.guestPhysicalAddress.rawValue + slot.size + large - 1) & ~(large - 1)
            guard end > first, end > from else { continue }
            if let last = stretches.last, last.end >= first {
                stretches[stretches.count - 1].end = end
            } else {
                stretches.append(LinearStretch(first: first, end: end, pageSize: large))
            }
        }
        return stretches
    }

    private static func rootEntries(_ subject: Subject) throws -> [(index: Int, value: UInt64)] {
        guard let page = subject.memory.page(at: subject.root) else {
            throw AuditTrouble("the root \(subject.root.hex) cannot be read")
        }
        return (0..<512).map { ($0, page.load(fromByteOffset: $0 * 8, as: UInt64.self)) }
    }

    private static func list(_ indices: [Int]) -> String {
        indices.isEmpty ? "none" : indices.prefix(8).map { "[\($0)]" }.joined(separator: " ")
    }

    /// Compares what a linear area maps between two offsets with what it should map; devices have a rule of their own.
    func linear(
        _ subject: Subject, base: UInt64, named name: String, wanted: [LinearStretch], from: UInt64 = 0,
        below: UInt64 = 1 << OSv.areaShift, bits large: UInt64? = nil
    ) throws -> AuditFinding {
        var found: [LinearStretch] = []
        // At VA 0 the lower half is the area.
        let last = base == 0 ? min(below, OSv.programBase) : below
        let range = GVA(base + from)...GVA(base + last - 1)
        for run in try subject.audited(range).collector.runs {
            let offset = run.va.rawValue &- base
            guard run.isPresent else { return .wrong("\(run.va.hex) is not present") }
            guard run.gpa.rawValue == offset, !run.repeatsPage || run.pageCount == 1 else {
                return .wrong("\(run.va.hex) is mapped to \(run.gpa.hex), not to \(GPA(offset).hex)")
            }
            if run.pageSize == 4096, deviceRanges.contains(where: { $0.contains(run.gpa) && $0.contains(run.lastGPA) })
            {
                continue
            }
            let bits = run.pageSize == 4096 ? plan.kernelLeaf4K : large ?? plan.kernelLeaf2M
            guard run.leafBits == bits else {
                return .wrong("\(run.va.hex) has the leaf bits \(GPA(run.leafBits).hex), not \(GPA(bits).hex)")
            }
            let end = offset + run.size
            if let last = found.last, last.end == offset, last.pageSize == run.pageSize {
                found[found.count - 1].end = end
            } else {
                found.append(LinearStretch(first: offset, end: end, pageSize: run.pageSize))
            }
        }
        // A run may go on beyond the stretch of interest.
        if let last = found.last, last.end > below { found[found.count - 1].end = below }
        if let first = found.first, first.first < from { found[0].first = from }
        guard found == wanted else {
            return .wrong("\(name) maps \(Self.text(found)), not \(Self.text(wanted))")
        }
        let leaves = found.map { "\(($0.end - $0.first) / $0.pageSize) x \(pageName($0.pageSize))" }
        return .right(leaves.joined(separator: ", then "))
    }

    private static func text(_ stretches: [LinearStretch]) -> String {
        guard !stretches.isEmpty else { return "nothing" }
        let shown = stretches.prefix(3).map {
            "\(GPA($0.first).hex)-\(GPA($0.end - 1).hex) in \(pageName($0.pageSize)) pages"
        }
        return shown.joined(separator: ", ") + (stretches.count > 3 ? " and \(stretches.count - 3) more" : "")
    }
}

// Rules about the kernel's tables in layouts that have all RAM in one window, NX, and the image elsewhere: linux and panda. The
// three stages, the window, the image, and what must not be there.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules about the kernel half of such a layout, at one moment.
struct WindowTableRules {
    private static let large: UInt64 = 2 << 20
    private static let gib: UInt64 = 1 << 30

    /// The layout's numbers and regions.
    let plan: KernelPlan
    let layout: Layout
    /// The regions of the window, of the image, and of devices.
    let window: Region
    let image: Region
    let devices: Region
    /// What is not used before processes exist.
    let later: Region
    /// Where devices' registers are from the last stage on, and at it.
    let places: [UInt64: UInt64]
    let isDeviceMappedAtBoot: Bool
    /// The entry of a root that refers to itself: what is reached through it is no mapping.
    let recursiveEntry: Int?

    /// The rules of linux.
    static var linux: WindowTableRules? {
        WindowTableRules(
            .linux, .linux, "direct map", "text", "fixmap", later: "vmalloc",
            places: [Linux.fixmapIOAPIC: 0xfec0_0000, Linux.fixmapLocalAPIC: 0xfee0_0000], atBoot: true)
    }

    /// The rules of panda.
    static var panda: WindowTableRules? {
        WindowTableRules(
            .panda, .panda, "window", "image", "MMIO", later: "kernel heap", places: [Panda.mmio: 0xfee0_0000],
            atBoot: false, recursiveEntry: Int(Panda.recursiveEntry))
    }

    private init?(
        _ plan: KernelPlan, _ layout: Layout, _ window: String, _ image: String, _ devices: String, later: String,
        places: [UInt64: UInt64], atBoot: Bool, recursiveEntry: Int? = nil
    ) {
        func region(_ name: String) -> Region? { layout.regions.first { $0.name == name } }
        guard let window = region(window), let image = region(image), let devices = region(devices),
            let later = region(later)
        else { return nil }
        (self.plan, self.layout, self.window, self.image) = (plan, layout, window, image)
        (self.devices, self.later, self.places) = (devices, later, places)
        (isDeviceMappedAtBoot, self.recursiveEntry) = (atBoot, recursiveEntry)
    }

    private static func entry(_ address: GVA) -> Int { Int(address.rawValue >> 39 & 511) }

    /// Both halves, or the upper one alone, without what is reached through the root itself.
    private func ranges(upperOnly: Bool) -> [ClosedRange<GVA>] {
        var ranges = [GVA(OSv.areasBase)...GVA(.max)]
        if let recursiveEntry {
            let first: UInt64 = 0xffff << 48 | UInt64(recursiveEntry) << 39
            ranges = [GVA(OSv.areasBase)...GVA(first - 1), GVA(first + 1 << 39)...GVA(.max)]
        }
        return upperOnly ? ranges : [GVA(0)...GVA(0x7fff_ffff_ffff)] + ranges
    }

    private func runs(_ subject: Subject, upperOnly: Bool = false) throws -> [MappedRun] {
        try ranges(upperOnly: upperOnly).flatMap { try subject.audited($0).collector.runs }
    }

    /// The rules of stage A: the boot tables.
    func stageA(_ subject: Subject) -> [AuditResult] {
        [
            root("stage A, root", subject, [0, Self.entry(image.first)]),
            AuditResult("stage A, leaves", expected: "PA 0-1 GiB 1:1 as 512 leaves of 2 MiB, bits 0xe7") {
                try firstGiB(subject, at: 0)
            },
        ]
    }

    /// The rules of stage B: the window through the boot tables.
    func stageB(_ subject: Subject) -> [AuditResult] {
        [
            root("stage B, root", subject, [0, Self.entry(window.first), Self.entry(image.first)]),
            AuditResult("stage B, \(window.name)", expected: "PA 0-1 GiB in it as 512 leaves of 2 MiB, bits 0xe7") {
                try firstGiB(subject, at: window.first.rawValue)
            },
        ]
    }

    /// The rules of stage C that are about the boot.
    func stageC(_ subject: Subject, after earlier: Subject?) -> [AuditResult] {
        [
            AuditResult("stage C, root", expected: "a new root") {
                guard let earlier else { throw AuditTrouble("the tables of stage B are not there to compare with") }
                return subject.root != earlier.root
                    ? .right("\(subject.root.hex), stage B had \(earlier.root.hex)")
                    : .wrong("still \(subject.root.hex), as at stage B")
            },
            AuditResult("stage C, \(later.name)", expected: "nothing is mapped in it before its first use") {
                try nothing(subject, later.first.rawValue, later.last.rawValue)
            },
        ]
    }

    /// The rules that hold from stage C on.
    func runtime(_ subject: Subject) -> [AuditResult] {
        let moment = subject.moment.hasPrefix("stage") ? subject.moment : "now"
        return [
            memory(subject, moment), text(subject, moment),
            AuditResult("\(moment), low half", expected: "nothing is mapped in the lower half of the kernel's root") {
                try nothing(subject, 0, 0x7fff_ffff_ffff)
            },
            registers(subject, moment), leafBits(subject, moment), elsewhere(subject, moment),
            tablesInArena(subject, moment),
        ]
    }

    private func root(_ name: String, _ subject: Subject, _ wanted: [Int]) -> AuditResult {
        let text = wanted.map { "[\($0)]" }.joined(separator: " ")
        return AuditResult(name, expected: "only PML4\(text) is present") {
            let entries = try subject.rootEntries()
            let present = entries.indices.filter { entries[$0] & 1 != 0 }
            guard present == wanted else { return .wrong("present: \(present)") }
            let index = Self.entry(window.first)
            if wanted.contains(index), entries[0] & X86Bit.address != entries[index] & X86Bit.address {
                return .wrong("PML4[\(index)] is \(GPA(entries[index]).hex), PML4[0] \(GPA(entries[0]).hex)")
            }
            return .right("only PML4\(text) is present")
        }
    }

    /// 512 large leaves of the boot tables.
    private func firstGiB(_ subject: Subject, at base: UInt64) throws -> AuditFinding {
        let runs = try subject.audited(GVA(base)...GVA(base + Self.gib - 1)).collector.runs
        guard let run = runs.first, runs.count == 1, run.va.rawValue == base, run.gpa == GPA(0), run.size == Self.gib
        else { return .wrong("\(runs.count) runs\(runs.first.map { ", the first at \($0.va.hex)" } ?? "")") }
        guard run.pageSize == Self.large, run.leafBits == OSv.leafBits2M else {
            return .wrong("pages of \(pageName(run.pageSize)), bits \(GPA(run.leafBits).hex)")
        }
        return .right("512 leaves of 2 MiB")
    }

    private func nothing(_ subject: Subject, _ first: UInt64, _ last: UInt64) throws -> AuditFinding {
        let runs = try subject.audited(GVA(first)...GVA(last)).collector.runs
        return runs.first.map { .wrong("\($0.va.hex) is mapped to \($0.gpa.hex)") } ?? .right("nothing is mapped")
    }

    private func memory(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult(
            "\(moment), \(window.name)", expected: "all RAM at \(window.first.hex) + PA, in 2 MiB leaves, nothing else"
        ) {
            var wanted: [ClosedRange<UInt64>] = []
            for slot in subject.slots.slots.sorted(by: { $0.guestPhysicalAddress < $1.guestPhysicalAddress }) {
                let first = slot.guestPhysicalAddress.rawValue
                let last = first &+ slot.size &- 1
                if let before = wanted.last, before.upperBound &+ 1 == first {
                    wanted[wanted.count - 1] = before.lowerBound...last
                } else {
                    wanted.append(first...last)
                }
            }
            var found: [ClosedRange<UInt64>] = []
            var (large, small) = (0 as UInt64, 0 as UInt64)
            for run in try subject.audited(window.first...window.last).collector.runs {
                let offset = run.va.rawValue &- window.first.rawValue
                guard run.gpa.rawValue == offset, !run.repeatsPage || run.pageCount == 1 else {
                    return .wrong("\(run.va.hex) is mapped to \(run.gpa.hex), not to \(GPA(offset).hex)")
                }
                if run.pageSize == Self.large { large += run.pageCount } else { small += run.pageCount }
                if let before = found.last, before.upperBound &+ 1 == offset {
                    found[found.count - 1] = before.lowerBound...(offset &+ run.size &- 1)
                } else {
                    found.append(offset...(offset &+ run.size &- 1))
                }
            }
            func text(_ ranges: [ClosedRange<UInt64>]) -> String {
                ranges.prefix(3).map { "\(GPA($0.lowerBound).hex)-\(GPA($0.upperBound).hex)" }.joined(separator: ", ")
            }
            guard found == wanted else { return .wrong("it maps PA \(text(found)), RAM is at \(text(wanted))") }
            guard small < 512 * UInt64(wanted.count) else { return .wrong("\(small) leaves of 4 KiB") }
            return .right("\(text(found)) in \(large) x 2M" + (small > 0 ? " and \(small) x 4K" : ""))
        }
    }

    private func text(_ subject: Subject, _ moment: String) -> AuditResult {
        let start = plan.imageOffset &+ plan.imageBase
        return AuditResult(
            "\(moment), \(image.name == "text" ? "kernel text" : image.name)",
            expected: "PA 0x200000 at \(GVA(start).hex), to its end rounded up to 2 MiB, at most PA 0x1800000"
        ) {
            let runs = try subject.audited(image.first...image.last).collector.runs
            guard let run = runs.first else { return .wrong("nothing is mapped there") }
            guard runs.count == 1 else { return .wrong("\(runs.count) runs, the second at \(runs[1].va.hex)") }
            guard run.va.rawValue == start, run.gpa.rawValue == plan.imageBase, run.pageSize == Self.large else {
                return .wrong("\(run.va.hex) is mapped to \(run.gpa.hex) in pages of \(pageName(run.pageSize))")
            }
            let end = run.gpa.rawValue + run.size
            guard end <= plan.imageLimit else { return .wrong("it ends at PA \(GPA(end).hex)") }
            return .right("\(counted(run.pageCount, "leaf", "leaves")) of 2 MiB up to PA \(GPA(end).hex)")
        }
    }

    private func registers(_ subject: Subject, _ moment: String) -> AuditResult {
        let isThere = isDeviceMappedAtBoot || moment == "now"
        let text = places.keys.sorted().map { "\(GPA(places[$0] ?? 0).hex) at \(GVA($0).hex)" }.joined(separator: ", ")
        return AuditResult(
            "\(moment), \(devices.name)",
            expected: isThere ? "device registers: \(text), in 4 KiB leaves, nowhere else" : "no device is mapped yet"
        ) {
            var found = 0
            for run in try runs(subject) where run.isPresent {
                for device in deviceRanges where run.gpa <= device.upperBound && device.lowerBound <= run.lastGPA {
                    let va = run.va &+ (device.lowerBound &- run.gpa)
                    guard run.pageSize == 4096, places[va.rawValue] == device.lowerBound.rawValue else {
                        return .wrong("\(device.lowerBound.hex) at \(va.hex), pages of \(pageName(run.pageSize))")
                    }
                    found += 1
                }
            }
            return found == (isThere ? places.count : 0)
                ? .right(found > 0 ? "so it is" : "none") : .wrong("\(found) of \(places.count) are mapped")
        }
    }

    private func leafBits(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult(
            "\(moment), leaf bits",
            expected:
                "supervisor, writable, no global and no 1 GiB leaf in the upper half; NX in all but the kernel's image"
        ) {
            var leaves: UInt64 = 0
            for run in try runs(subject, upperOnly: true) {
                leaves += run.pageCount
                let isText = image.contains(run.va)
                guard run.pageSize < Self.gib else { return .wrong("\(run.va.hex) is a page of 1 GiB") }
                guard run.flags.contains(.executable) == isText, run.flags.contains(.writable),
                    run.flags.isDisjoint(with: [.user, .global])
                else { return .wrong("\(run.va.hex) has the permissions \(run.flags.columns)") }
            }
            return leaves > 0
                ? .right("so it is in \(counted(leaves, "leaf", "leaves"))") : .wrong("there are no leaves")
        }
    }

    private func elsewhere(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult("\(moment), elsewhere", expected: "no leaf of the upper half outside the layout's regions") {
            for run in try runs(subject, upperOnly: true) {
                let last = run.va &+ (run.size &- 1)
                guard let region = layout.region(of: run.va), region.contains(last) else {
                    return .wrong("\(run.va.hex)-\(last.hex) is mapped to \(run.gpa.hex)")
                }
            }
            return .right("every leaf lies in a region")
        }
    }

    private func tablesInArena(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult("\(moment), page tables", expected: "every table lies in the slot 'arena'") {
            guard let arena = subject.slots.slots.first(where: { $0.name == "arena" }) else {
                return .wrong("there is no slot 'arena'")
            }
            var tables: Set<GPA> = []
            for range in ranges(upperOnly: false) {
                for table in try subject.audited(range).summary.tables {
                    tables.insert(table.gpa)
                    if arena.hva(of: table.gpa) == nil {
                        return .wrong(
                            "the \(subject.format.tableName(level: table.level)) at \(table.gpa.hex) is not in it")
                    }
                }
            }
            return .right("\(counted(tables.count, "table")) in slot \(arena.id)")
        }
    }
}

// The linux layout's rules about the kernel's tables: the three stages, the direct map, the image, and what must not be there.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules about the kernel half of linux, at one moment.
struct LinuxTableRules {
    private static let large: UInt64 = 2 << 20
    private static let gib: UInt64 = 1 << 30
    private let plan = KernelPlan.linux

    /// The rules of stage A: the boot tables.
    func stageA(_ subject: Subject) -> [AuditResult] {
        [
            root("stage A, root", subject, [0, 511]),
            AuditResult("stage A, leaves", expected: "PA 0-1 GiB 1:1 as 512 leaves of 2 MiB, bits 0xe7") {
                try firstGiB(subject, at: 0)
            },
        ]
    }

    /// The rules of stage B: the direct map through the boot tables.
    func stageB(_ subject: Subject) -> [AuditResult] {
        [
            root("stage B, root", subject, [0, 273, 511]),
            AuditResult("stage B, direct map", expected: "PA 0-1 GiB in it as 512 leaves of 2 MiB, bits 0xe7") {
                try firstGiB(subject, at: Linux.directMap)
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
            AuditResult("stage C, vmalloc", expected: "nothing is mapped in vmalloc before its first use") {
                try nothing(subject, Linux.vmalloc, Linux.vmallocLast)
            },
        ]
    }

    /// The rules that hold from stage C on.
    func runtime(_ subject: Subject) -> [AuditResult] {
        let moment = subject.moment.hasPrefix("stage") ? subject.moment : "now"
        return [
            directMap(subject, moment), text(subject, moment),
            AuditResult("\(moment), low half", expected: "nothing is mapped in the lower half of the kernel's root") {
                try nothing(subject, 0, 0x7fff_ffff_ffff)
            },
            fixmap(subject, moment), leafBits(subject, moment), elsewhere(subject, moment),
            tablesInArena(subject, moment),
        ]
    }

    private func root(_ name: String, _ subject: Subject, _ wanted: [Int]) -> AuditResult {
        let text = wanted.map { "[\($0)]" }.joined(separator: " ")
        return AuditResult(name, expected: "only PML4\(text) is present") {
            let entries = try subject.rootEntries()
            let present = entries.indices.filter { entries[$0] & 1 != 0 }
            guard present == wanted else { return .wrong("present: \(present)") }
            if wanted.contains(273), entries[0] & X86Bit.address != entries[273] & X86Bit.address {
                return .wrong("PML4[273] is \(GPA(entries[273]).hex), PML4[0] \(GPA(entries[0]).hex)")
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

    private func directMap(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult(
            "\(moment), direct map",
            expected: "all RAM at \(GVA(Linux.directMap).hex) + PA, in 2 MiB leaves, nothing else"
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
            for run in try subject.audited(GVA(Linux.directMap)...GVA(Linux.directMapLast)).collector.runs {
                let offset = run.va.rawValue &- Linux.directMap
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
            "\(moment), kernel text",
            expected: "PA 0x200000 at \(GVA(start).hex), to its end rounded up to 2 MiB, at most PA 0x1800000"
        ) {
            let runs = try subject.audited(GVA(Linux.textOffset)...GVA(Linux.textLast)).collector.runs
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

    private func fixmap(_ subject: Subject, _ moment: String) -> AuditResult {
        let places = [Linux.fixmapIOAPIC: 0xfec0_0000 as UInt64, Linux.fixmapLocalAPIC: 0xfee0_0000]
        return AuditResult(
            "\(moment), fixmap",
            expected:
                "the I/O APIC at \(GVA(Linux.fixmapIOAPIC).hex), the local APIC at \(GVA(Linux.fixmapLocalAPIC).hex), "
                + "in 4 KiB leaves, nowhere else"
        ) {
            var found = 0
            for run in try subject.audited().collector.runs where run.isPresent {
                for device in deviceRanges where run.gpa <= device.upperBound && device.lowerBound <= run.lastGPA {
                    let va = run.va &+ (device.lowerBound &- run.gpa)
                    guard run.pageSize == 4096, places[va.rawValue] == device.lowerBound.rawValue else {
                        return .wrong("\(device.lowerBound.hex) at \(va.hex), pages of \(pageName(run.pageSize))")
                    }
                    found += 1
                }
            }
            return found == 2 ? .right("both there") : .wrong("\(found) of 2 are mapped")
        }
    }

    private func leafBits(_ subject: Subject, _ moment: String) -> AuditResult {
        AuditResult(
            "\(moment), leaf bits",
            expected:
                "supervisor, writable, no global and no 1 GiB leaf in the upper half; NX in all but the kernel's text"
        ) {
            var leaves: UInt64 = 0
            for run in try subject.audited(GVA(OSv.areasBase)...GVA(.max)).collector.runs {
                leaves += run.pageCount
                let isText = Linux.textOffset...Linux.textLast ~= run.va.rawValue
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
            for run in try subject.audited(GVA(OSv.areasBase)...GVA(.max)).collector.runs {
                let last = run.va &+ (run.size &- 1)
                guard let region = Layout.linux.region(of: run.va), region.contains(last) else {
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
            let tables = try subject.audited().summary.tables
            for table in tables where arena.hva(of: table.gpa) == nil {
                return .wrong("the \(subject.format.tableName(level: table.level)) at \(table.gpa.hex) is not in it")
            }
            return .right("\(counted(tables.count, "table")) in slot \(arena.id)")
        }
    }
}

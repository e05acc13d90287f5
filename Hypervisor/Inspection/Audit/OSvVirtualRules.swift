// The osv layout's rules about the lower half: programs and namespaces, demand paging, PROT_NONE.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules that map through the kernel's monitor, and unmap again what they mapped.
struct OSvVirtualRules<Guest: AuditGuest> {
    let guest: Guest
    /// The layout's numbers: where mappings go.
    var plan = KernelPlan.osv

    private var subject: Subject { guest.subject }

    /// Every rule.
    func results() -> [AuditResult] { [programs, refusals] + paging() + [aboveTheHole] }

    /// The rules about pages that come on touch, and about pages that may not be touched.
    func paging() -> [AuditResult] { [demandPaging, largeDemandPaging, protNone] }

    /// Each program has 8 GiB of its own, at the base that its number says.
    private var programs: AuditResult {
        AuditResult("programs", expected: "each program at program_base or the base of a namespace, mapped there") {
            guard case .lines(let lines) = try guest.command("programs") else {
                return .wrong("the kernel does not answer 'programs'")
            }
            let bases = [OSv.programBase] + (1..<OSv.namespaceCount).map { OSv.namespaceBase($0) }
            var taken: Set<UInt64> = []
            for line in lines {
                let name = line["name"] ?? line["program"] ?? "?"
                guard line["state"] == "running" || line["state"] == "exited" || line["state"] == "faulted" else {
                    continue
                }
                let base = try guest.number("base", in: line, of: "programs")
                guard bases.contains(base) else { return .wrong("\(name) is at \(GVA(base).hex)") }
                guard line["state"] == "running" else { continue }
                guard taken.insert(base).inserted else { return .wrong("two programs run at \(GVA(base).hex)") }
                let range = GVA(base)...GVA(base + OSv.programSize - 1)
                guard try subject.audited(range).summary.leaves > 0 else {
                    return .wrong("nothing of \(name) is mapped")
                }
            }
            guard !lines.isEmpty else { return .notApplicable("no program was loaded") }
            let running = taken.sorted().map { GVA($0).hex }.joined(separator: ", ")
            return .right(
                "\(counted(lines.count, "program"))" + (taken.isEmpty ? ", none runs now" : ", running at \(running)"))
        }
    }

    /// Namespace 0 is reserved, 32 is past the last.
    private var refusals: AuditResult {
        AuditResult("namespaces", expected: "loading into namespace 0 and past the last (31) is refused") {
            guard case .lines(let lines) = try guest.command("programs"), !lines.isEmpty else {
                return .notApplicable("no program was loaded, so none can be loaded again")
            }
            var reasons: [String] = []
            for namespace in [0, OSv.namespaceCount] {
                guard case .error(let reason) = try guest.command("load 0 \(namespace)") else {
                    return .wrong("a program was loaded into namespace \(namespace)")
                }
                guard reason.contains("namespace") else {
                    return .wrong("namespace \(namespace) is refused for another reason: \(reason)")
                }
                reasons.append("\(namespace): \(reason)")
            }
            return .right(reasons.joined(separator: "; "))
        }
    }

    /// Maps, and unmaps whatever happens.
    private func mapped(
        _ size: UInt64, _ body: (UInt64) throws -> AuditFinding
    ) throws -> AuditFinding {
        let line = "map \(size) rw"
        let va = try guest.number("va", in: try guest.first(line), of: line)
        let unmapped = Cleanup { try guest.run("unmap \(GVA(va).hex) \(size)") }
        defer { unmapped.now() }
        guard va >= plan.mmapBase, va < plan.vmaEnd else {
            return .wrong("\(GVA(va).hex), below where the search begins, \(GVA(plan.mmapBase).hex)")
        }
        let finding = try body(va)
        guard case .right = finding else { return finding }
        try unmapped.orThrow()
        let runs = try subject.audited(GVA(va)...GVA(va + size - 1)).collector.runs
        return runs.isEmpty ? finding : .wrong("after unmap \(runs[0].va.hex) is still mapped")
    }

    /// No leaf before the first touch, one after, and no more than that one.
    private var demandPaging: AuditResult {
        AuditResult("demand paging", expected: "no leaf before the first touch, one of 4 KiB after it") {
            try mapped(8192) { va in
                let range = GVA(va)...GVA(va + 8191)
                guard try subject.audited(range).summary.leaves == 0 else {
                    return .wrong("\(GVA(va).hex) is mapped untouched")
                }
                _ = try guest.first("touch \(GVA(va).hex) 0x55")
                guard let mapping = subject.translate(GVA(va)).mapping else {
                    return .wrong("not mapped after a touch")
                }
                guard mapping.pageSize == 4096 else { return .wrong("a page of \(pageName(mapping.pageSize))") }
                guard subject.translate(GVA(va + 4096)).mapping == nil else {
                    return .wrong("the page beside the touched one is mapped too")
                }
                return .right("\(GVA(va).hex) got PA \(mapping.gpa.hex) when it was touched")
            }
        }
    }

    /// Where a whole 2 MiB slot lies inside the VMA, the touch brings a large page.
    private var largeDemandPaging: AuditResult {
        AuditResult("demand paging, large", expected: "a 2 MiB page where the whole 2 MiB slot lies inside the mapping")
        {
            let size: UInt64 = 4 << 20
            return try mapped(size) { va in
                let slot = (va + (2 << 20) - 1) & ~((2 << 20) - 1)
                let inside = slot + 0x1000
                _ = try guest.first("touch \(GVA(inside).hex) 0x55")
                guard let mapping = subject.translate(GVA(inside)).mapping else {
                    return .wrong("not mapped after a touch")
                }
                guard mapping.pageSize == 2 << 20 else {
                    return .wrong("\(GVA(inside).hex) got a page of \(pageName(mapping.pageSize))")
                }
                return .right("\(GVA(slot).hex) got PA \(mapping.gpa.alignedDown(to: 2 << 20).hex)")
            }
        }
    }

    /// A page that may not be touched: what its entry looks like, and that it faults.
    private var protNone: AuditResult {
        AuditResult(
            "PROT_NONE",
            expected:
                "present, not writable, NX, reserved bit 51 (or, where bit 51 is an address bit, absent with bit 9); "
                + "a touch faults, and the page is back when allowed again"
        ) {
            try mapped(4096) { va in
                let address = GVA(va).hex
                _ = try guest.first("touch \(address) 0x1234567890")
                try guest.run("protect \(address) 4096 none")
                let translation = subject.translate(GVA(va))
                let entry = translation.entries.last?.value ?? 0
                let form: String
                switch translation.result {
                case .reservedBits(level: 1, let bits, let mapping):
                    guard bits == OSv.protNoneBit else { return .wrong("reserved bits \(GPA(bits).hex) are set") }
                    guard let flags = mapping?.flags, flags.isDisjoint(with: [.writable, .executable]) else {
                        return .wrong("the entry \(GPA(entry).hex) is writable or executable")
                    }
                    form = "present, not writable, NX, reserved bit 51"
                case .notMapped(level: 1, let value):
                    guard value & OSv.protNoneSoftwareBit != 0 else { return .wrong("absent, \(GPA(value).hex)") }
                    form = "absent, software bit 9"
                default: return .wrong("the entry is \(GPA(entry).hex)")
                }
                guard subject.layout?.meaning(of: entry)?.name == "prot-none" else {
                    return .wrong("\(GPA(entry).hex) is not read as PROT_NONE")
                }
                guard case .error(let reason) = try guest.command("touch \(address)"), reason.contains("fault") else {
                    return .wrong("a touch of the page did not fault")
                }
                try guest.run("protect \(address) 4096 rw")
                let line = "touch \(address)"
                let value = try guest.number("value", in: try guest.first(line), of: line)
                guard value == 0x12_3456_7890 else { return .wrong("allowed again, the page holds \(GPA(value).hex)") }
                return .right("\(form); \(reason)")
            }
        }
    }

    /// RAM above the hole has a slot of its own and is linear all the same.
    private var aboveTheHole: AuditResult {
        AuditResult(
            "RAM above the hole", expected: "a slot of its own at 4 GiB, linear in main, page and mempool"
        ) {
            let high = subject.slots.slots.filter { $0.guestPhysicalAddress.rawValue >= Contract.holeStart }
            guard let slot = high.first else { return .notApplicable("no RAM above the hole") }
            guard slot.guestPhysicalAddress.rawValue == Contract.holeEnd else {
                return .wrong("the slot begins at \(slot.guestPhysicalAddress.hex)")
            }
            for area in [OSv.Area.main, .page, .mempool] {
                for gpa in [slot.guestPhysicalAddress, slot.guestPhysicalAddress &+ (slot.size - 4096)] {
                    let va = GVA(area.base &+ gpa.rawValue)
                    guard let mapping = subject.translate(va).mapping, mapping.gpa == gpa else {
                        return .wrong("\(va.hex) is not mapped to \(gpa.hex)")
                    }
                }
            }
            let last = GVA(OSv.Area.main.base &+ slot.guestPhysicalAddress.rawValue &+ slot.size - 8)
            _ = try guest.first("touch \(last.hex)")
            return .right("slot \(slot.id) \(slot.name), \(formatSize(slot.size)), HVA \(slot.userspaceAddress.hex)")
        }
    }
}

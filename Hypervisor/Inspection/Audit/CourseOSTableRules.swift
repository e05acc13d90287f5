// The rules of courseos about tables: the boot stages, the kernel's two GiB, and what must not be there.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules about tables of courseos. Those of now are about the kernel's root, whatever the vCPU has loaded.
struct CourseOSTableRules<Guest: AuditGuest> {
    let guest: Guest

    private static var gib: UInt64 { 1 << 30 }
    private static var large: UInt64 { 2 << 20 }

    /// Every rule.
    func results() -> [AuditResult] {
        let now = KernelRoot(guest).subject
        return [
            stageARoot, stageALeaves, stageB, stageC, vectors(now), kernel(now), window(now), below(now), heap(now),
            devices(now), elsewhere(now), tablesInArena(now),
        ]
    }

    /// RAM that the window has: from 0 to its end, or to 1 GiB.
    private var memoryEnd: UInt64 {
        let slots = guest.subject.slots.slots.filter { $0.guestPhysicalAddress.rawValue < CourseOS.memoryLimit }
        return min(CourseOS.memoryLimit, slots.map { $0.guestPhysicalAddress.rawValue + $0.size }.max() ?? 0)
    }

    /// The root's one entry, and those of the table of four below it.
    private func gibibytes(_ subject: Subject) throws -> (root: [Int], entries: [Int: UInt64]) {
        let root = try subject.presentRootEntries()
        guard let first = root[0] else { throw AuditTrouble("PML4[0] of \(subject.root.hex) is absent") }
        return (root.keys.sorted(), try subject.rooted(at: first & X86Bit.address).presentRootEntries())
    }

    // MARK: The boot

    private func bootRoot(_ stage: String) throws -> AuditFinding {
        let (root, entries) = try gibibytes(try guest.stage(stage))
        guard root == [0] else { return .wrong("present: PML4\(tablePlaces(root))") }
        guard entries.keys.sorted() == [0, 2] else { return .wrong("present: PDPT\(tablePlaces(entries.keys))") }
        let tables = Set(entries.values.map { $0 & X86Bit.address })
        guard tables.count == 1, let table = tables.first else { return .wrong("two page directories") }
        return .right("only PML4[0], PDPT[0] and [2], both with the directory at \(GPA(table).hex)")
    }

    private var stageARoot: AuditResult {
        AuditResult(
            "stage A, root", expected: "only PML4[0]; of its table [0] and [2], which share one page directory"
        ) { try bootRoot("A") }
    }

    private var stageALeaves: AuditResult {
        AuditResult("stage A, leaves", expected: "PA 0-1 GiB at 0x80000000 as 512 leaves of 2 MiB, bits 0xe7") {
            try OSvTableRules(plan: .courseos).linear(
                try guest.stage("A"), base: CourseOS.offset, named: "the window",
                wanted: [LinearStretch(first: 0, end: Self.gib, pageSize: Self.large)], below: Self.gib,
                bits: OSv.leafBits2M)
        }
    }

    private var stageB: AuditResult {
        AuditResult("stage B, root", expected: "as in stage A: the boot tables have the window already") {
            try bootRoot("B")
        }
    }

    private var stageC: AuditResult {
        AuditResult("stage C, root", expected: "the root is at PA 0x4000, and visible at 0x80004000") {
            let subject = try guest.stage("C")
            guard subject.root.rawValue == CourseOS.root else { return .wrong("it is at \(subject.root.hex)") }
            let va = GVA(CourseOS.offset + CourseOS.root)
            let found = subject.translate(va).mapping?.gpa
            guard found == subject.root else { return .wrong("\(va.hex) leads to \(found?.hex ?? "nothing")") }
            return .right("\(subject.root.hex), at \(va.hex)")
        }
    }

    // MARK: Now

    private func vectors(_ subject: Subject) -> AuditResult {
        AuditResult(
            "now, vectors", expected: "PA 0 at 0x80000000, there 256 gates that lead into the kernel's image"
        ) {
            guard subject.translate(GVA(CourseOS.offset)).mapping?.gpa == GPA(0) else {
                return .wrong("0x80000000 does not lead to PA 0")
            }
            let image = CourseOS.offset + CourseOS.kernelBase..<CourseOS.offset + KernelPlan.courseos.imageLimit
            for vector in 0..<256 as Range<UInt64> {
                let low = try subject.word(at: CourseOS.offset + vector * 16)
                let high = try subject.word(at: CourseOS.offset + vector * 16 + 8)
                // Intel SDM volume 3, figure 6-8.
                let handler = low & 0xffff | low >> 32 & 0xffff_0000 | high << 32
                guard low >> 47 & 1 == 1, image.contains(handler) else {
                    return .wrong("gate \(vector) leads to \(GVA(handler).hex)")
                }
            }
            return .right("256 gates")
        }
    }

    private func kernel(_ subject: Subject) -> AuditResult {
        AuditResult("now, kernel", expected: "PA 0x8000 at 0x80008000, where the kernel's image begins") {
            let va = CourseOS.offset + CourseOS.kernelBase
            let gpa = subject.translate(GVA(va)).mapping?.gpa
            guard gpa?.rawValue == CourseOS.kernelBase else { return .wrong("it leads to \(gpa?.hex ?? "nothing")") }
            // The image begins with the offset that it is linked with.
            let word = try subject.word(at: va)
            guard word == CourseOS.offset else {
                return .wrong("there is \(GPA(word).hex), not the image's first word")
            }
            return .right("its first word, \(GPA(word).hex), is there")
        }
    }

    private func window(_ subject: Subject) -> AuditResult {
        AuditResult(
            "now, window",
            expected: "RAM up to 1 GiB at 0x80000000, linear: leaves of 2 MiB (bits 0xe3), of 4 KiB (0x63) at its end"
        ) {
            let end = memoryEnd
            let whole = end & ~(Self.large - 1)
            var wanted = [LinearStretch(first: 0, end: whole, pageSize: Self.large)]
            if end > whole { wanted.append(LinearStretch(first: whole, end: end, pageSize: 4096)) }
            return try OSvTableRules(plan: .courseos).linear(
                subject, base: CourseOS.offset, named: "the window", wanted: wanted, below: Self.gib)
        }
    }

    private func below(_ subject: Subject) -> AuditResult {
        AuditResult("now, below", expected: "VA 0-0x7fffffff, the process's, is not mapped in the kernel's root") {
            let runs = try subject.audited(GVA(0)...GVA(CourseOS.processEnd - 1)).collector.runs
            return runs.first.map { .wrong("\($0.va.hex) is mapped to \($0.gpa.hex)") } ?? .right("nothing is mapped")
        }
    }

    private func heap(_ subject: Subject) -> AuditResult {
        AuditResult(
            "now, heap",
            expected: "from 0xc0000000 to the heap's end leaves of 4 KiB, NX, the kernel reads and writes them"
        ) {
            let heap = try area("heap")
            guard heap.lowerBound == CourseOS.heapBase, !heap.isEmpty else {
                return .wrong("the kernel says \(GVA(heap.lowerBound).hex)-\(GVA(heap.upperBound).hex)")
            }
            let runs = try subject.audited(GVA(heap.lowerBound)...GVA(heap.upperBound - 1)).collector.runs
            guard let first = runs.first, first.va.rawValue == CourseOS.heapBase, let last = runs.last,
                last.lastVA.rawValue == heap.upperBound - 1
            else { return .wrong("nothing is mapped at its beginning, or at its end \(GVA(heap.upperBound).hex)") }
            for run in runs where run.pageSize != 4096 || run.leafBits != CourseOS.heapLeaf {
                return .wrong("\(run.va.hex): pages of \(pageName(run.pageSize)), bits \(GPA(run.leafBits).hex)")
            }
            let pages = runs.reduce(0) { $0 + $1.pageCount }
            return .right("\(counted(pages, "leaf", "leaves")) up to \(GVA(heap.upperBound).hex)")
        }
    }

    private func devices(_ subject: Subject) -> AuditResult {
        AuditResult(
            "now, devices",
            expected: "above the heap nothing, then device registers up to 4 GiB: the local APIC last, no gap, NX"
        ) {
            let (heap, mmio) = (try area("heap"), try area("mmio"))
            guard heap.upperBound <= mmio.lowerBound, mmio.upperBound == CourseOS.devicesEnd else {
                return .wrong("heap to \(GVA(heap.upperBound).hex), devices from \(GVA(mmio.lowerBound).hex)")
            }
            let runs = try subject.audited(GVA(heap.upperBound)...GVA(CourseOS.devicesEnd - 1)).collector.runs
            var next = mmio.lowerBound
            for run in runs {
                guard run.va.rawValue == next else {
                    return .wrong("\(run.va.hex) is mapped to \(run.gpa.hex), expected was \(GVA(next).hex)")
                }
                guard run.leafBits & ~(X86Bit.pageSize) == CourseOS.deviceLeaf else {
                    return .wrong("\(run.va.hex) has the bits \(GPA(run.leafBits).hex)")
                }
                next = run.lastVA.rawValue + 1
            }
            let apic = subject.translate(GVA(CourseOS.devicesEnd - 4096)).mapping?.gpa
            guard next == CourseOS.devicesEnd, apic == GPA(0xfee0_0000) else {
                return .wrong("they end at \(GVA(next).hex), the last page leads to \(apic?.hex ?? "nothing")")
            }
            return .right("\(GVA(mmio.lowerBound).hex)-0xffffffff, the local APIC at 0xfffff000")
        }
    }

    private func elsewhere(_ subject: Subject) -> AuditResult {
        AuditResult("now, elsewhere", expected: "nothing above 4 GiB: only PML4[0], and of its table only [0] to [3]") {
            let (root, entries) = try gibibytes(subject)
            guard root == [0] else { return .wrong("present: PML4\(tablePlaces(root))") }
            guard entries.keys.allSatisfy({ $0 < 4 }) else {
                return .wrong("present: PDPT\(tablePlaces(entries.keys))")
            }
            return .right("PML4[0], PDPT\(tablePlaces(entries.keys))")
        }
    }

    private func tablesInArena(_ subject: Subject) -> AuditResult {
        AuditResult("now, page tables", expected: "every table but the root lies in the slot 'arena'") {
            guard let arena = guest.subject.slots.slots.first(where: { $0.name == "arena" }) else {
                return .wrong("there is no slot 'arena'")
            }
            let tables = try subject.audited().summary.tables.filter { $0.gpa != subject.root }
            for table in tables where arena.hva(of: table.gpa) == nil {
                return .wrong("the \(subject.format.tableName(level: table.level)) at \(table.gpa.hex) is not in it")
            }
            return .right("\(counted(tables.count, "table")), GPA \(arena.guestPhysicalAddress.hex)")
        }
    }

    /// What the kernel says of an area.
    private func area(_ name: String) throws -> Range<UInt64> { try guest.area(name) }
}

extension AuditGuest {
    /// The range of a line of `areas`.
    func area(_ name: String) throws -> Range<UInt64> {
        guard case .lines(let lines) = try command("areas"), let line = lines.first(where: { $0["area"] == name })
        else {
            throw AuditTrouble("the kernel's answer to 'areas' has no \(name)")
        }
        let start = try number("base", in: line, of: "areas")
        let end = try number("end", in: line, of: "areas")
        guard start <= end else { throw AuditTrouble("\(name) ends before it begins") }
        return start..<end
    }
}

// `vitrine audit`: the rules of a layout, checked on a guest.

import Addresses
import Layouts
import PageTables

/// Checks a guest against the rules of its layout.
public enum Audit {
    /// The layouts that have rules.
    public static let layouts = ["osv", "osc", "osc-initial", "linux", "resea", "courseos", "panda"]

    /// Checks every rule of a layout: the tables of the boot stages, those of now, and what the kernel does when it is asked to
    /// allocate, map, protect, fork. What that takes is given back. Nil if the layout has no rules.
    public static func run(_ layout: String, _ guest: some AuditGuest) -> AuditReport? {
        switch layout {
        case "osv": return osv(guest)
        case "osc": return osc(guest)
        case "osc-initial": return oscInitial(guest)
        case "linux": return linux(guest)
        case "resea": return resea(guest)
        case "courseos": return courseos(guest)
        case "panda": return panda(guest)
        default: return nil
        }
    }

    /// The rules of osv.
    public static func osv(_ guest: some AuditGuest) -> AuditReport {
        var results = tables(guest, .osv)
        results += OSvAllocationRules(guest: guest, plan: .osv).results()
        results += OSvVirtualRules(guest: guest).results()
        return AuditReport(target: guest.subject.name, layout: "osv", results: results)
    }

    /// The rules of osc, the current design: those of osv about the kernel's half, and those about processes.
    public static func osc(_ guest: some AuditGuest) -> AuditReport {
        var results = tables(KernelRoot(guest), .osc)
        results += OSCProcessRules(guest: guest).results()
        results += OSvAllocationRules(guest: KernelRoot(guest), plan: .osc).results()
        results += OSCForkRules(guest: guest).results()
        return AuditReport(target: guest.subject.name, layout: "osc", results: results)
    }

    /// The rules of osc, the initial design: those of osv about tables, and those about offsets.
    public static func oscInitial(_ guest: some AuditGuest) -> AuditReport {
        var results = tables(guest, .oscInitial)
        results += OSvAllocationRules(guest: guest, plan: .oscInitial).results()
        results += OffsetRules(guest: guest).results()
        results += OSvVirtualRules(guest: guest).paging()
        return AuditReport(target: guest.subject.name, layout: "osc-initial", results: results)
    }

    /// The rules of linux: its kernel half, its processes, and those of osc about roots and fork.
    public static func linux(_ guest: some AuditGuest) -> AuditReport {
        let kernel = KernelRoot(guest)
        var results = tables(kernel, WindowTableRules.linux)
        results += OSCProcessRules(guest: guest).shared()
        results += WindowMemoryRules(guest: kernel, plan: .linux).results()
        results += LinuxProcessRules(guest: guest).results()
        results += OSCForkRules(guest: guest).results()
        return AuditReport(target: guest.subject.name, layout: "linux", results: results)
    }

    /// The rules of panda: its kernel half, its processes, their buffers.
    public static func panda(_ guest: some AuditGuest) -> AuditReport {
        let kernel = KernelRoot(guest)
        var results = tables(kernel, WindowTableRules.panda)
        results += OSCProcessRules(guest: guest, ownEntry: Int(Panda.recursiveEntry)).roots()
        results += WindowMemoryRules(guest: kernel, plan: .panda).common()
        results += PandaRules(guest: guest).results()
        return AuditReport(target: guest.subject.name, layout: "panda", results: results)
    }

    /// The rules about the tables of the stages and of now, for layouts with one window.
    private static func tables(_ guest: some AuditGuest, _ known: WindowTableRules?) -> [AuditResult] {
        guard let rules = known else { return [] }
        var results: [AuditResult] = []
        let stageA = stage("A", of: guest, &results)
        if let stageA { results += rules.stageA(stageA) }
        let stageB = stage("B", of: guest, &results)
        if let stageB { results += rules.stageB(stageB) }
        if let stageC = stage("C", of: guest, &results) {
            results += rules.stageC(stageC, after: stageB ?? stageA) + rules.runtime(stageC)
        }
        return results + rules.runtime(guest.subject)
    }

    /// The rules about the tables of the stages and of now, for osv and the layouts derived from it.
    private static func tables(_ guest: some AuditGuest, _ plan: KernelPlan) -> [AuditResult] {
        let rules = OSvTableRules(plan: plan)
        var results: [AuditResult] = []
        let stageA = stage("A", of: guest, &results)
        if let stageA { results += rules.stageA(stageA) }
        let stageB = stage("B", of: guest, &results)
        if let stageB { results += rules.stageB(stageB) }
        if let stageC = stage("C", of: guest, &results) {
            results += rules.stageC(stageC, after: stageB ?? stageA)
            results += rules.runtime(stageC)
        }
        return results + rules.runtime(guest.subject)
    }

    private static func stage(_ name: String, of guest: some AuditGuest, _ results: inout [AuditResult]) -> Subject? {
        do { return try guest.stage(name) } catch {
            results.append(
                AuditResult("stage \(name)", expected: "the guest reported it, and its tables were kept") {
                    .wrong("\(error)")
                })
            return nil
        }
    }
}

// `vitrine audit`: the rules of a layout, checked on a guest.

import Addresses
import Layouts
import PageTables

/// Checks a guest against the rules of its layout.
public enum Audit {
    /// The layouts that have rules.
    public static let layouts = names.map(\.text)

    private static let names: [(text: String, layout: KernelPlan.Name)] = [
        ("osv", .osv), ("osc", .osc), ("osc-initial", .oscInitial), ("linux", .linux), ("resea", .resea),
        ("courseos", .courseos), ("panda", .panda),
    ]

    /// Checks the rules of the layout of this name; nil if it has none.
    public static func run(_ name: String, _ guest: some AuditGuest, tablesOnly: Bool = false) -> AuditReport? {
        names.first { $0.text == name }.map { run($0.layout, guest, tablesOnly: tablesOnly) }
    }

    /// Checks every rule of a layout: the tables of the boot stages, those of now, and what the kernel does when it is asked to
    /// allocate, map, protect, fork. What that takes is given back.
    ///
    /// - Parameter tablesOnly: whether the kernel is to be left alone: no rule about what it does.
    public static func run(
        _ layout: KernelPlan.Name, _ guest: some AuditGuest, tablesOnly: Bool = false
    ) -> AuditReport {
        let results = tables(layout, guest) + (tablesOnly ? [] : deeds(layout, guest))
        let name = names.first { $0.layout == layout }?.text
        return AuditReport(target: guest.subject.name, layout: name, results: results)
    }

    /// The rules about the tables of the stages and of now, and about what lies in memory from the start.
    private static func tables(_ layout: KernelPlan.Name, _ guest: some AuditGuest) -> [AuditResult] {
        switch layout {
        case .osv: return tables(guest, .osv)
        case .osc: return tables(KernelRoot(guest), .osc)
        case .oscInitial: return tables(guest, .oscInitial)
        case .linux: return tables(KernelRoot(guest), WindowTableRules.linux)
        case .panda: return tables(KernelRoot(guest), WindowTableRules.panda)
        case .resea: return ReseaTableRules(guest: guest).results()
        case .courseos: return CourseOSTableRules(guest: guest).results()
        }
    }

    /// The rules about what the kernel and its processes do.
    private static func deeds(_ layout: KernelPlan.Name, _ guest: some AuditGuest) -> [AuditResult] {
        switch layout {
        case .osv:
            return OSvAllocationRules(guest: guest, plan: .osv).results() + OSvVirtualRules(guest: guest).results()
        case .osc:
            // The current design: what osv has of the kernel's half, and processes.
            return OSCProcessRules(guest: guest).results()
                + OSvAllocationRules(guest: KernelRoot(guest), plan: .osc).results()
                + OSCForkRules(guest: guest).results()
        case .oscInitial:
            return OSvAllocationRules(guest: guest, plan: .oscInitial).results() + OffsetRules(guest: guest).results()
                + OSvVirtualRules(guest: guest).paging()
        case .linux:
            // Its processes, and what osc has of roots and fork.
            return OSCProcessRules(guest: guest).shared()
                + WindowMemoryRules(guest: KernelRoot(guest), plan: .linux).results()
                + LinuxProcessRules(guest: guest).results() + OSCForkRules(guest: guest).results()
        case .panda:
            return OSCProcessRules(guest: guest, ownEntry: Int(Panda.recursiveEntry)).roots()
                + WindowMemoryRules(guest: KernelRoot(guest), plan: .panda).common()
                + PandaRules(guest: guest).results()
        case .resea: return ReseaTaskRules(guest: guest).results()
        case .courseos: return courseosDeeds(guest)
        }
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

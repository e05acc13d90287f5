// `vitrine audit`: the rules of a layout, checked on a guest.

import Addresses
import Layouts
import PageTables

/// Checks a guest against the rules of its layout.
public enum Audit {
    /// The layouts that have rules.
    public static let layouts = ["osv"]

    /// Checks every rule of the osv layout: the tables of the boot stages, those of now, and what the kernel does when
    /// it is asked to allocate, map and protect. What that takes is given back.
    public static func osv(_ guest: some AuditGuest) -> AuditReport {
        var results: [AuditResult] = []
        let stageA = stage("A", of: guest, &results)
        if let stageA { results += OSvTableRules.stageA(stageA) }
        let stageB = stage("B", of: guest, &results)
        if let stageB { results += OSvTableRules.stageB(stageB) }
        if let stageC = stage("C", of: guest, &results) {
            results += OSvTableRules.stageC(stageC, after: stageB ?? stageA)
            results += OSvTableRules.runtime(stageC)
        }
        results += OSvTableRules.runtime(guest.subject)
        results += OSvAllocationRules(guest: guest).results()
        results += OSvVirtualRules(guest: guest).results()
        return AuditReport(target: guest.subject.name, layout: "osv", results: results)
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

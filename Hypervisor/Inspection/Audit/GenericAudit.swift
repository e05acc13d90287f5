// `vitrine audit --rules`: which rules are checked, and what a layout breaks by design.

import Addresses
import Layouts
import PageTables

/// Which rules an audit checks.
public enum AuditRules: String, Sendable, CaseIterable {
    /// Those that hold for any system.
    case generic
    /// Those of the layout.
    case layout
    /// Those of the layout about tables: nothing is asked of the guest's kernel.
    case tables
    /// Both; what the layout does by design is then no fault.
    case all
}

extension Audit {
    /// Checks the rules that hold for any system.
    ///
    /// - Parameters:
    ///   - types: the guest's PAT.
    ///   - excusing: whether rules that the layout breaks by design do not apply.
    public static func generic(
        _ subject: Subject, types: PageAttributeTable = .atReset, excusing: Bool = false
    ) -> AuditReport {
        let reasons = excusing ? subject.layout.flatMap { byDesign[$0.name] } ?? [:] : [:]
        let results = GenericRules(subject, types: types).results().map { result in
            reasons[result.rule].map { result.excused(because: $0) } ?? result
        }
        return AuditReport(target: subject.name, layout: subject.layout?.name, ruleSet: .generic, results: results)
    }

    /// The rules that a layout breaks by design, with why.
    private static let byDesign: [String: [String: String]] = [
        "osv": {
            let everything = "by design, osv maps everything user, writable and executable"
            return [
                GenericRules.Name.userWX: everything, GenericRules.Name.userAliases: everything,
                GenericRules.Name.userInKernelHalf: everything, GenericRules.Name.tablesForUser: everything,
                GenericRules.Name.leavesInMemory: "by design, osv maps the first GiB whatever the RAM",
                GenericRules.Name.largePages: "by design, osv maps the first GiB in 2 MiB pages whatever the RAM",
            ]
        }(),
        "resea": [
            GenericRules.Name.userWX: "by design, resea's tasks have no NX",
            GenericRules.Name.kernelWX: "by design, resea maps 4 GiB writable and executable",
            GenericRules.Name.leavesInMemory: "by design, resea maps 4 GiB whatever the RAM",
            GenericRules.Name.largePages: "by design, resea maps 4 GiB in 2 MiB pages whatever the RAM",
        ],
        "courseos": [
            GenericRules.Name.kernelWX: "by design, courseos maps RAM in sections that are writable and executable"
        ],
    ]
}

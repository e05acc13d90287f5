// vitrine audit

import Inspection
import Layouts
import Options
import PageTables
import Targets

extension InspectionVerbs {
    static let audit = Verb(
        name: "audit", summary: "checks the live tables: the layout's rules, or those for any system",
        usage: "TARGET [options]",
        details: """
            The layout's rules check the tables of the boot stages and of now, and let the guest's kernel allocate, map and
            protect to see what becomes of it; what that takes is given back.
            The rules for any system (--rules generic) only look: what is writable is not executed, at whatever address;
            user mode stays out of the kernel's half and of the tables; every entry leads to memory.
            --rules tables leaves the kernel alone: of the layout's rules, those about the tables as they are.
            Not given, --rules is layout where the target's layout has rules, else generic. With all a rule for any system that
            the layout breaks by design does not apply. A rule that finds a fault ends with status 1.
            """,
        options: tableOptions + [
            OptionDescription("layout", "NAME", "the rules of this layout, if not of the guest's own"),
            OptionDescription(
                "rules", "layout|tables|generic|all", "the layout's rules, those for any system, or both"),
            OptionDescription("consistent", nil, "pause the vCPUs while the rules for any system read the tables"),
            OptionDescription("timeout", "SECONDS", "how long the guest's kernel has for each answer, 10 if not given"),
        ],
        formats: forms,
        examples: [
            ("vitrine audit a", "every rule of the guest's layout"),
            ("vitrine audit a --layout osv --json", "the rules of osv, for a program"),
            ("vitrine audit a --timeout 60", "on a host with more to do than it has processors for"),
            ("vitrine audit qmp:/run/vm.sock", "the rules for any system, on a machine of QEMU"),
            ("vitrine audit core:vm.core --rules generic", "the same on a core"),
        ],
        run: { arguments, output in
            let form = try form(arguments)
            let name = try arguments.operand("TARGET")
            try arguments.end()
            let target = try Targets.open(name)
            let chosen = try layout(arguments, of: target)
            let hasRules = chosen.map { Audit.layouts.contains($0.name) } ?? false
            let rules = try auditRules(arguments, hasRules: hasRules)
            let looksAtAnySystem = rules == .generic || rules == .all
            let patience = try arguments.seconds("timeout") ?? 10
            if rules != .generic {
                guard hasRules else {
                    throw UsageError(
                        "'\(name)' has no layout with rules; --layout names one: "
                            + Audit.layouts.joined(separator: ", ") + "; --rules generic needs none")
                }
                for option in ["root", "paging", "stage"] where arguments.value(option) != nil {
                    throw UsageError("--\(option) goes with --rules generic only: a layout's rules are about one root")
                }
            }
            var results: [AuditResult] = []
            if rules != .generic {
                let vcpu = try arguments.number("vcpu", in: 0...max(0, target.vcpuCount - 1)) ?? 0
                let subject = try subject(arguments, target: target)
                let guest = TargetGuest(target, subject: subject, vcpu: vcpu, patience: patience)
                results += Audit.run(chosen?.name ?? "", guest, tablesOnly: rules == .tables)?.results ?? []
            }
            let pause = arguments.flag("consistent") && looksAtAnySystem ? try Pause(target) : nil
            let subject = try subject(arguments, target: target)
            if looksAtAnySystem {
                results += Audit.generic(subject, types: try memoryTypes(of: target), excusing: rules == .all).results
            }
            pause?.end()
            try target.checkReads()
            let report = AuditReport(
                target: target.name, layout: subject.layout?.name, ruleSet: rules, results: results)
            switch form {
            case .text: try output.write(report.text(isColoured: output.isColoured))
            case .json: try output.write(bytes: report.json)
            case .csv: try output.write(bytes: report.csv)
            }
            return report.passed ? .success : .fault
        })

    /// Which rules --rules means.
    private static func auditRules(_ arguments: Arguments, hasRules: Bool) throws -> AuditRules {
        guard let text = arguments.value("rules") else { return hasRules ? .layout : .generic }
        guard let rules = AuditRules(rawValue: text) else {
            throw UsageError(
                unknownName(text, among: AuditRules.allCases.map(\.rawValue), what: "--rules")
                    + " (layout, tables, generic or all)")
        }
        return rules
    }
}

// vitrine audit

import Inspection
import Layouts
import Options
import PageTables
import Targets

extension InspectionVerbs {
    static let audit = Verb(
        name: "audit", summary: "checks the live tables against the layout's rules",
        usage: "TARGET [options]",
        details: """
            Checks the tables of the boot stages and of now, and lets the guest's kernel allocate, map and protect to see what
            becomes of it; what that takes is given back. A rule that finds a fault ends with status 1.
            """,
        options: [
            OptionDescription("layout", "NAME", "the rules of this layout, if not of the guest's own"),
            OptionDescription("vcpu", "N", "the tables that this vCPU uses, 0 if not given"),
        ],
        formats: [.text, .json],
        examples: [
            ("vitrine audit a", "every rule of the guest's layout"),
            ("vitrine audit a --layout osv --json", "the rules of osv, for a program"),
        ],
        run: { arguments, output in
            let form = try form(arguments)
            let name = try arguments.operand("TARGET")
            try arguments.end()
            let target = try Targets.open(name)
            let chosen = try layout(arguments, of: target)
            guard let chosen, Audit.layouts.contains(chosen.name) else {
                throw UsageError(
                    "'\(name)' has no layout with rules; --layout names one: \(Audit.layouts.joined(separator: ", "))")
            }
            let vcpu = try arguments.number("vcpu", in: 0...max(0, target.vcpuCount - 1)) ?? 0
            let subject = try subject(arguments, target: target)
            guard let report = Audit.run(chosen.name, TargetGuest(target, subject: subject, vcpu: vcpu)) else {
                throw UsageError("the layout \(chosen.name) has no rules")
            }
            switch form {
            case .text: try output.write(report.text)
            case .json: try output.write(bytes: report.json)
            }
            return report.passed ? .success : .fault
        })
}

// What an audit is made of: rules, what they expect, and what was found.

import Addresses
import JSON

/// What a rule found.
public enum AuditFinding: Sendable, Equatable {
    /// As expected; what was seen.
    case right(String)
    /// Not as expected; what was seen instead.
    case wrong(String)
    /// The rule is about something that this guest does not have.
    case notApplicable(String)

    /// What was seen, or why nothing was looked at.
    public var text: String {
        switch self {
        case .right(let text), .wrong(let text), .notApplicable(let text): return text
        }
    }
}

/// A rule and its outcome.
public struct AuditResult: Sendable, Equatable {
    /// The rule, in a few words.
    public let rule: String
    /// What it expects.
    public let expected: String
    /// What was found.
    public private(set) var finding: AuditFinding
    /// How many places the finding is about, where it is about places.
    public private(set) var count: UInt64 = 0
    /// The first few of them.
    public private(set) var examples: [AuditExample] = []

    /// A rule that was checked; what `check` throws is a fault.
    init(_ rule: String, expected: String, _ check: () throws -> AuditFinding) {
        self.rule = rule
        self.expected = expected
        do { finding = try check() } catch { finding = .wrong("\(error)") }
    }

    /// The rule as a word: what a kernel that breaks it is told by `--append break=ID`.
    public var id: String {
        var id = ""
        for character in rule.lowercased() {
            if character.isLetter || character.isNumber {
                id.append(character)
            } else if !id.isEmpty && id.last != "-" {
                id.append("-")
            }
        }
        return id.hasSuffix("-") ? String(id.dropLast()) : id
    }

    /// A rule about places, which `check` gathers.
    init(_ rule: String, expected: String, _ check: (inout AuditExamples) -> AuditFinding) {
        self.rule = rule
        self.expected = expected
        var found = AuditExamples()
        finding = check(&found)
        count = found.count
        examples = found.kept
    }

    /// The same outcome, which is no fault for a reason.
    func excused(because reason: String) -> AuditResult {
        var result = self
        if case .wrong(let text) = finding { result.finding = .notApplicable("\(reason): \(text)") }
        return result
    }

    /// False if the rule found a fault.
    public var passed: Bool {
        if case .wrong = finding { return false }
        return true
    }
}

/// The outcome of all rules.
public struct AuditReport: Sendable {
    /// What the user called the guest.
    public let target: String
    /// The layout whose rules these are, or nil if none is known.
    public let layout: String?
    /// Which rules were checked: `layout`, `generic` or `all`.
    public let ruleSet: AuditRules
    /// Every rule, in the order checked.
    public let results: [AuditResult]

    /// A report.
    public init(target: String, layout: String?, ruleSet: AuditRules = .layout, results: [AuditResult]) {
        self.ruleSet = ruleSet
        self.target = target
        self.layout = layout
        self.results = results
    }

    /// Whether no rule found a fault.
    public var passed: Bool { results.allSatisfy(\.passed) }

    private var skipped: Int {
        results.reduce(0) { count, result in
            if case .notApplicable = result.finding { return count + 1 }
            return count
        }
    }

    /// The report for people.
    public var text: String { text(isColoured: false) }

    /// The report for people.
    public func text(isColoured: Bool) -> String {
        func paint(_ text: String, _ style: TextStyle) -> String { isColoured ? style.applied(to: text) : text }
        /// A verdict, and what was found.
        func lines(_ verdict: String, _ style: TextStyle, _ rest: String) -> [String] {
            var lines = wrapped(verdict.padding(to: 6) + rest)
            lines[0] = paint(verdict, style) + lines[0].dropFirst(verdict.count)
            return lines
        }
        let name = layout.map { "layout \($0)" }
        let about =
            switch ruleSet {
            case .layout: name ?? "no layout"
            case .tables: (name ?? "no layout") + ", its tables"
            case .generic: "the rules for any system" + (name.map { ", \($0)" } ?? "")
            case .all: (name ?? "no layout") + " and the rules for any system"
            }
        var report = [paint("\(target): audit of \(about)", .heading)]
        for result in results {
            switch result.finding {
            case .right(let found): report += lines("ok", .good, "\(result.rule): \(found)")
            case .notApplicable(let reason): report += lines("skip", .faint, "\(result.rule): \(reason)")
            case .wrong(let found):
                report += lines("FAIL", .bad, result.rule)
                report += wrapped("        expected: \(result.expected)")
                report += wrapped("        found:    \(found)")
            }
        }
        let failed = results.filter { !$0.passed }.count
        report.append(
            "\(counted(results.count, "rule")): \(results.count - failed - skipped) passed, \(failed) failed, "
                + "\(skipped) not applicable")
        return report.joined(separator: "\n") + "\n"
    }

    /// Lines of at most 100 columns, continued under the rule's name.
    private func wrapped(_ text: String) -> [String] {
        var lines: [String] = []
        var line = ""
        var isFirst = true
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            if line.count + word.count + 1 > 100 && !line.isEmpty {
                lines.append(line)
                line = "        " + word
            } else {
                line += (isFirst ? "" : " ") + word
            }
            isFirst = false
        }
        lines.append(line)
        return lines
    }

    /// The report for programs, schema vitrine.audit/1.
    public var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("schema", "vitrine.audit/1")
            writer.member("target", target)
            writer.member("layout", layout)
            writer.member("ruleSet", ruleSet.rawValue)
            writer.member("passed", passed)
            writer.key("rules")
            writer.array { writer in
                for result in results {
                    writer.object { writer in
                        AuditReport.columns.members(of: result, into: &writer)
                        if result.count > 0 {
                            writer.key("examples")
                            writer.array { writer in for example in result.examples { example.write(into: &writer) } }
                        }
                    }
                }
            }
        }
        writer.newline()
        return writer.bytes
    }

    /// The report as CSV, a line a rule.
    public var csv: [UInt8] { AuditReport.columns.csv(results) }

    /// The fields of a rule.
    private static let columns = Columns<AuditResult>(
        Column("rule") { .text($0.rule) },
        Column("id") { .text($0.id) },
        Column("passed") { .flag($0.passed) },
        Column("skipped") { result in
            if case .notApplicable = result.finding { return .flag(true) }
            return .absent
        },
        Column("expected") { .text($0.expected) },
        Column("found") { .text($0.finding.text) },
        Column("detail") { .text($0.finding.text) },
        Column("count") { $0.count > 0 ? .unsigned(UInt64($0.count)) : .absent })
}

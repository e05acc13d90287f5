// What GDB's user asks with `monitor LINE`: Vitrine's verbs, about the guest that is debugged.

import Targets

/// The commands of `monitor`.
enum DebuggerCommands {
    /// Verbs that look at a guest and come to an end.
    private static let verbs = ["pages", "translate", "aliases", "ept", "search", "audit", "exec", "list"]

    /// The answer to a line, errors included.
    static func answer(_ line: String, target: String) -> String {
        let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\n" }).map(String.init)
        guard let first = words.first, first != "help" else { return help }
        if first == "info", words.count >= 2, "registers".hasPrefix(words[1]) {
            return registers(target, vcpu: words.dropFirst(2).first.flatMap { Int($0) } ?? 0)
        }
        guard verbs.contains(first) else { return "no command '\(first)'\n\(help)" }
        let operands = first == "list" ? [] : [target]
        return run([first] + operands + words.dropFirst())
    }

    private static let help = """
        monitor VERB [options]: what 'vitrine VERB TARGET' prints, about this guest.
          pages, translate VA..., aliases va:VA|pa:PA, ept, search PATTERN, audit, list
          info registers [VCPU]

        """

    /// Runs a verb and gives what it prints.
    private static func run(_ words: [String]) -> String {
        let output = Output(keeping: ())
        var message = ""
        do {
            _ = try CommandLineInterface.dispatch(words, verbs: allVerbs, output: output)
            try output.finish()
        } catch {
            try? output.flush()
            if let text = Failure(error).message { message = "vitrine: \(text)\n" }
        }
        return String(decoding: output.kept ?? [], as: UTF8.self) + message
    }

    private static func registers(_ target: String, vcpu: Int) -> String {
        let registers: TargetRegisters
        do { registers = try Targets.openGuest(target).registers(vcpu: vcpu) } catch { return "vitrine: \(error)\n" }
        func hex(_ value: UInt64) -> String {
            let digits = String(value, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        var text = ""
        for (index, register) in registers.values.enumerated() {
            let label = register.name + padding(15 - register.name.count)
            text += label + hex(register.value) + (index % 3 == 2 ? "\n" : "  ")
        }
        if !registers.values.count.isMultiple(of: 3) { text += "\n" }
        for (name, segment) in registers.segments {
            text +=
                "\(name)\(padding(4 - name.count)) \(hex(UInt64(segment.selector)).suffix(4)) base \(hex(segment.base))"
            text +=
                " limit \(hex(UInt64(segment.limit)).suffix(8)) attributes \(hex(UInt64(segment.attributes)).suffix(4))\n"
        }
        return text
    }
}

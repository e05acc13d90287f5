// From the words of the command line to a verb and its exit status.

import Options

/// The command `vitrine`.
enum CommandLineInterface {
    /// The version that `--version` prints.
    static let version = "0.1.0"
    /// The day of that version, as manual pages have it.
    static let date = "November 21, 2026"

    /// What this is.
    static let introduction = """
        vitrine: a KVM hypervisor with glass walls. It runs a kernel and shows the whole way of its addresses, live:
        guest virtual -> guest physical -> host virtual -> host physical.
        """

    /// What all verbs have in common.
    static let conventions = """
        TARGET is the name of a guest that `vitrine run` started. `vitrine list` shows them.
        Sizes: 64M, 1G, 4096. Addresses: hexadecimal, with or without 0x, underscores allowed.
        """

    /// A guest's life in four lines.
    static let examples = [
        "vitrine run --name a --memory 256M --cpus 2 --detach --wait-ready 10",
        "vitrine translate a 0xffff800000200000", "vitrine map a", "vitrine stop a",
    ]

    /// Runs the command; `words` begins with the program's name.
    static func run(_ words: [String], verbs: [Verb], output: Output) -> ExitStatus {
        do {
            let status = try dispatch(Array(words.dropFirst()), verbs: verbs, output: output)
            try output.finish()
            return status
        } catch {
            let failure = Failure(error)
            if !(error is ClosedPipe) { try? output.flush() }
            output.progress?.end()
            if let message = failure.message { complain(message) }
            return failure.status
        }
    }

    /// Runs the verb that the words name.
    static func dispatch(_ words: [String], verbs: [Verb], output: Output) throws -> ExitStatus {
        guard let first = words.first else {
            try output.write(help(verbs))
            return .usage
        }
        switch first {
        case "--help", "-h", "help":
            if words.count > 1, let verb = verbs.first(where: { $0.name == words[1] }) {
                try output.write(verb.help)
            } else {
                try output.write(help(verbs))
            }
            return .success
        case "--version":
            try output.line("vitrine \(version)")
            return .success
        default: break
        }
        guard let verb = verbs.first(where: { $0.name == first }) else {
            if first.hasPrefix("-") {
                throw UsageError(
                    unknownName(
                        String(first.drop { $0 == "-" }), among: ["help", "version"], what: "option", prefix: "--")
                        + " (see vitrine --help)")
            }
            throw UsageError(
                unknownName(first, among: verbs.filter { !$0.isHidden }.map(\.name), what: "verb")
                    + " (see vitrine --help)")
        }
        let rest = Array(words.dropFirst())
        // Help wins over anything else that may be wrong with the line, but not over the words of a literal command.
        let ownWords = rest.prefix { $0 != "--" }.prefix(verb.literalAfter ?? Int.max)
        if ownWords.contains("--help") || ownWords.contains("-h") {
            try output.write(verb.help)
            return .success
        }
        var arguments = try Arguments(rest, known: verb.allOptions, literalAfter: verb.literalAfter)
        try output.prepare(arguments, for: verb)
        return try verb.run(&arguments, output)
    }

    /// What `vitrine --help` prints.
    static func help(_ verbs: [Verb]) -> String {
        var text = """
            \(introduction)

            Usage:
              vitrine VERB [arguments]      vitrine VERB --help explains a verb, with examples

            Verbs:

            """
        let verbs = verbs.filter { !$0.isHidden }
        let width = verbs.map(\.name.count).max() ?? 0
        for verb in verbs { text += "  \(verb.name)\(padding(width - verb.name.count))  \(verb.summary)\n" }
        text += """

            \(conventions)

            \(ExitStatus.help)

            Examples:

            """
        for example in examples { text += "  \(example)\n" }
        return text
    }
}

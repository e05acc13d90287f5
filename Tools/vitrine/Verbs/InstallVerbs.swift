// The verbs that an installation is made with: completions, and what nobody needs to type.

import Options

/// The verbs about the command line itself, in the order of the help.
enum InstallVerbs {
    static let all: [Verb] = [completions, complete, manualPage]

    static let completions = Verb(
        name: "completions", summary: "what makes a shell complete command lines of vitrine", usage: "bash|zsh|fish",
        details: """
            Prints the shell's side. It asks vitrine itself for verbs, options, their values and the names of guests that
            run, so it fits every version. make install and the Debian package put it where shells look for it.
            """,
        examples: [
            ("source <(vitrine completions bash)", "in this bash; a line for ~/.bashrc as well"),
            (
                "vitrine completions zsh > ~/.zfunc/_vitrine",
                "for a zsh with ~/.zfunc in its fpath; compinit reads it at the next start"
            ),
            ("vitrine completions fish > ~/.config/fish/completions/vitrine.fish", "for every fish from now on"),
        ]
    ) { arguments, output in
        let name = try arguments.operand("bash, zsh or fish")
        try arguments.end()
        guard let shell = Shell(rawValue: name) else {
            throw UsageError(
                unknownName(name, among: Shell.allCases.map(\.rawValue), what: "shell") + " (bash, zsh or fish)")
        }
        try output.write(shell.script)
        return .success
    }

    /// For the shells' scripts.
    static let complete = Verb(
        name: "complete", summary: "what a word may become", usage: "-- WORD...", isHidden: true,
        examples: [("vitrine complete -- pages --vi", "words, then a line for each: --view, a tab, what it does")]
    ) { arguments, output in
        let completions = Completions(arguments.remainingOperands(), verbs: allVerbs)
        try output.line(completions.wantsFile ? "files" : "words")
        for candidate in completions.candidates {
            try output.line(candidate.note.isEmpty ? candidate.word : candidate.word + "\t" + candidate.note)
        }
        return .success
    }

    /// For make install.
    static let manualPage = Verb(
        name: "manual-page", summary: "a manual page, section 1", usage: "[PROGRAM]", isHidden: true,
        examples: [("vitrine manual-page vitrine-qemu > vitrine-qemu.1", "the page of that program, in mdoc")]
    ) { arguments, output in
        let name = arguments.optionalOperand() ?? "vitrine"
        try arguments.end()
        guard let page = ManualPage.named(name) else {
            throw UsageError(
                unknownName(name, among: ManualPage.names, what: "program")
                    + " (there are: \(ManualPage.names.joined(separator: ", ")))")
        }
        try output.write(page)
        return .success
    }
}

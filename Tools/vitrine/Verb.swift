// What a verb is, and the help made of it.

import Options

/// A form of output.
enum OutputFormat: String, CaseIterable {
    case text
    case json
    case csv
    case svg
    case html
}

/// One verb of the command line, as data.
struct Verb: Sendable {
    /// The word: `translate`.
    let name: String
    /// What it does, in a few words, for the list of verbs.
    let summary: String
    /// What follows `vitrine NAME `: `TARGET VA... [options]`.
    let usage: String
    /// More about it, in lines of at most 100 columns; may be empty.
    var details = ""
    /// Its options, without --help and those that `formats` brings.
    var options: [OptionDescription] = []
    /// The forms of output it has, its default first. Empty: it prints no data, and has no --format.
    var formats: [OutputFormat] = []
    /// Whether to say on a terminal, after a second, that it is still at work; not for one that waits for events.
    var showsProgress = true
    /// After that many operands all words are operands, dashes or not.
    var literalAfter: Int?
    /// Whether the list of verbs leaves it out: it is for programs.
    var isHidden = false
    /// Command lines with what each does.
    let examples: [(command: String, effect: String)]
    /// Does the work. What is thrown becomes a message and an exit status (`Failure`).
    let run: @Sendable (inout Arguments, Output) throws -> ExitStatus

    /// Every option, those that all verbs have included.
    var allOptions: [OptionDescription] {
        var all = options
        if !formats.isEmpty {
            all.append(
                OptionDescription(
                    "format", formats.map(\.rawValue).joined(separator: "|"),
                    "form of the output, \(formats[0].rawValue) if not given"))
            if formats.contains(.json) { all.append(OptionDescription("json", nil, "the same as --format json")) }
            all.append(
                OptionDescription("output", "FILE", "write to this file, which is there only when it is whole"))
            if formats.contains(.text) {
                let choices = ColourChoice.allCases.map(\.rawValue).joined(separator: "|")
                all.append(OptionDescription("color", choices, "auto, if not given: colours on a terminal only"))
            }
        }
        all.append(OptionDescription("help", nil, "this text"))
        return all
    }

    /// What `vitrine NAME --help` prints.
    var help: String {
        var text = "vitrine \(name): \(summary)\n\nUsage:\n  vitrine \(name)\(usage.isEmpty ? "" : " " + usage)\n"
        if !details.isEmpty { text += "\n\(details)\n" }
        text += "\nOptions:\n"
        let options = allOptions.filter { !$0.isHidden }
        let names = options.map { "--\($0.name)" + ($0.value.map { " " + $0 } ?? "") }
        let width = min(names.map(\.count).max() ?? 0, 28)
        for (option, name) in zip(options, names) {
            let gap = name.count > width ? "\n" + padding(width + 2) : padding(width - name.count)
            text += "  \(name)\(gap)  \(option.summary)\n"
        }
        text += "\nExamples:\n"
        for example in examples { text += "  \(example.command)\n      \(example.effect)\n" }
        return text
    }
}

/// That many blanks.
func padding(_ count: Int) -> String { String(repeating: " ", count: max(count, 0)) }

extension Output {
    /// Colours and file as the options that all verbs with data have say it.
    func prepare(_ arguments: Arguments, for verb: Verb) throws {
        guard !verb.formats.isEmpty else { return }
        if let path = arguments.value("output") {
            guard !path.isEmpty else { throw UsageError("--output needs the name of a file") }
            try redirect(to: path)
        }
        let format = try arguments.format(verb.formats)
        if isTerminal && (format == .svg || format == .html) {
            throw UsageError("--format \(format.rawValue) is nothing to read on a terminal: give --output FILE")
        }
        if verb.showsProgress {
            let words = ["vitrine", verb.name] + arguments.operands.prefix(1)
            progress = Progress(words.joined(separator: " "))
        }
        var choice = ColourChoice.auto
        if let text = arguments.value("color") {
            guard let named = ColourChoice(rawValue: text) else {
                throw UsageError("--color \(text): auto, always or never")
            }
            choice = named
        }
        colour(choice)
    }
}

extension Arguments {
    /// The form of output that was asked for, of those a verb has (its default first).
    func format(_ formats: [OutputFormat]) throws(UsageError) -> OutputFormat {
        if flag("json") {
            if let named = value("format"), named != "json" {
                throw UsageError("--json and --format \(named) contradict each other")
            }
            return .json
        }
        guard let named = value("format") else { return formats.first ?? .text }
        guard let format = OutputFormat(rawValue: named), formats.contains(format) else {
            throw UsageError("--format \(named): this verb has \(formats.map(\.rawValue).joined(separator: ", "))")
        }
        return format
    }
}

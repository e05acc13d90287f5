// Text in the language of manual pages, mdoc(7).

/// A manual page while it is written.
struct Mdoc {
    /// What is there so far.
    private(set) var text = ""

    /// Lines of text are at most so long.
    private static let width = 78

    /// A page up to its synopsis.
    init(_ name: String, _ purpose: String) {
        lines([
            // The day of the version, not of the build.
            ".Dd " + CommandLineInterface.date, ".Dt " + name.uppercased() + " 1",
            ".Os Vitrine " + CommandLineInterface.version, ".Sh NAME", ".Nm " + name, ".Nd " + purpose, ".Sh SYNOPSIS",
        ])
    }

    /// Adds lines as they are.
    mutating func lines(_ lines: [String]) { for line in lines { text += line + "\n" } }

    /// Begins a section.
    mutating func section(_ name: String) { lines([".Sh " + name]) }

    /// Text in the form that help has: paragraphs with an empty line between them; lines that begin with a blank stay as they are.
    mutating func paragraphs(_ source: String) {
        var words: [Substring] = []
        var kept: [String] = []
        // An empty line before more text.
        var isParagraph = false
        for line in source.split(separator: "\n", omittingEmptySubsequences: false) {
            let isKept = line.hasPrefix(" ")
            if !isKept { flushLiteral(&kept) }
            if isKept || line.isEmpty { flushWords(&words) }
            if isKept {
                kept.append(String(line.drop { $0 == " " }))
            } else if line.isEmpty {
                isParagraph = true
            } else {
                if isParagraph { lines([".Pp"]) }
                isParagraph = false
                words += line.split(separator: " ")
            }
        }
        flushLiteral(&kept)
        flushWords(&words)
    }

    private mutating func flushLiteral(_ kept: inout [String]) {
        if !kept.isEmpty { literal(kept) }
        kept = []
    }

    private mutating func flushWords(_ words: inout [Substring]) {
        var line = ""
        for word in words {
            // A sentence begins a line, as the language wants it.
            if !line.isEmpty, line.utf8.count + 1 + word.utf8.count > Mdoc.width || line.hasSuffix(".") {
                lines([Mdoc.escapedLine(line)])
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        if !line.isEmpty { lines([Mdoc.escapedLine(line)]) }
        words = []
    }

    /// Lines that stay as they are.
    mutating func literal(_ source: [String]) {
        lines([".Bd -literal -offset indent"] + source.map(Mdoc.escapedLine) + [".Ed"])
    }

    /// Terms with what they mean; a term may begin with a macro.
    mutating func list(_ items: [(term: String, meaning: String)]) {
        lines([".Bl -tag -width Ds"])
        for item in items {
            lines([".It " + (item.term.hasPrefix(".") ? String(item.term.dropFirst()) : item.term)])
            paragraphs(item.meaning)
        }
        lines([".El"])
    }

    /// Other pages, each with its section, in the order of sections and names.
    mutating func seeAlso(_ pages: [String]) {
        section("SEE ALSO")
        lines(pages.enumerated().map { ".Xr " + $1 + ($0 + 1 < pages.count ? " ," : "") })
    }

    /// Text that stands for itself: a backslash is none of the language, a dash is a minus sign.
    static func escaped(_ source: String) -> String {
        source.map { $0 == "\\" ? "\\e" : $0 == "-" ? "\\-" : String($0) }.joined()
    }

    /// The same for a line, which is not to be taken for a macro.
    private static func escapedLine(_ source: String) -> String {
        (source.hasPrefix(".") || source.hasPrefix("'") ? "\\&" : "") + escaped(source)
    }
}

// What a shell may complete a command line with. The shells' own scripts ask for it (`vitrine complete`), so that verbs, options and
// values are those of the tables that also make help and parsing, and guests are those that run now.

import Glibc
import GuestFolders
import Layouts
import Options
import SystemCalls

/// What the word that is being typed may become.
struct Completions {
    /// A word with what it means, if that is known.
    struct Candidate {
        let word: String
        let note: String
    }

    /// The words, in the order to show them.
    private(set) var candidates: [Candidate] = []
    /// Whether a file is wanted, which the shell completes itself.
    private(set) var wantsFile = false

    private let verbs: [Verb]
    /// The word that is being typed.
    private let word: String

    /// - Parameter words: the words behind the program's name up to the one that is being typed, which may be empty.
    init(_ words: [String], verbs: [Verb]) {
        self.verbs = verbs
        word = words.last ?? ""
        let before = Array(words.dropLast())
        guard let first = before.first else {
            addVerbs()
            for (name, note) in [("--help", "all verbs"), ("--version", "the version")] { add(name, note) }
            return
        }
        if first == "help" {
            if before.count == 1 { addVerbs() }
            return
        }
        guard let verb = verbs.first(where: { $0.name == first }) else { return }
        complete(verb, Array(before.dropFirst()))
    }

    private mutating func complete(_ verb: Verb, _ before: [String]) {
        let options = verb.allOptions.filter { !$0.isHidden }
        var given: Set<String> = []
        var operands = 0
        var isLiteral = false
        var wanting: OptionDescription?
        for earlier in before {
            if wanting != nil {
                wanting = nil
            } else if isLiteral {
                operands += 1
            } else if earlier == "--" {
                isLiteral = true
            } else if earlier.hasPrefix("--") {
                let parts = earlier.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                let option = options.first { $0.name == parts.first.map(String.init) }
                if let option, !option.isRepeated { given.insert(option.name) }
                if parts.count == 1, option?.value != nil { wanting = option }
            } else {
                operands += 1
                isLiteral = operands == verb.literalAfter
            }
        }
        if let wanting {
            addValues(of: wanting, prefix: "")
            return
        }
        if !isLiteral, word.hasPrefix("--"), let equals = word.firstIndex(of: "=") {
            let name = word[..<equals].dropFirst(2)
            guard let option = options.first(where: { $0.name == name && $0.value != nil }) else { return }
            addValues(of: option, prefix: String(word[...equals]))
            return
        }
        let kinds = verb.operandKinds
        if !isLiteral, word.hasPrefix("-") || operands >= kinds.count {
            for option in options where !given.contains(option.name) { add("--" + option.name, option.summary) }
            return
        }
        guard operands < kinds.count else { return }
        addOperands(kinds[operands])
    }

    private mutating func addVerbs() {
        for verb in verbs where !verb.isHidden { add(verb.name, verb.summary) }
        add("help", "help about a verb")
    }

    private mutating func addOperands(_ kind: OperandKind) {
        switch kind {
        case .guest: addGuests()
        case .target:
            addGuests()
            for (prefix, note) in [
                ("core:", "an ELF core or an image of RAM"), ("qmp:", "a QEMU, by its monitor"),
                ("libvirt:", "a domain of libvirt's"), ("pid:", "a process with a VM"),
            ] where !word.hasPrefix(prefix) { add(prefix, note) }
            for prefix in ["core:", "qmp:"] where word.hasPrefix(prefix) { addFiles(behind: prefix) }
        case .file: wantsFile = true
        case .layout: addLayouts("")
        case .choice(let words): for choice in words { add(choice, "") }
        case .other: break
        }
    }

    /// The guests of this user that run.
    private mutating func addGuests() {
        guard let guests = try? RuntimeFolder.ofThisUser().guests() else { return }
        for guest in guests where guest.pid() != nil { add(guest.name, "a guest") }
    }

    private mutating func addLayouts(_ prefix: String) {
        for layout in Layout.all { add(prefix + layout.name, "a memory layout") }
    }

    /// The values that an option's description names.
    private mutating func addValues(of option: OptionDescription, prefix: String) {
        guard let value = option.value else { return }
        let choices = value.split(separator: "|").map(String.init)
        if value == "FILE" {
            wantsFile = prefix.isEmpty
            if !prefix.isEmpty { addFiles(behind: prefix) }
        } else if option.name == "layout" {
            addLayouts(prefix)
        } else if choices.count > 1 {
            for choice in choices {
                // `file:PATH`: the word is what stands before it.
                guard let colon = choice.firstIndex(of: ":") else {
                    add(prefix + choice, "")
                    continue
                }
                let kind = prefix + choice[...colon]
                if word.hasPrefix(kind), choice.hasSuffix("PATH") { addFiles(behind: kind) } else { add(kind, "") }
            }
        }
    }

    /// Files as part of a word, which shells do not complete by themselves.
    private mutating func addFiles(behind prefix: String) {
        let path = String(word.dropFirst(prefix.count))
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        let typed = path.dropFirst(folder.count)
        for name in ((try? Files.names(in: folder.isEmpty ? "." : folder)) ?? []).sorted()
        where name != "." && name != ".." && (!name.hasPrefix(".") || typed.hasPrefix(".")) {
            let isFolder = (try? Files.status(of: folder + name))?.kind == .folder
            add(prefix + folder + name + (isFolder ? "/" : ""), "")
        }
    }

    private mutating func add(_ candidate: String, _ note: String) {
        if candidate.hasPrefix(word) { candidates.append(Candidate(word: candidate, note: note)) }
    }
}

/// What an operand of a verb is.
enum OperandKind: Equatable {
    /// A guest of this user.
    case guest
    /// Whatever can be looked at.
    case target
    case file
    case layout
    /// One of these words.
    case choice([String])
    /// Nothing that is known beforehand.
    case other
}

extension Verb {
    /// What its operands are, in their order, read off its usage.
    var operandKinds: [OperandKind] {
        let looks = InspectionVerbs.all.contains { $0.name == name }
        var kinds: [OperandKind] = []
        // How many brackets with options in them are open.
        var depth = 0
        for word in usage.split(separator: " ") {
            if depth > 0 || word.hasPrefix("[-") || word.hasPrefix("[options") {
                for letter in word where letter == "[" || letter == "]" { depth += letter == "[" ? 1 : -1 }
                continue
            }
            let operand = word.filter { !"[].".contains($0) }
            switch operand {
            // Another way to write it.
            case "or": return kinds
            case "TARGET", "A", "B": kinds.append(looks ? .target : .guest)
            case "FILE": kinds.append(.file)
            case "LAYOUT": kinds.append(.layout)
            default:
                let choices = operand.split(separator: "|").map(String.init)
                kinds.append(choices.count > 1 && !operand.contains(":") ? .choice(choices) : .other)
            }
        }
        return kinds
    }
}

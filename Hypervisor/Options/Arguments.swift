// The words of a command line, sorted into options and operands.
//
// Options are `--name value`, `--name=value` and flags `--name`; `--` ends them. Which options there are is data
// (`OptionDescription`), so that help, parsing and the suggestion for a mistyped name cannot disagree.

/// One option that a command knows.
public struct OptionDescription: Sendable {
    /// The name without its dashes: `memory`.
    public let name: String
    /// What stands for the value in help texts: `SIZE`. Nil: the option is a flag and takes none.
    public let value: String?
    /// What the option does, in one line.
    public let summary: String
    /// Whether it may be given several times.
    public let isRepeated: Bool
    /// Whether help leaves it out: it is for programs, or there only to be refused with a reason.
    public let isHidden: Bool

    /// An option; `value` nil makes it a flag.
    public init(
        _ name: String, _ value: String? = nil, _ summary: String, repeated: Bool = false, hidden: Bool = false
    ) {
        self.name = name
        self.value = value
        self.summary = summary
        self.isRepeated = repeated
        self.isHidden = hidden
    }
}

/// A command line that cannot be understood; the message says what is wrong and, where it helps, what was meant.
public struct UsageError: Error, Equatable, CustomStringConvertible {
    /// The message, without a full stop.
    public let description: String

    /// An error with this message.
    public init(_ description: String) { self.description = description }
}

/// The parsed words after a command's name.
public struct Arguments: Sendable {
    /// Every value given for an option, by name, in order. A flag has the value "".
    public private(set) var options: [String: [String]] = [:]
    /// The words that are no options and were not taken yet.
    public private(set) var operands: [String] = []

    /// Parses `words` against the options a command knows.
    ///
    /// - Parameters:
    ///   - words: the words after the command's name.
    ///   - known: the options there are.
    ///   - literalAfter: after that many operands every further word is an operand, dashes or not (`exec`).
    public init(_ words: [String], known: [OptionDescription], literalAfter: Int? = nil) throws(UsageError) {
        var index = 0
        while index < words.count {
            let word = words[index]
            index += 1
            if word == "--" {
                operands += words[index...]
                return
            }
            guard word.utf8.count > 1, word.utf8.first == UInt8(ascii: "-") else {
                operands.append(word)
                if operands.count == literalAfter {
                    if index < words.count, words[index] == "--" { index += 1 }
                    operands += words[index...]
                    return
                }
                continue
            }
            guard word.hasPrefix("--") else {
                throw UsageError("unknown option '\(word)'; options begin with two dashes (see --help)")
            }
            let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = parts.first.map(String.init) ?? ""
            guard let option = known.first(where: { $0.name == name }) else {
                throw UsageError(
                    unknownName(name, among: known.filter { !$0.isHidden }.map(\.name), what: "option", prefix: "--")
                        + " (see --help)")
            }
            if option.value == nil {
                guard parts.count == 1 else { throw UsageError("--\(name) takes no value") }
                options[name] = [""]
                continue
            }
            let value: String
            if parts.count == 2 {
                value = String(parts[1])
            } else if index < words.count {
                value = words[index]
                index += 1
            } else {
                throw UsageError("--\(name) needs a value: --\(name) \(option.value ?? "")")
            }
            if let earlier = options[name], !option.isRepeated, earlier != [value] {
                throw UsageError("--\(name) is given twice")
            }
            if option.isRepeated { options[name, default: []].append(value) } else { options[name] = [value] }
        }
    }

    /// Whether a flag was given.
    public func flag(_ name: String) -> Bool { options[name] != nil }

    /// The value of an option, or nil if it was not given.
    public func value(_ name: String) -> String? { options[name]?.last }

    /// Every value of a repeated option, in order.
    public func values(_ name: String) -> [String] { options[name] ?? [] }

    /// The value of an option as a decimal number within `range`, or nil if the option was not given.
    public func number(_ name: String, in range: ClosedRange<Int>) throws(UsageError) -> Int? {
        guard let text = value(name) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw UsageError(
                "--\(name) \(text): a number from \(range.lowerBound) to \(range.upperBound) is needed")
        }
        return number
    }

    /// The value of an option as a time in seconds, above 0 and at most a year, or nil if the option was not given.
    public func seconds(_ name: String) throws(UsageError) -> Double? {
        guard let text = value(name) else { return nil }
        guard let seconds = Double(text), seconds > 0, seconds <= 31_536_000 else {
            throw UsageError("--\(name) \(text): a number of seconds above 0 is needed, as 5 or 0.25")
        }
        return seconds
    }

    /// Takes the next operand. `what` names it in the message when there is none: `TARGET`.
    public mutating func operand(_ what: String) throws(UsageError) -> String {
        guard let first = operands.first else { throw UsageError("\(what) is missing (see --help)") }
        operands.removeFirst()
        return first
    }

    /// Takes the next operand, or nil if there is none.
    public mutating func optionalOperand() -> String? {
        operands.isEmpty ? nil : operands.removeFirst()
    }

    /// Takes all the operands that are left.
    public mutating func remainingOperands() -> [String] {
        defer { operands = [] }
        return operands
    }

    /// Refuses operands that nobody took.
    public func end() throws(UsageError) {
        if let extra = operands.first { throw UsageError("unexpected '\(extra)' (see --help)") }
    }
}

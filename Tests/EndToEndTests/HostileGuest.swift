// The guests of Images/hostile/ends: what each does is said in its source, how it may end in its row.
//
// Each prints "NAME: begins" before it does its worst and "NAME: done" after it.

import Foundation
import TestSupport
import Testing

/// A hostile guest, and the ends that are right for it.
struct HostileGuest: CustomTestStringConvertible, Sendable {
    /// How a guest ends, or that it does not.
    enum End: String, Sendable {
        /// It did what it wanted and powered off; its process is gone.
        case powersOff
        /// It was ended with a report that speaks of a triple fault.
        case tripleFault
        /// It was ended with a report of an instruction that KVM cannot emulate.
        case notEmulated
        /// It reported a panic.
        case panics
        /// It halts for ever, and the monitor noticed.
        case halts
        /// It did what it wanted, and runs on.
        case goesOn
        /// It runs on, and never came to the end of what it wanted.
        case stands

        /// Whether it must have said that it is done.
        var isDone: Bool { [.powersOff, .panics, .halts, .goesOn].contains(self) }
    }

    /// Its image is hostile/NAME.elf.
    let name: String
    let ends: [End]
    let vcpus: Int
    /// What is tried on it besides what is tried on all.
    let trials: [Trial]
    /// A rule of the generic audit that has to be broken.
    let brokenRule: String?
    /// A counter of `vitrine list` that must not be 0.
    let counter: String?
    var testDescription: String { name }

    /// `vitrine VERB NAME ARGUMENTS`.
    struct Trial: Sendable {
        let verb: String
        var arguments: [String] = []
        var statuses: Set<Int32> = [0]
        /// What the verb is given to read.
        var input: String?
        /// After so many seconds it is ended (status 124).
        var limit: Double = 30

        static let watch = Trial(verb: "watch", arguments: ["--for", "0.3"])
        static let exec = Trial(verb: "exec", arguments: ["--timeout", "0.5", "stage"], statuses: [0, 1, 2, 3, 4])
        static let stop = Trial(verb: "stop", arguments: ["--timeout", "0.5"], statuses: [4])
        /// More than the queue and the FIFO hold, to a guest that reads nothing.
        static let input = Trial(
            verb: "console", statuses: [124], input: String(repeating: "hostile input\n", count: 80_000), limit: 1)
    }

    /// What is tried on some besides.
    private static let trials: [String: [Trial]] = [
        "unbacked-storm": [.watch, .exec],
        "tables-arena": [.watch, .watch],
        "root-switch": [.watch],
        "serial-deaf": [.input, .exec],
        "programs-flood": [.watch, .exec],
        "monitor-line": [.exec],
        "monitor-answers": [.exec],
        "monitor-blank": [.exec],
        "monitor-cut": [.exec],
        "request-deaf": [.stop],
    ]
    private static let brokenRules = [
        "tables-each-other": "tables, loops",
        "tables-device": "tables, in RAM",
    ]
    private static let counters = ["unbacked-storm": "unbacked-reads", "stages-flood": "protocol-errors"]

    /// The rows of Images/hostile/ends.
    static let all: [HostileGuest] = {
        let file = Host.package.appending(path: "Images/hostile/ends")
        let text = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").compactMap { HostileGuest(row: $0) }
    }()

    /// A row: the name, how many vCPUs, the ends. nil for a comment, and for what is no row.
    private init?(row: Substring) {
        let words = row.split(separator: " ").map(String.init)
        guard row.first != "#", words.count >= 3, let vcpus = Int(words[1]) else { return nil }
        name = words[0]
        self.vcpus = vcpus
        ends = words[2...].compactMap { End(rawValue: $0) }
        guard ends.count == words.count - 2 else { return nil }
        trials = Self.trials[name] ?? []
        brokenRule = Self.brokenRules[name]
        counter = Self.counters[name]
    }

    /// So many at once; neighbours in the table, which are alike, are not in the same group.
    static let groups: [HostileGroup] = {
        let count = (all.count + 7) / 8
        return (0..<count).map { number in
            HostileGroup(guests: stride(from: number, to: all.count, by: count).map { all[$0] })
        }
    }()
}

/// Guests that run at the same time, beside one that is not hostile.
struct HostileGroup: CustomTestStringConvertible, Sendable {
    let guests: [HostileGuest]
    var testDescription: String { guests.map(\.name).joined(separator: ", ") }
}

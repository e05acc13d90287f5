// Guests that do their worst, one property each (Images/hostile): the monitor lives or ends the guest with a report, looking
// at it while it runs works, and its neighbours go on.

import Foundation
import GuestImages
import TestSupport
import Testing

/// A hostile guest that never ends by itself.
enum EndlessGuest: String, CaseIterable, CustomTestStringConvertible {
    case spin
    case tablesLoop = "tables-loop"
    case tablesRewrite = "tables-rewrite"
    case tablesOutside = "tables-outside"
    case portStorm = "port-storm"
    case ringStages = "ring-stages"
    case serialFlood = "serial-flood"

    var testDescription: String { rawValue }

    /// The rule for any system that must notice it.
    var brokenRule: String? {
        switch self {
        case .tablesLoop: "tables, loops"
        case .tablesOutside: "tables, in RAM"
        default: nil
        }
    }
}

/// The rules that an audit's JSON says are broken.
func brokenRules(_ audit: CommandResult) throws -> [String] {
    let rules = try #require(try audit.json()["rules"] as? [[String: Any]])
    return rules.filter { $0["passed"] as? Bool == false }.compactMap { $0["rule"] as? String }
}

/// The path of a hostile guest's image.
func hostileImage(_ name: String) throws -> String {
    try #require(GuestImages.path(of: "hostile/\(name).elf"), "hostile/\(name).elf was not built")
}

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct HostileGuests {
    let bench: Bench

    init() throws { bench = try Bench() }

    /// Runs a guest in the foreground to its end.
    func run(_ image: String, timeout: Double = 60) throws -> CommandResult {
        try bench.vitrine(
            "run", "--name", "hostile", "--kernel", hostileImage(image), "--memory", "64M", timeout: timeout)
    }

    /// A command about a hostile guest: it has to come back by itself, with a status that `vitrine` knows.
    @discardableResult
    func answered(_ words: [String], _ allowed: Set<Int32> = [0]) throws -> CommandResult {
        let result = try command(
            Host.binaries.appending(path: "vitrine").path, words, environment: bench.environment)
        #expect(
            allowed.contains(result.status),
            "\(words.joined(separator: " ")): \(result.status) \(result.errors) \(result.output.prefix(500))")
        return result
    }

    @Test(arguments: EndlessGuest.allCases) func endless(guest: EndlessGuest) throws {
        try bench.start("witness", ["--memory", "64M"])
        try bench.start("hostile", ["--kernel", hostileImage(guest.rawValue), "--memory", "64M"])
        try answered(["pages", "hostile"])
        try answered(["pages", "hostile", "--view", "tables"])
        try answered(["pages", "hostile", "--view", "tree"])
        try answered(["pages", "hostile", "--consistent", "--format", "json"])
        let translation = try answered(["translate", "hostile", "0x200000"])
        #expect(translation.output.contains("0x200000"))
        // Some of these are mapped at one moment and not at the next.
        try answered(["translate", "hostile", "0x8080604000", "0xfffffffff000", "0x10000000"], [0, 1, 2])
        try answered(["aliases", "hostile", "pa:0x201000"])
        try answered(["map", "hostile"])
        try answered(["audit", "hostile", "--layout", "osv", "--timeout", "1"], [1])
        let audit = try answered(["audit", "hostile", "--rules", "generic", "--json"], [0, 1])
        if let rule = guest.brokenRule { #expect(try brokenRules(audit).contains(rule), "\(audit.output)") }
        let list = try answered(["list", "--format", "json"]).output
        #expect(list.contains("hostile") && list.contains("witness"))
        // Nobody answers on COM2, or only nonsense.
        try answered(["exec", "hostile", "--timeout", "1", "stage"], [0, 1, 2, 3, 4])
        try answered(["pause", "hostile"])
        try answered(["pages", "hostile"])
        try answered(["resume", "hostile"])
        try answered(["reset", "hostile"])
        try answered(["translate", "hostile", "0x200000"])
        #expect(try bench.exec("witness", "stage") == [["stage": "R"]])
        try answered(["kill", "hostile"])
        #expect(try bench.exec("witness", "stage") == [["stage": "R"]])
        let rest = try answered(["list", "--format", "json"]).output
        #expect(!rest.contains("hostile") && rest.contains("witness"))
    }

    // MARK: Those of the table

    @Test func everyImageHasARow() throws {
        let folder = Host.package.appending(path: "Images/hostile").path
        let images = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".S") }
        let others = ["bare", "unbacked", "every-port", "every-port-end", "jump-nothing", "halt-off"]
        let rows = HostileGuest.all.map(\.name) + others + EndlessGuest.allCases.map(\.rawValue)
        #expect(Set(images) == Set(rows.map { $0 + ".S" }) && rows.count == images.count)
    }

    /// The memory of a process apart from the guest's, in KiB: its share of all that is mapped but of memory files.
    func ownMemory(_ pid: pid_t) throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(pid)/smaps", encoding: .utf8)
        var sum = 0
        var isGuests = false
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", omittingEmptySubsequences: true)
            guard let first = words.first else { continue }
            if !first.hasSuffix(":") {
                isGuests = words.count > 5 && words[5].hasPrefix("/memfd:")
            } else if first == "Pss:", !isGuests, words.count > 1 {
                sum += Int(words[1]) ?? 0
            }
        }
        return sum
    }

    /// What `vitrine list` says of a guest; nil if it is not there.
    func listed(_ name: String) throws -> [String: Any]? {
        let list = try answered(["list", "--json"]).json()
        let guests = try #require(list["guests"] as? [[String: Any]])
        return guests.first { $0["name"] as? String == name }
    }

    func printed(_ guest: HostileGuest) -> String {
        let bytes =
            (try? Data(contentsOf: URL(fileURLWithPath: "\(bench.runtime.path)/\(guest.name).console"))) ?? Data()
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Waits until a guest has come to an end of its row, or is at what it does for ever.
    func waitForEnd(_ guest: HostileGuest) throws -> HostileGuest.End? {
        let start = Date()
        while Date().timeIntervalSince(start) < 90 {
            guard let state = try listed(guest.name) else { return .powersOff }
            if state["state"] as? String == "guest-panicked" { return .panics }
            let crash = (state["crash"] as? [String] ?? []).joined(separator: "\n")
            if crash.contains("triple fault") { return .tripleFault }
            if crash.contains("cannot emulate") { return .notEmulated }
            if !crash.isEmpty {
                Issue.record("\(guest.name): \(crash)")
                return nil
            }
            if state["halted"] as? Bool == true { return .halts }
            let text = printed(guest)
            if text.contains("\(guest.name): done"), guest.ends.contains(.goesOn) { return .goesOn }
            let isLong = Date().timeIntervalSince(start) > 1.5
            if isLong, guest.ends.contains(.stands), text.contains("\(guest.name): begins") { return .stands }
            usleep(20_000)
        }
        return nil
    }

    func examine(_ guest: HostileGuest) throws {
        let name = guest.name
        let end = try waitForEnd(guest)
        let text = printed(guest)
        guard let end, guest.ends.contains(end) else {
            Issue.record(
                "\(name) \(end?.rawValue ?? "never ends"), but \(guest.ends.map(\.rawValue)): \(text.prefix(300))")
            try answered(["kill", name], [0, 3])
            return
        }
        #expect(text.contains("\(name): begins"), "\(name): \(text.prefix(300))")
        if end.isDone { #expect(text.contains("\(name): done"), "\(name): \(text.prefix(300))") }
        if end == .powersOff {
            try answered(["pages", name], [3])
            return
        }
        // A guest that may power off and has not said that it is done may do so at any moment (3).
        let mayLeave = end == .stands && guest.ends.contains(.powersOff)
        guard let known = try listed(name) else {
            #expect(mayLeave, "\(name) is gone")
            return
        }
        if end == .tripleFault || end == .notEmulated {
            let crash = (known["crash"] as? [String] ?? []).joined(separator: "\n")
            for word in ["rip", "cr3", "walk of RIP"] {
                #expect(crash.contains(word), "\(name): no \(word) in \(crash)")
            }
        }
        // A processor can be in a mode whose tables are not described (2 or 4), or an address not be mapped (1).
        let gone: Set<Int32> = mayLeave ? [3] : []
        let looks = gone.union([0, 1, 2, 4])
        try answered(["pages", name], looks)
        try answered(["pages", name, "--view", "tree"], looks)
        try answered(["translate", name, "0x200000", "0x8080604000"], looks)
        try answered(["map", name], looks)
        try answered(["ept", name, "--source", "computed"], looks)
        let audit = try answered(["audit", name, "--rules", "generic", "--json"], looks)
        if let rule = guest.brokenRule, end == .goesOn {
            #expect(try brokenRules(audit).contains(rule), "\(name): \(audit.output)")
        }
        for trial in guest.trials where end == .goesOn || end == .stands {
            let result = try command(
                Host.binaries.appending(path: "vitrine").path, [trial.verb, name] + trial.arguments,
                environment: bench.environment, input: trial.input, timeout: trial.limit)
            #expect(
                trial.statuses.contains(result.status),
                "\(trial.verb) \(name): \(result.status) \(result.errors) \(result.output.prefix(300))")
        }
        if let counter = guest.counter {
            let counters = try #require(try listed(name)?["counters"] as? [String: Any])
            #expect(try #require(counters[counter] as? Int) > 0)
        }
        try answered(["pause", name], gone.union([0, 4]))
        try answered(["resume", name], gone.union([0, 4]))
        if mayLeave, try listed(name) == nil { return }
        let pid = try #require((known["pid"] as? Int).map { pid_t($0) })
        // 1.5 MiB as a rule.
        if let memory = try? ownMemory(pid) {
            #expect(memory < 6 << 10, "\(name)")
        } else {
            #expect(mayLeave, "\(name): its memory cannot be read")
        }
        if end == .goesOn {
            // It begins anew, as it was handed over.
            try Data().write(to: URL(fileURLWithPath: "\(bench.runtime.path)/\(name).console"))
            try answered(["reset", name])
            let start = Date()
            while !printed(guest).contains("\(name): begins"), Date().timeIntervalSince(start) < 60 { usleep(10_000) }
            #expect(printed(guest).contains("\(name): begins"), "\(name) after a reset: \(printed(guest).prefix(300))")
        }
        try answered(["kill", name], [0, 3])
    }

    func start(_ guest: HostileGuest) throws {
        try bench.start(
            guest.name,
            [
                "--kernel", hostileImage(guest.name), "--memory", "64M", "--cpus", "\(guest.vcpus)", "--console",
                "file:\(bench.runtime.path)/\(guest.name).console",
            ], ready: false)
    }

    @Test(arguments: HostileGuest.groups) func ended(group: HostileGroup) throws {
        try bench.start("witness", ["--memory", "64M"])
        // Three at a time: those that loop for ever leave the processors to nobody.
        var waiting = group.guests[...]
        for (number, guest) in group.guests.enumerated() {
            while waiting.startIndex < min(number + 3, group.guests.count) {
                try start(waiting.removeFirst())
            }
            #expect(try bench.exec("witness", "stage") == [["stage": "R"]], "before \(guest.name)")
            try examine(guest)
        }
        #expect(try bench.exec("witness", "stage") == [["stage": "R"]])
        #expect(try ownMemory(#require(bench.processes().first)) < 6 << 10, "the witness")
        let rest = try answered(["list"]).lines
        #expect(rest.count == 2, "\(rest)")
    }

    // MARK: Those that need words of their own

    @Test func bareEndsAtOnce() throws {
        let result = try run("bare")
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func unbackedAddressesReadAllOnes() throws {
        let result = try run("unbacked")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("unbacked: all ones"))
    }

    @Test func aWriteToEveryPort() throws {
        let result = try run("every-port")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("every-port: written"))
    }

    @Test func aWriteToEveryPortAndThoseThatEnd() throws {
        // The panic port comes first.
        let result = try run("every-port-end")
        #expect(result.status == 5, "\(result.errors)")
        #expect(result.output.contains("every-port: written"))
        #expect(result.errors.contains("panic"), "\(result.errors)")
    }

    @Test func jumpIntoNothingIsReportedInFull() throws {
        let result = try run("jump-nothing")
        #expect(result.status == 5)
        #expect(result.output.contains("jumping"))
        let report = result.errors.lowercased()
        for word in ["triple fault", "rip", "cr2", "cr3", "rsp", "123456789000", "not mapped at level 4"] {
            #expect(report.contains(word), "no \(word) in: \(result.errors)")
        }
    }

    @Test func haltWithInterruptsOffIsReported() throws {
        let result = try command(
            Host.binaries.appending(path: "vitrine").path,
            ["run", "--name", "halted", "--kernel", hostileImage("halt-off"), "--memory", "64M"],
            environment: bench.environment, timeout: 10)
        #expect(result.errors.contains("interrupts off"), "\(result.status) \(result.errors)")
    }

    @Test func nonsenseIsCounted() throws {
        try bench.start("hostile", ["--kernel", hostileImage("ring-stages"), "--memory", "64M"])
        let list = try bench.vitrine("list", "--format", "json").output
        #expect(list.contains("protocol"), "\(list)")
    }
}

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
        try answered(["audit", "hostile", "--layout", "osv"], [1])
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

// Guests come and go: run, list, pause, resume, reset, stop, kill, signals, and what is left behind.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct Lifecycle {
    let bench: Bench

    init() throws { bench = try Bench() }

    /// The guests `vitrine list` shows, by name.
    func guests() throws -> [String: [String: Any]] {
        let list = try bench.vitrine("list", "--json")
        #expect(list.status == 0, "\(list.errors)")
        let guests = try #require(try list.json()["guests"] as? [[String: Any]])
        return Dictionary(uniqueKeysWithValues: guests.map { ($0["name"] as? String ?? "", $0) })
    }

    /// Waits up to five seconds.
    func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
        for _ in 0..<250 {
            if try condition() { return true }
            usleep(20000)
        }
        return false
    }

    @Test func pauseResumeResetStop() throws {
        try bench.start("g", ["--memory", "64M"])
        #expect(try guests()["g"]?["state"] as? String == "running")
        #expect(try bench.vitrine("pause", "g").status == 0)
        #expect(try guests()["g"]?["state"] as? String == "paused")
        // Looking works while it is paused.
        #expect(try bench.vitrine("translate", "g", "0x200000").status == 0)
        #expect(try bench.vitrine("resume", "g").status == 0)
        #expect(try bench.vitrine("exec", "g", "stage").output == "stage=R\n")
        #expect(try bench.vitrine("reset", "g").status == 0)
        #expect(try eventually { try bench.vitrine("exec", "g", "stage").output == "stage=R\n" })
        #expect(try bench.vitrine("stop", "g").status == 0)
        #expect(try guests().isEmpty)
        #expect(bench.processes().isEmpty)
    }

    @Test func killedMonitorsAreCleanedUp() throws {
        try bench.start("victim", ["--memory", "64M"])
        try bench.start("other", ["--memory", "64M"])
        let folder = bench.runtime.path + "/vitrine/victim"
        let text = try String(contentsOfFile: folder + "/pid", encoding: .utf8)
        let pid = try #require(pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)))
        kill(pid, SIGKILL)
        #expect(try eventually { try guests()["victim"] == nil })
        #expect(!FileManager.default.fileExists(atPath: folder))
        #expect(try bench.vitrine("exec", "other", "stage").status == 0)
    }

    @Test(arguments: [SIGTERM, SIGINT]) func signalsEndCleanly(signal: Int32) throws {
        try bench.start("g", ["--memory", "64M"])
        let pid = try #require(bench.processes().first)
        kill(pid, signal)
        #expect(eventually { kill(pid, 0) != 0 })
        #expect(!FileManager.default.fileExists(atPath: bench.runtime.path + "/vitrine/g"))
    }

    @Test func foregroundConsoleAndPowerOff() throws {
        let result = try bench.vitrine(
            "run", "--name", "f", "--memory", "64M", "--console", "stdio", "--kernel", image("bench/first-byte.elf"))
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output == "!")
        #expect(bench.processes().isEmpty)
    }

    @Test func panicInTheForegroundIsStatusFive() throws {
        try bench.start("p", ["--memory", "64M"])
        #expect(try bench.vitrine("exec", "p", "panic").status != 2)
        #expect(try eventually { (try guests()["p"]?["state"] as? String)?.contains("panic") == true })
        // Still there to be looked at.
        #expect(try bench.vitrine("translate", "p", "0x200000").status == 0)
        #expect(try bench.vitrine("kill", "p").status == 0)
        #expect(bench.processes().isEmpty)
        let result = try bench.vitrine(
            "run", "--name", "t", "--memory", "64M", "--console", "none", "--kernel", image("hostile/jump-nothing.elf"))
        #expect(result.status == 5)
        for word in ["triple fault", "rip", "cr2", "cr3"] {
            #expect(result.errors.lowercased().contains(word), "\(word): \(result.errors)")
        }
    }

    @Test func outputToAClosedPipeEndsQuietly() throws {
        try bench.start("g", ["--memory", "64M"])
        let script = "\"$0\" pages g --view entries | head -n 1; exit ${PIPESTATUS[0]}"
        let result = try command(
            "/bin/bash", ["-c", script, Host.binaries.appending(path: "vitrine").path], environment: bench.environment)
        #expect(result.status == 0)
        #expect(result.errors.isEmpty)
    }

    @Test func everyVerbHasHelpWithExamples() throws {
        let help = try bench.vitrine("--help")
        #expect(help.status == 0)
        for verb in [
            "run", "list", "stop", "kill", "pause", "resume", "reset", "console", "exec", "pages", "translate",
            "aliases",
            "map", "audit", "layouts", "doctor",
        ] {
            #expect(help.output.contains("  \(verb)"), "\(verb) is missing")
            let own = try bench.vitrine(verb, "--help")
            #expect(own.status == 0)
            #expect(own.output.lowercased().contains("example"), "\(verb): no example")
            #expect(own.output.contains("vitrine \(verb)"))
        }
    }
}

// Processes with address spaces of their own: forks, threads, and programs that do what they must not.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct Processes {
    let bench: Bench

    init() throws { bench = try Bench() }

    /// Starts a guest of layout osc with one process told what to do, and a neighbour that is idle.
    func start(_ what: String, cpus: Int, memory: String = "64M") throws -> URL {
        let console = bench.runtime.appending(path: "console")
        try bench.start(
            "g",
            [
                "--layout", "osc", "--memory", memory, "--cpus", "\(cpus)", "--console", "file:\(console.path)",
                "--program",
                "process", "--append", "args=\(what)",
            ])
        return console
    }

    func text(_ console: URL) throws -> String { try String(contentsOf: console, encoding: .utf8) }

    @Test(arguments: [1, 2]) func childrenHaveMemoryOfTheirOwn(cpus: Int) throws {
        let console = try start("fork 4", cpus: cpus)
        let end = try bench.ended("g", program: 0)
        let said = try text(console)
        #expect(end["state"] == "exited" && end["status"] == "0", "\(said)")
        #expect(try text(console).contains("4 children, each with memory of its own"))
        let lines = try bench.exec("g", "ps").filter { $0["parent"] == "0" }
        #expect(lines.map { $0["status"] } == ["1", "2", "3", "4"])
    }

    @Test(arguments: [1, 2]) func threadsShareTheirMemory(cpus: Int) throws {
        let console = try start("threads", cpus: cpus)
        #expect(try bench.ended("g", program: 0)["status"] == "0")
        #expect(try text(console).contains("a thread counted to 1000"))
    }

    @Test(arguments: [1, 2]) func nothingIsLostByForks(cpus: Int) throws {
        _ = try start("idle", cpus: cpus)
        func counts() throws -> [String?] {
            let stats = try #require(try bench.exec("g", "stats").first)
            return [stats["tables"], stats["pages-free"]]
        }
        _ = try bench.exec("g", "fork 0")
        _ = try bench.exec("g", "kill 1")
        let before = try counts()
        for _ in 0..<3 {
            let children = try (0..<3).map { _ in try #require(try bench.exec("g", "fork 0").first?["program"]) }
            for child in children { _ = try bench.exec("g", "kill \(child)") }
        }
        // Three threads' stacks were taken, one was there already; the stacks are kept for the next threads: 2 x 6 pages.
        let after = try counts()
        #expect(before[0] == after[0])
        let pages = try zip([before[1]], [after[1]]).map { try #require(Int($0 ?? "")) - #require(Int($1 ?? "")) }
        #expect(pages == [12], "\(before) \(after)")
    }

    /// Forked from outside wherever it is, in a system call too, a process goes on as its parent does.
    @Test(arguments: [1, 2]) func forkedInTheMiddle(cpus: Int) throws {
        _ = try start("churn", cpus: cpus)
        for _ in 0..<16 { _ = try bench.exec("g", "fork 0") }
        for _ in 0..<3 {
            #expect(try bench.exec("g", "ps").map { $0["state"] } == Array(repeating: "running", count: 17))
        }
    }

    @Test func aProcessThatSpinsIsEnded() throws {
        _ = try start("spin", cpus: 2)
        _ = try bench.exec("g", "fork 0")
        #expect(try bench.exec("g", "ps").filter { $0["state"] == "running" }.count == 2)
        for number in [0, 1] { _ = try bench.exec("g", "kill \(number) 7") }
        #expect(try bench.exec("g", "ps").map { $0["status"] } == ["7", "7"])
    }

    @Test(arguments: [
        ("null", "not present, fetch, user"), ("stack", "not present, write, user"),
        ("kernel", "system call 1 with the address 0xffff800000200000"),
        ("unmapped", "system call 1 with the address 0x700000000000"), ("memory", "not served: out of memory"),
    ]) func aWrongProgramEndsAlone(what: String, report: String) throws {
        let console = try start(what, cpus: 1, memory: what == "memory" ? "32M" : "64M")
        let end = try bench.ended("g", program: 0)
        #expect(end["state"] == "faulted" && end["status"] == "-1")
        let said = try text(console)
        #expect(said.contains(report), "\(said)")
        // The kernel goes on, and what the program had is there for the next one.
        #expect(try bench.exec("g", "load 0").first?["program"] == "1")
        #expect(try bench.ended("g", program: 1)["state"] == "faulted")
        #expect(try bench.exec("g", "stage").first?["stage"] == "R")
    }

    @Test func forksWithoutEndAreRefused() throws {
        let console = try start("forks", cpus: 1)
        let end = try bench.ended("g", program: 0)
        #expect(end["state"] == "exited" && end["status"] == "3")
        #expect(try text(console).contains("fork is refused: process table full: 64 processes"))
        #expect(try bench.exec("g", "ps").filter { $0["state"] == "running" }.count == 63)
        for number in 1..<10 { _ = try bench.exec("g", "kill \(number)") }
        #expect(try bench.vitrine("exec", "g", "fork 0").errors.contains("does not run"))
        #expect(try bench.exec("g", "fork 63").first?["parent"] == "63")
    }

    @Test func whatIsNoProcess() throws {
        _ = try start("idle", cpus: 1)
        for line in ["fork 9", "kill 9", "in 9 vmas", "in 0 nonsense", "fork", "in", "kill x", "in 0 touch 0x10"] {
            let result = try bench.vitrine("exec", "g", line)
            #expect(result.status != 0 && result.errors.count > 10, "\(line): \(result.output)")
        }
        #expect(try bench.exec("g", "in 0 vmas").contains { $0["kind"] == "stack" })
    }
}

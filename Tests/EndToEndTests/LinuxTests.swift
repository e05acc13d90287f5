// The linux layout: Linux's own programs, as gcc links them, run in it and answer as on the host's Linux; gaps follow from a seed.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct LinuxPrograms {
    let bench: Bench

    init() throws { bench = try Bench() }

    func text(_ file: URL) throws -> String { try String(decoding: Data(contentsOf: file), as: UTF8.self) }

    /// A program of the C library, linked statically.
    func compile(_ fixture: String, _ link: String) throws -> String {
        let source = Host.package.appending(path: "Tests/EndToEndTests/Fixtures/\(fixture).c").path
        let output = bench.runtime.appending(path: fixture + link).path
        let result = try command("/usr/bin/gcc", [link, "-O1", "-Wall", "-Wextra", "-Werror", source, "-o", output])
        try #require(result.status == 0, "gcc: \(result.errors)")
        return output
    }

    func start(_ programs: [String], cpus: Int = 1, memory: String = "64M", _ append: String) throws -> URL {
        let console = bench.runtime.appending(path: "console")
        try bench.start(
            "g",
            [
                "--layout", "linux", "--memory", memory, "--cpus", "\(cpus)", "--console", "file:\(console.path)",
                "--append", append,
            ] + programs.flatMap { ["--program", $0] })
        return console
    }

    /// What system calls answer is what the host's kernel answers the same program.
    @Test(arguments: [("-static", 1), ("-static-pie", 2)]) func answersAsLinux(link: String, cpus: Int) throws {
        let program = try compile("linux-calls", link)
        let host = try command("/usr/bin/env", ["-i", "HOME=/", program, "one", "two"])
        #expect(host.status == 42 && host.lines.count > 50, "\(host.output)")
        let console = try start([program], cpus: cpus, "args=one two")
        #expect(try bench.ended("g", program: 0)["status"] == "42")
        let said = try text(console)
        let own = said.split(separator: "\n").map(String.init).filter {
            !$0.hasPrefix("vitrine: ") && !$0.hasPrefix("program ")
        }
        #expect(own == host.lines, "\(said)")
        let base = try #require(try bench.exec("g", "programs").first?["base"])
        #expect(link == "-static" ? base == "0x0" : base.hasPrefix("0x55") || base.hasPrefix("0x56"))
    }

    /// A program that nobody here compiled.
    @Test func busybox() throws {
        let console = try start(["/bin/busybox", "/bin/busybox"], cpus: 2, "env=X=1 args=echo hello there")
        for program in [0, 1] { #expect(try bench.ended("g", program: program)["status"] == "0") }
        #expect(try text(console).components(separatedBy: "hello there\n").count == 3)
    }

    @Test func whatIsNotThereIsSaidOnce() throws {
        let program = try compile("linux-wrong", "-static")
        let console = try start([program], "args=unknown")
        #expect(try bench.ended("g", program: 0)["status"] == "38")
        let said = try text(console)
        #expect(said.components(separatedBy: "system call 435 is not there").count == 2, "\(said)")
        #expect(said.contains("system call 999 is not there"), "\(said)")
    }

    @Test(arguments: [
        ("null", "not present, fetch, user"), ("stack", "not present, write, user"),
        ("kernel", "system call 1 with the address 0xffff800000200000"),
        ("unmapped", "system call 1 with the address 0x700000000000"), ("memory", "not served: out of memory"),
    ]) func aWrongProgramEndsAlone(what: String, report: String) throws {
        let idle = try guestProgram("linux-process")
        let console = try start([idle], memory: what == "memory" ? "32M" : "64M", "args=\(what)")
        let end = try bench.ended("g", program: 0)
        #expect(end["state"] == "faulted" && end["status"] == "-1")
        let said = try text(console)
        #expect(said.contains(report), "\(said)")
        // The kernel goes on, and what the program had is there for the next one.
        let before = try bench.exec("g", "stats").first?["pages-free"]
        #expect(try bench.exec("g", "load 0").first?["program"] == "1")
        #expect(try bench.ended("g", program: 1)["state"] == "faulted")
        #expect(try bench.exec("g", "stats").first?["pages-free"] == before)
    }

    @Test func forksWithoutEndAreRefused() throws {
        let console = try start([try guestProgram("linux-process")], cpus: 2, memory: "256M", "args=forks")
        #expect(try bench.ended("g", program: 0)["status"] == "3")
        #expect(try text(console).contains("fork is refused: process table full: 64 processes"))
        for number in 1..<10 { _ = try bench.exec("g", "kill \(number)") }
        #expect(try bench.exec("g", "fork 63").first?["parent"] == "63")
        for line in [
            "bounds", "brk", "in 63 brk nonsense", "in 63 brk 1 2", "in 63 buffer 1", "in 63 map 4096 rw at 0x1000",
        ] {
            let refused = try bench.vitrine("exec", "g", line)
            #expect(refused.status != 0 && refused.errors.count > 10, "\(line): \(refused.output)")
        }
    }

    /// The same seed, the same addresses; another, others. So do workloads.
    @Test func gapsFollowFromTheSeed() throws {
        func look(_ seed: Int) throws -> [String?] {
            let bench = try Bench()
            try bench.start(
                "g",
                [
                    "--layout", "linux", "--memory", "64M", "--program", "linux-process", "--program", "linux-process",
                    "--append", "seed=\(seed) args=idle",
                ])
            // Each maps a page when it begins.
            for number in [0, 1] {
                try bench.wait("a page of process \(number)") {
                    try bench.exec("g", "in \(number) vmas").contains { $0["kind"] == "anonymous" }
                }
            }
            let all = try ["bounds", "vmas"].flatMap { line in
                try [0, 1].map { try bench.vitrine("exec", "g", "in \($0) \(line)").output }
            }
            let work = try ["work heap 3 200", "in 0 work map 3 100", "work fork 3 20 0"].map {
                try bench.exec("g", $0).first?["sum"]
            }
            return all + work
        }
        let (first, again, other) = (try look(7), try look(7), try look(8))
        #expect(first == again)
        #expect(zip(first, other).prefix(4).allSatisfy { $0 != $1 }, "\(first) \(other)")
        // Two processes of one guest differ as well.
        #expect(first[0] != first[1])
    }
}

// The panda layout: buffers that the kernel writes and the process reads, and programs that do what they must not.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct PandaPrograms {
    let bench: Bench

    init() throws { bench = try Bench() }

    func start(_ what: String, cpus: Int = 1, memory: String = "64M") throws -> URL {
        let console = bench.runtime.appending(path: "console")
        try bench.start(
            "g",
            [
                "--layout", "panda", "--memory", memory, "--cpus", "\(cpus)", "--console", "file:\(console.path)",
                "--program", "panda", "--append", "args=\(what)",
            ])
        return console
    }

    func text(_ file: URL) throws -> String { try String(decoding: Data(contentsOf: file), as: UTF8.self) }

    /// One page, two addresses: the process's and the kernel's, and what is written through one is read through the other.
    @Test(arguments: [1, 2]) func aBufferHasTwoAddresses(cpus: Int) throws {
        let console = try start("idle", cpus: cpus)
        try bench.wait("the process's line") { try text(console).contains("written by the kernel") }
        let root = try #require(try bench.exec("g", "ps").first?["root"])
        let buffer = try #require(try bench.exec("g", "in 0 buffer 8192").first?["va"])
        let window = try #require(try bench.exec("g", "in 0 buffer-fill \(buffer) 8192 0x77").first?["window"])
        #expect(try bench.exec("g", "in 0 touch \(buffer)").first?["value"] == "0x77")
        let found = try bench.vitrine("aliases", "g", "va:\(buffer)", "--root", root).output
        #expect(found.contains("buffers") && found.contains("window"), "\(found)")
        // Written by the process, read by the kernel.
        _ = try bench.exec("g", "in 0 touch \(buffer) 0x1234")
        #expect(try bench.exec("g", "touch \(window)").first?["value"] == "0x1234")
        _ = try bench.exec("g", "in 0 buffer-free \(buffer)")
        for line in [
            "in 0 buffer-free \(buffer)", "in 0 touch \(buffer)", "in 0 buffer 0", "in 0 buffer 0x200000000",
            "buffer 1",
        ] {
            let refused = try bench.vitrine("exec", "g", line)
            #expect(refused.status != 0 && refused.errors.count > 10, "\(line): \(refused.output)")
        }
    }

    @Test(arguments: [
        ("null", "not present, fetch, user"), ("stack", "not present, write, user"),
        ("kernel", "system call 1 with the address 0xffff800000200000"),
        ("unmapped", "system call 1 with the address 0x700000000000"), ("memory", "not served: out of memory"),
    ]) func aWrongProgramEndsAlone(what: String, report: String) throws {
        let console = try start(what, memory: what == "memory" ? "32M" : "64M")
        let end = try bench.ended("g", program: 0)
        let said = try text(console)
        #expect(end["state"] == "faulted" && end["status"] == "-1")
        #expect(said.contains(report), "\(said)")
        // The kernel goes on, and what the program had is there for the next one.
        #expect(try bench.exec("g", "load 0").first?["program"] == "1")
        #expect(try bench.ended("g", program: 1)["state"] == "faulted")
        #expect(try bench.exec("g", "stage").first?["stage"] == "R")
    }
}

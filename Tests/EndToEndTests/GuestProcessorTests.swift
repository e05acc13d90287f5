// The guest kernel's processors: faults that end a program and not the kernel, preemption, shootdown, panic.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct GuestProcessors {
    let bench: Bench

    init() throws { bench = try Bench() }

    /// Starts a guest with the fixture, told what to do.
    func misbehave(_ what: String, cpus: Int = 1) throws -> URL {
        let program = try bench.compile("misbehave", ["-mgeneral-regs-only"])
        return try bench.startPrograms("g", [program], ["--cpus", "\(cpus)", "--append", "args=\(what)"])
    }

    @Test(arguments: [
        ("u", "#UD invalid opcode"), ("d", "#DE divide error"), ("g", "#GP general protection, error code 0x30 (GDT"),
        ("n", "#PF page fault, error code 0x2 (not present, write, supervisor)"), ("c", "#GP general protection"),
        ("s", "#PF page fault"), ("k", "#SS stack-segment fault"), ("j", "(not present, fetch, supervisor)"),
    ]) func faultsEndTheProgramOnly(what: String, report: String) throws {
        let console = try misbehave(what)
        #expect(try bench.ended("g", program: 0)["state"] == "faulted")
        let text = try String(contentsOf: console, encoding: .utf8)
        #expect(text.contains("program fault: program 0: ") && text.contains(report), "\(text)")
        #expect(text.contains("walk of rip") && text.contains("level 4 at 0x"), "\(text)")
        #expect(try bench.exec("g", "stage").first?["stage"] == "R")
    }

    @Test(arguments: [1, 2]) func redZonesAndPagesSurvive(cpus: Int) throws {
        for what in ["r", "m"] {
            let bench = try Bench()
            let program = try bench.compile("misbehave", ["-mgeneral-regs-only"])
            _ = try bench.startPrograms("g", [program], ["--cpus", "\(cpus)", "--append", "args=\(what)"])
            let line = try bench.ended("g", program: 0)
            #expect(line["state"] == "exited" && line["status"] == "0", "\(what): \(line)")
        }
    }

    @Test func aProgramThatLoopsLeavesTheMonitorItsTime() throws {
        let program = try bench.compile("misbehave", ["-mgeneral-regs-only"])
        _ = try bench.startPrograms("g", [program, try guestProgram("hello")], ["--append", "args=loop"])
        // The second program runs to its end beside the first, on the same processor.
        #expect(try bench.ended("g", program: 1)["state"] == "exited")
        #expect(try bench.exec("g", "programs").first?["state"] == "running")
        #expect(try bench.vitrine("stop", "g").status == 0)
    }

    @Test func protectionReachesTheOtherProcessors() throws {
        let console = try misbehave("w", cpus: 2)
        var address = ""
        try bench.wait("the page's address") {
            address =
                try String(contentsOf: console, encoding: .utf8).split(separator: "\n")
                .first { $0.count == 16 && $0.allSatisfy(\.isHexDigit) }.map(String.init) ?? ""
            return !address.isEmpty
        }
        _ = try bench.exec("g", "protect 0x\(address) 4096 none")
        #expect(try bench.ended("g", program: 0)["state"] == "faulted")
        #expect(try bench.exec("g", "stats").first?["shootdowns"] != "0")
    }

    @Test func everyProcessorComesUpAndTicks() throws {
        try bench.start("g", ["--memory", "64M", "--cpus", "4"])
        func ticks() throws -> [Int] {
            let lines = try bench.exec("g", "cpus")
            #expect(lines.map { $0["state"] } == Array(repeating: "online", count: 4))
            #expect(lines.map { $0["apic"] } == ["0", "1", "2", "3"])
            return lines.compactMap { $0["ticks"].flatMap(Int.init) }
        }
        let first = try ticks()
        try bench.wait("ticks on every processor") { zip(first, try ticks()).allSatisfy { $0 < $1 } }
    }

    @Test func thePanicIsReported() throws {
        let result = try bench.vitrine("run", "--name", "g", "--memory", "64M", "--detach", "--wait-ready", "30")
        #expect(result.status == 0)
        _ = try bench.vitrine("exec", "g", "panic")
        try bench.wait("the panic") { try bench.vitrine("list").output.contains("panicked") }
    }
}

// The layout resea beyond its audit: wrong tasks, the vm server's pages, and what is refused.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct Resea {
    let bench: Bench

    init() throws { bench = try Bench() }

    func start(_ what: String, cpus: Int = 1, _ more: [String] = []) throws -> URL {
        let console = bench.runtime.appending(path: "console")
        try bench.start(
            "g",
            ["--layout", "resea", "--memory", "260M", "--cpus", "\(cpus)", "--console", "file:\(console.path)"] + more
                + ["--append", "args=\(what)"])
        return console
    }

    /// A wrong task ends with a report; its pages go back to the vm server, which goes on, as its neighbour does.
    @Test(arguments: [
        ("null", "not present, fetch, user"), ("stack", "not present, write, user"),
        ("kernel", "system call 1 with the address 0xffff800000200000"),
        ("unmapped", "system call 1 with the address 0x700000000000"), ("memory", "not served: out of memory"),
    ]) func aWrongTaskEndsAlone(what: String, report: String) throws {
        let console = try start(what)
        let end = try bench.ended("g", program: 1)
        #expect(end["state"] == "faulted" && end["status"] == "-1")
        let said = try String(contentsOf: console, encoding: .utf8)
        #expect(said.contains(report), "\(said)")
        #expect(try bench.exec("g", "in 2 touch 0x4200000 0x77").first?["value"] == "0x77")
        #expect(try bench.exec("g", "load 2").first?["program"] != nil)
        #expect(
            try bench.exec("g", "ps").filter { $0["state"] == "running" }.map { $0["name"] } == [
                "vm", "still", "still",
            ])
    }

    @Test(arguments: [1, 2]) func workAndRefusals(cpus: Int) throws {
        let console = try start("idle", cpus: cpus, ["--program", "hello"])
        #expect(try String(contentsOf: console, encoding: .utf8).contains("come from the bootfs in its kernel"))
        _ = try bench.exec("g", "work heap 5 50")
        // Mappings are at the same addresses whatever lies behind them.
        #expect(try bench.exec("g", "work map 5 50") == bench.exec("g", "work map 5 50"))
        for line in [
            "fork 1", "load 0", "load 9", "work fork 1 5 1", "in 2 touch 0x0", "in 2 touch 0x800000", "mmio 0 1",
        ] {
            let result = try bench.vitrine("exec", "g", line)
            #expect(result.status != 0 && result.errors.count > 10, "\(line): \(result.output)")
        }
        // Tasks come and go: the server has its pages again.
        for _ in 0..<3 {
            let task = try #require(try bench.exec("g", "load 2").first?["program"])
            for page in 0..<20 {
                _ = try bench.exec("g", "in \(task) touch 0x\(String(0x420_0000 + page << 12, radix: 16)) 1")
            }
            _ = try bench.exec("g", "kill \(task)")
        }
        let before = try #require(try bench.exec("g", "stats").first)
        let task = try #require(try bench.exec("g", "load 2").first?["program"])
        _ = try bench.exec("g", "in \(task) touch 0x4200000 1")
        _ = try bench.exec("g", "kill \(task)")
        let after = try #require(try bench.exec("g", "stats").first)
        #expect(before["tables"] == after["tables"] && before["pages-free"] == after["pages-free"])
    }

    /// What a task unmaps is the server's again, and the next to be given: it never touched many pages.
    @Test func unmappedPagesComeBack() throws {
        _ = try start("churn")
        let deadline = Date().addingTimeInterval(60)
        while (try bench.exec("g", "server").first?["pages"].flatMap(Int.init) ?? 0) < 60, Date() < deadline {
            usleep(100_000)
        }
        let root = try #require(try bench.exec("g", "ps").first?["root"])
        let pages = try bench.vitrine("pages", "g", "--root", root, "--format", "csv").lines
        // Where VA = PA: what it hands out.
        var touched = 0
        for line in pages {
            let fields = line.split(separator: ",").map(String.init)
            if fields.count > 2, fields[0] == fields[2] { touched += Int(fields[1]) ?? 0 }
        }
        #expect(touched > 0 && touched <= 20 * 4096, "\(pages.prefix(12))")
        #expect(try bench.exec("g", "ps").first { $0["program"] == "1" }?["state"] == "running")
    }

    /// Without its server a task gets no page more: it ends with a report, and the kernel goes on.
    @Test func theServersEnd() throws {
        _ = try start("idle", cpus: 2)
        // The tasks have what they need to run, and wait.
        var last: [[String: String]] = []
        var now = try bench.exec("g", "server")
        while last != now {
            usleep(500_000)
            (last, now) = (now, try bench.exec("g", "server"))
        }
        _ = try bench.exec("g", "kill 0")
        let result = try bench.vitrine("exec", "g", "in 2 touch 0x4200000")
        #expect(result.status != 0 && result.errors.contains("fault"), "\(result.errors)")
        #expect(try bench.vitrine("exec", "g", "load 2").status != 0)
        #expect(try bench.exec("g", "stage").first?["stage"] == "R")
    }
}

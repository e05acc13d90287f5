// The layout courseos beyond its audit: work with heap and devices, wrong programs, and the original's own tables on ARM.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct CourseOS {
    /// Heap and devices grow into each other and nothing is overwritten; the same seed does the same, and all is given back.
    @Test(arguments: [1, 2]) func workIsRepeatable(cpus: Int) throws {
        var answers: [[[String: String]]] = []
        for _ in 0..<2 {
            let bench = try Bench()
            try bench.start(
                "g",
                [
                    "--layout", "courseos", "--memory", "16M", "--cpus", "\(cpus)", "--program", "process", "--append",
                    "args=idle",
                ])
            let before = try bench.exec("g", "areas")
            var found: [[String: String]] = []
            for work in ["heap 7 60", "map 7 60", "collide 7 10000", "fork 7 10 0"] {
                found += try bench.exec("g", "work \(work)")
            }
            #expect(found.contains { $0["intact"] == "yes" && $0["heap-refused"] != "0" && $0["mmio-refused"] != "0" })
            // Threads' stacks of children are kept for the next ones.
            #expect(
                try bench.exec("g", "areas").filter { $0["area"] != "heap" } == before.filter { $0["area"] != "heap" })
            answers.append(found)
        }
        #expect(answers[0] == answers[1])
    }

    @Test(arguments: [
        ("null", "not present, fetch, user"), ("stack", "not present, write, user"),
        ("kernel", "system call 1 with the address 0xffff800000200000"),
        ("unmapped", "system call 1 with the address 0x700000000000"), ("memory", "not served: out of memory"),
    ]) func aWrongProgramEndsAlone(what: String, report: String) throws {
        let bench = try Bench()
        let console = bench.runtime.appending(path: "console")
        try bench.start(
            "g",
            [
                "--layout", "courseos", "--memory", "16M", "--console", "file:\(console.path)", "--program", "process",
                "--append", "args=\(what)",
            ])
        let end = try bench.ended("g", program: 0)
        #expect(end["state"] == "faulted" && end["status"] == "-1")
        let said = try String(contentsOf: console, encoding: .utf8)
        #expect(said.contains(report), "\(said)")
        #expect(try bench.exec("g", "work collide 1 10000").first?["intact"] == "yes")
    }

    @Test func whatIsRefused() throws {
        let bench = try Bench()
        try bench.start("g", ["--layout", "courseos", "--memory", "16M"])
        for line in [
            "mmio", "mmio 0x1 4096", "mmio 0xfed00000 0", "mmio 0xfed00000 0x80000000", "mmio-end 0x1000",
            "mmio-end 0x100000000", "free 0xc0000008", "free 0x80008000", "debug-alloc 4096", "alloc 0x40000000",
            "work collide 1 0",
        ] {
            let result = try bench.vitrine("exec", "g", line)
            #expect(result.status != 0 && result.errors.count > 10, "\(line): \(result.output)")
        }
        #expect(try bench.vitrine("exec", "g", "alloc 0x40000000").errors.contains("out of memory"))
    }
}

/// course_os's own tables: the ARM guest whose kernel makes them as the original does.
@Suite(.enabled(if: Host.hasARM, "needs qemu-system-arm")) struct CourseOSOnARM {
    @Test func theOriginalsTable() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "va-\(UInt32.random(in: 0...UInt32.max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (socket, console) = (folder.appending(path: "qmp").path, folder.appending(path: "console").path)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/qemu-system-arm")
        process.environment = ProcessInfo.processInfo.environment.merging(["QEMU_AUDIO_DRV": "none"]) { $1 }
        process.arguments = [
            "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-machine", "versatilepb", "-cpu",
            "cortex-a8", "-m", "64", "-serial", "file:\(console)", "-qmp", "unix:\(socket),server=on,wait=off",
            "-kernel", try image("arm/paging.elf"), "-device", "loader,addr=0x100,data=2,data-len=4",
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        defer {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        let deadline = Date().addingTimeInterval(120)
        while (try? String(contentsOfFile: console, encoding: .utf8))?.hasSuffix("READY\n") != true, Date() < deadline {
            usleep(20_000)
        }
        let bench = try Bench()
        func translate(_ va: String) throws -> [String: Any] {
            let report = try bench.vitrine("translate", "qmp:\(socket)", va, "--json")
            return try #require((try report.json()["translations"] as? [[String: Any]])?.first, "\(report.errors)")
        }
        // The first-level table of 16 KiB at PA 0x4000, visible at 0x80004000: 4 bytes for each MiB.
        let roots = try #require(
            try bench.vitrine("translate", "qmp:\(socket)", "0", "--json").json()["roots"] as? [[String: Any]])
        #expect(roots.last?["root"] as? String == "0x4000" && roots.last?["first"] as? String == "0x80000000")
        for (va, gpa, entry) in [
            ("0x80000000", "0x0", "0x6000"), ("0x80004000", "0x4000", "0x6000"), ("0x80008000", "0x8000", "0x6000"),
            ("0xc0000000", "0x2000000", "0x7000"), ("0xfff00000", "0x10100000", "0x7ffc"),
        ] {
            let found = try translate(va)
            let entries = found["entries"] as? [[String: Any]]
            #expect(found["gpa"] as? String == gpa && entries?.first?["at"] as? String == entry, "\(va): \(found)")
        }
        let pages = try bench.vitrine("pages", "qmp:\(socket)", "--layout", "courseos", "--format", "csv")
        #expect(pages.status == 0, "\(pages.errors)")
        let lines = pages.lines
        #expect(
            lines.contains { $0.hasPrefix("0x80000000,67108864,0x0,1M,") && $0.contains("memory") }, "\(pages.output)")
        #expect(lines.contains { $0.hasPrefix("0xc0000000,4096,0x2000000,4K,rwg,") && $0.contains("heap, MMIO") })
        let audit = try bench.vitrine("audit", "qmp:\(socket)", "--rules", "generic", "--layout", "courseos")
        #expect(audit.output.contains("rules:"), "\(audit.errors)")
    }
}

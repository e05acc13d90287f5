// Debian's GDB on a guest of two vCPUs, and the stub by hand where GDB would not ask.

import Foundation
import TestSupport
import Testing

private let hasGDB = FileManager.default.isExecutableFile(atPath: "/usr/bin/gdb")

@Suite(.enabled(if: Host.hasKVM && hasGDB, "needs /dev/kvm and gdb"), .serialized) struct GDBTests {
    /// Runs GDB's commands on a guest, in batch mode.
    private func gdb(_ bench: Bench, _ name: String, _ commands: [String], timeout: Double = 120) throws
        -> CommandResult
    {
        let words = ["gdb", name, "--", "-batch"] + commands.flatMap { ["-ex", $0] }
        return try bench.vitrine(words, timeout: timeout)
    }

    /// Break in the page-fault handler, on two vCPUs; backtrace; registers; memory by physical address; detach.
    @Test func aSession() throws {
        let bench = try Bench()
        try bench.start("g", ["--layout", "osv", "--memory", "64M", "--cpus", "2", "--program", "hello"])
        let before = try bench.vitrine("translate", "g", "0xffff800000200000", "--json")
        let session = try gdb(
            bench, "g",
            [
                "info threads", "p $cr3", "p/x $efer", "p $cr0", "x/1xg 0xffff800000200000",
                "maint packet Qqemu.PhyMemMode:1", "x/1xg 0x200000", "maint packet Qqemu.PhyMemMode:0",
                "monitor translate 0xffff800000200000", "monitor info registers", "monitor nonsense", "p $xmm0.uint128",
                "p $mxcsr", "detach",
            ])
        #expect(session.status == 0, "\(session.output)\(session.errors)")
        let text = session.output
        #expect(text.contains("Thread 1 (vCPU 0, ring 0, CR3 0x1800000)"), "\(text)")
        #expect(text.contains("Thread 2 (vCPU 1, ring 0, CR3 0x1800000)"))
        #expect(text.contains("= 25165824"))
        #expect(text.contains("[ PE MP ET NE WP PG ]"))
        let words = text.split(separator: "\n").filter { $0.contains(":\t0x") }.compactMap {
            $0.split(separator: "\t").last
        }
        #expect(words.count == 2 && words[0] == words[1], "linear and physical address of one page: \(words)")
        #expect(text.contains("cr3            0000000001800000"))
        #expect(text.contains("no command 'nonsense'"))
        // The guest goes on as it was.
        #expect(try bench.vitrine("translate", "g", "0xffff800000200000", "--json").output == before.output)
        let ticks = try bench.exec("g", "stats").first?["ticks"]
        usleep(300_000)
        #expect(try bench.exec("g", "stats").first?["ticks"] != ticks)
    }

    /// The fault handler is reached by what a command of the kernel's monitor touches.
    @Test func aFault() throws {
        let bench = try Bench()
        try bench.start("g", ["--layout", "osv", "--memory", "64M", "--cpus", "2"])
        let handler = try #require(
            try symbols(bench).first { $0.contains("11handleFault") }, "no symbol of the page-fault handler")
        // GDB stops it; the command that faults is given as soon as GDB waits.
        let runner = Thread {
            for _ in 0..<100 {
                usleep(100_000)
                if (try? bench.exec("g", "map 4096 rw at 0x200000100000")) != nil { break }
            }
            _ = try? bench.exec("g", "touch 0x200000100000")
        }
        runner.start()
        let session = try gdb(
            bench, "g",
            [
                "hbreak *\(handler)", "continue", "printf \"address %lx\\n\", $rdi", "p/x $cr2", "bt", "stepi",
                "p/x $rip",
                "delete", "detach",
            ])
        #expect(session.status == 0, "\(session.errors)")
        let text = session.output
        #expect(text.contains("0x200000100000"), "\(text)")
        let frames = text.split(separator: "\n").filter { $0.hasPrefix("#") }
        // The handler, its caller, the trap, and behind it the kernel's monitor that touched the page.
        #expect(frames.first?.contains("handleFault") == true, "\(frames)")
        #expect(frames.contains { $0.contains("trap_dispatch") })
        #expect(frames.contains { $0.contains("trap_common") })
        #expect(frames.count >= 5 && frames.last.map { !$0.contains("trap") } == true, "\(frames)")
    }

    /// A page-table entry is watched: it stops where the entry changes.
    @Test func aWatchedEntry() throws {
        let bench = try Bench()
        try bench.start("g", ["--layout", "osv", "--memory", "64M", "--cpus", "2"])
        _ = try bench.exec("g", "map 8192 rw at 0x200000100000")
        _ = try bench.exec("g", "touch 0x200000101000")
        let found = try bench.vitrine("translate", "g", "0x200000101000", "--json").json()
        let way = try #require((found["translations"] as? [[String: Any]])?.first)
        let last = try #require((way["entries"] as? [[String: Any]])?.last)
        let physical = try #require((last["at"] as? String).flatMap { UInt64($0.dropFirst(2), radix: 16) })
        let entry = 0xffff_8000_0000_0000 + physical - 8
        let session = try gdb(
            bench, "g",
            [
                "watch *(long *)0x\(String(entry, radix: 16))",
                "monitor info registers", "detach",
            ])
        #expect(session.status == 0 && session.output.contains("atchpoint 1"), "\(session.output)\(session.errors)")
    }

    private func symbols(_ bench: Bench) throws -> [String] {
        let kernel = try #require(try bench.info("g")["kernel"] as? String)
        return try command("/usr/bin/nm", [kernel]).lines.compactMap { line in
            let parts = line.split(separator: " ")
            return parts.count == 3 ? "0x\(parts[0]) \(parts[2])" : nil
        }
    }
}

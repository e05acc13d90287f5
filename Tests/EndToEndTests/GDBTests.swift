// Debian's GDB on guests of two vCPUs.

import Foundation
import TestSupport
import Testing

private let hasGDB = FileManager.default.isExecutableFile(atPath: "/usr/bin/gdb")

@Suite(.enabled(if: Host.hasKVM && hasGDB, "needs /dev/kvm and gdb"), .serialized) struct GDBTests {
    private let program = Host.binaries.appending(path: "vitrine").path

    /// Runs GDB's commands on the guest `g`, in batch mode; what it prints.
    private func gdb(_ bench: Bench, _ commands: [String]) throws -> String {
        let words = ["gdb", "g", "--", "-batch"] + commands.flatMap { ["-ex", $0] }
        let result = try command(program, words, environment: bench.environment, timeout: 120)
        #expect(result.status == 0, "\(result.output)\(result.errors)")
        return result.output + result.errors
    }

    /// GDB's command that has the kernel's monitor do something a second later, when the guest runs again.
    private func later(_ line: String) -> String {
        "shell (sleep 1; '\(program)' exec --timeout 60 g '\(line)') > /dev/null 2>&1 &"
    }

    /// The symbol of the kernel whose mangled name contains a text.
    private func symbol(_ text: String) throws -> String {
        let lines = try command("/usr/bin/nm", [image("vitrine-osv.elf")]).lines
        let line = try #require(lines.first { $0.contains(text) }, "the kernel has no symbol with \(text)")
        return "0x" + line.prefix(16)
    }

    @Test func registersAndMemory() throws {
        let bench = try Bench()
        try bench.start("g", ["--layout", "osv", "--memory", "64M", "--cpus", "2", "--program", "hello"])
        let before = try bench.vitrine("translate", "g", "0xffff800000200000", "--json").output
        let text = try gdb(
            bench,
            [
                "info threads", "p/x $cr3", "p $cr0", "p $efer", "x/1xg 0xffff800000200008",
                "maint packet Qqemu.PhyMemMode:1", "x/1xg 0x200008", "maint packet Qqemu.PhyMemMode:0",
                "monitor translate 0xffff800000200000", "monitor info registers", "monitor nonsense",
                "set $xmm1.uint128 = 5", "p $xmm1.uint128", "set $kept = $r15",
                "set $r15 = 0x1234", "p/x $r15", "set $r15 = $kept", "x/1xb 0x7fffffffffff",
                "detach",
            ])
        #expect(text.contains("Thread 1 (vCPU 0, ring 0, CR3 0x1800000"), "\(text)")
        #expect(text.contains("Thread 2 (vCPU 1, ring 0, CR3 0x1800000"))
        #expect(text.contains("= 0x1800000\n") && text.contains("[ PE MP ET NE WP PG ]"))
        #expect(text.contains("[ SCE LME LMA NXE ]"))
        let words = text.split(separator: "\n").filter { $0.contains(":\t0x") }.compactMap {
            $0.split(separator: "\t").last
        }
        #expect(
            words.count == 2 && words[0] == words[1], "one page at its linear and at its physical address: \(words)")
        #expect(text.contains("PML4[256]") && text.contains("cr3            0000000001800000"))
        #expect(text.contains("no command 'nonsense'"))
        #expect(text.contains("= 5\n") && text.contains("= 0x1234\n"))
        #expect(text.contains("Cannot access memory at address 0x7fffffffffff"))
        // The guest goes on as it was.
        #expect(try bench.vitrine("translate", "g", "0xffff800000200000", "--json").output == before)
        let ticks = try bench.exec("g", "stats").first?["ticks"]
        try bench.wait("ticks") { try bench.exec("g", "stats").first?["ticks"] != ticks }
    }

    /// A breakpoint in the page-fault handler, reached by an access of the kernel's monitor; the way there, step and detach.
    @Test func breakpointInTheFaultHandler() throws {
        let bench = try Bench()
        try bench.start("g", ["--layout", "osv", "--memory", "64M", "--cpus", "2"])
        _ = try bench.exec("g", "map 4096 rw at 0x200000100000")
        let handler = try symbol("11handleFault")
        let text = try gdb(
            bench,
            [
                "break *\(handler)", later("touch 0x200000100000 0x77"), "continue", "p/x $cr2", "bt", "stepi",
                "p/x $rip",
                "info line *$rip", "delete", "detach",
            ])
        #expect(text.contains("= 0x200000100000"), "\(text)")
        let frames = text.split(separator: "\n").filter { $0.hasPrefix("#") }.map(String.init)
        #expect(
            frames.first?.contains("handleFault") == true && frames.first?.contains("Faults.swift") == true, "\(frames)"
        )
        func place(_ name: String) -> Int { frames.firstIndex { $0.contains(name) } ?? -1 }
        // The handler, the trap, and behind it what touched the page, up to the thread's beginning.
        #expect(place("trap_dispatch") > 0 && place("trap_common") > place("trap_dispatch"), "\(frames)")
        #expect(place("probe_write") > place("trap_common") || place("probe_read") > place("trap_common"), "\(frames)")
        #expect(place("monitor_thread") > place("trap_common") + 1, "\(frames)")
        try bench.wait("an answer") {
            try bench.vitrine("exec", "g", "touch 0x200000100000").output.contains("value=0x77")
        }
        let translation = try bench.vitrine("translate", "g", "0x200000100000")
        #expect(translation.status == 0, "\(translation.output)")
    }

    /// While the kernel steps its timer's interrupts wait, though they are due at every step: none is entered, the program goes on.
    @Test func steppingKeepsInterruptsOut() throws {
        let bench = try Bench()
        try bench.start("g", ["--layout", "osv", "--memory", "64M"])
        _ = try bench.exec("g", "map 4096 rw at 0x200000100000")
        let touch = try symbol("MonitorCommandsO5touch")
        // A tick is 10 ms.
        let steps = (0..<20).flatMap { _ in ["stepi", "shell sleep 0.02", "x/i $pc", "p $eflags"] }
        let text = try gdb(
            bench, ["break *\(touch)", later("touch 0x200000100000"), "continue", "delete"] + steps + ["detach"])
        let lines = text.split(separator: "\n")
        let places = lines.filter { $0.hasPrefix("=>") }
        #expect(places.count == 20, "\(text)")
        // The function, and the first one that it calls to read its line.
        #expect(places.allSatisfy { $0.contains("MonitorCommandsO5touch") || $0.contains("MonitorLine") }, "\(places)")
        #expect(
            lines.filter { $0.hasPrefix("$") && $0.contains(" = [") }.allSatisfy { $0.contains(" IF ") },
            "interrupts are on: \(text)")
        let ticks = try bench.exec("g", "stats").first?["ticks"]
        try bench.wait("ticks") { try bench.exec("g", "stats").first?["ticks"] != ticks }
    }

    /// A program in ring 3 steps from instruction to instruction, and goes on afterwards as if nobody had looked.
    @Test func stepsOfAProgram() throws {
        let bench = try Bench()
        let folder = try TemporaryFolder()
        try bench.start(
            "g",
            [
                "--layout", "osv", "--memory", "64M", "--program", "touch-ring3", "--append", "ring=3 args=1",
                "--console", "file:\(folder.path)/console",
            ])
        func console() throws -> String {
            String(decoding: try Data(contentsOf: URL(fileURLWithPath: folder.path + "/console")), as: UTF8.self)
        }
        let listing = try command("/usr/bin/objdump", ["-d", image("vitrine-osv.elf")]).lines
        let line = try #require(listing.first { $0.contains("iretq") })
        let way = "*0x" + line.split(separator: ":")[0].trimmingCharacters(in: .whitespaces)
        // Where the program goes on it gets a loop: nop, nop, jmp to the first.
        let caught = try gdb(
            bench,
            [
                "hbreak \(way) if (*(long*)($rsp+8) & 3) == 3", "continue", "set $a = *(long*)$rsp",
                "printf \"caught %lu %lu\\n\", $a, *(long*)$a", "set {long}$a = 0x90909090fceb9090", "delete", "detach",
            ])
        let numbers = caught.split(separator: "\n").first { $0.hasPrefix("caught ") }?.split(separator: " ").dropFirst()
        let found = try #require(numbers?.compactMap { UInt64($0) }, "\(caught)")
        try #require(found.count == 2, "\(caught)")
        let (start, code) = (found[0], found[1])

        let show = "printf \"at %lu %d\\n\", $rip, $cs & 3"
        var places: [[UInt64]] = []
        // Now and then a tick has it in the kernel.
        try bench.wait("a stop in ring 3") {
            let text = try gdb(bench, [show] + (0..<9).flatMap { _ in ["stepi", show] } + ["detach"])
            places = text.split(separator: "\n").filter { $0.hasPrefix("at ") }.map { line in
                line.split(separator: " ").dropFirst().compactMap { UInt64($0) }
            }
            return places.first?.last == 3
        }
        try #require(places.count == 10 && places.allSatisfy { $0.count == 2 }, "\(places)")
        #expect(places.allSatisfy { $0[1] == 3 }, "\(places)")
        for (before, after) in zip(places, places.dropFirst()) {
            #expect(after[0] == (before[0] == start + 2 ? start : before[0] + 1), "\(places)")
        }

        // What it was before, when it stands where it was caught.
        let script = try folder.file(
            "restore",
            Data(
                """
                if ($cs & 3) == 3
                while $rip != \(start)
                stepi
                end
                set {long}\(start) = \(code)
                printf "restored\\n"
                end
                detach
                """.utf8))
        try bench.wait("a stop in ring 3") { try gdb(bench, ["source \(script.path)"]).contains("restored\n") }
        let lines = try console().split(separator: "\n").count
        try bench.wait("another pass") { try console().split(separator: "\n").count > lines }
        let printed = try console()
        #expect(!printed.contains("fault"), "\(printed)")
    }

    /// A page-table entry is watched: the guest stops where the kernel writes it.
    @Test func watchedPageTableEntry() throws {
        let bench = try Bench()
        try bench.start("g", ["--layout", "osv", "--memory", "64M", "--cpus", "2"])
        _ = try bench.exec("g", "map 8192 rw at 0x200000100000")
        _ = try bench.exec("g", "touch 0x200000100000")
        let report = try bench.vitrine("translate", "g", "0x200000100000", "--json").json()
        let way = try #require((report["translations"] as? [[String: Any]])?.first)
        let last = try #require((way["entries"] as? [[String: Any]])?.last)
        let entry = try #require((last["at"] as? String).flatMap { UInt64($0.dropFirst(2), radix: 16) })
        let place = "0x" + String(0xffff_8000_0000_0000 + entry + 8, radix: 16)
        let text = try gdb(
            bench,
            [
                "watch *(long *)\(place)", later("touch 0x200000101000"), "continue", "x/1xg \(place)", "bt", "delete",
                "detach",
            ])
        #expect(text.contains("Old value = 0"), "\(text)")
        // Present, writable, user: what the kernel maps a page with.
        let value = text.split(separator: "\n").first { $0.contains(":\t0x") }?.split(separator: "\t").last ?? ""
        #expect(value.hasSuffix("7") && value.hasPrefix("0x8"), "\(text)")
        #expect(text.contains("handleFault"), "the kernel wrote it on the way out of a page fault: \(text)")
        // No flag of the stepping is left in the guest.
        try bench.wait("an answer") { try bench.vitrine("exec", "g", "touch 0x200000101000").status == 0 }
        usleep(300_000)
        #expect(try bench.exec("g", "cpus").allSatisfy { $0["state"] == "online" })
        #expect(try bench.vitrine("list").output.contains("running"))
    }

    /// From the first instruction, over a port; a fifth breakpoint is refused with a reason where each takes a debug register.
    @Test func fromTheFirstInstruction() throws {
        let bench = try Bench()
        let folder = try TemporaryFolder()
        let socket = folder.path + "/gdb"
        try bench.start(
            "g", ["--layout", "osv", "--memory", "64M", "--stop-at", "entry", "--gdb", "unix:\(socket)"], ready: false)
        let places = ["*0x200100", "*0x200200", "*0x200300", "*0x200400", "*0x200500"].map { "hbreak \($0)" }
        let commands =
            ["target remote \(socket)", "p $rip", "hbreak kernel_main", "continue", "bt"] + places + [
                "delete 1", "continue", "delete", "detach",
            ]
        let result = try command(
            "/usr/bin/gdb", ["-q", "-batch", try image("vitrine-osv.elf")] + commands.flatMap { ["-ex", $0] },
            environment: bench.environment, timeout: 60)
        let text = result.output + result.errors
        #expect(text.contains("<entry64>"), "\(text)")
        let frames = text.split(separator: "\n").filter { $0.hasPrefix("#") }
        #expect(frames.count == 2 && frames[0].contains("kernel_main") && frames[1].contains("entry64"), "\(frames)")
        #expect(text.contains("You may have requested too many hardware breakpoints"), "\(text)")
        try bench.wait("stage ready") { try bench.vitrine("exec", "g", "stats").status == 0 }
        // With the guest its stub ends, and the socket goes.
        #expect(try bench.vitrine("stop", "g").status == 0)
        try bench.wait("the stub's end") { !FileManager.default.fileExists(atPath: socket) }
    }

    /// A debugger that dies leaves nothing behind; two at once are one too many.
    @Test func debuggersThatGoAway() throws {
        let bench = try Bench()
        try bench.start("g", ["--layout", "osv", "--memory", "64M", "--cpus", "2"])
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = ["gdb", "g", "--stdio"]
        process.environment = ProcessInfo.processInfo.environment.merging(bench.environment) { $1 }
        let input = Pipe()
        process.standardInput = input
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data("$?#3f".utf8))
        #expect(String(decoding: output.fileHandleForReading.availableData, as: UTF8.self).contains("T02thread:1;"))
        #expect(try bench.vitrine("list").output.contains("paused"))
        let second = try bench.vitrine("gdb", "g", "--stdio", input: "$?#3f")
        #expect(second.status == 4 && second.errors.contains("a debugger is attached already"), "\(second.errors)")
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        try bench.wait("the guest to go on") { try bench.vitrine("list").output.contains("running") }
        #expect(try bench.exec("g", "cpus").count == 2)
    }

    @Test func badInput() throws {
        let bench = try Bench()
        #expect(try bench.vitrine("gdb", "nobody").status == 3)
        #expect(try bench.vitrine("gdb", "g", "--listen", "tcp:0.0.0.0:1234").status == 2)
        #expect(try bench.vitrine("gdb", "g", "--listen", "tcp:99999").status == 2)
        #expect(try bench.vitrine("gdb", "g", "--listen", "tcp:1234", "--stdio").status == 2)
        #expect(try bench.vitrine("run", "--gdb", "1234").status == 2)
    }
}

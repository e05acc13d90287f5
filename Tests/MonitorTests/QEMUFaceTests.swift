import Foundation
import Glibc
import GuestMemory
import JSON
import Monitor
import SystemCalls
import Targets
import Testing

/// What differs where the monitor is taken for QEMU's.
@Suite(.enabled(if: hasKVM, "needs /dev/kvm"), .serialized) struct QEMUFaceTests {
    /// A guest as libvirt starts one, in this process, and a client of its monitor.
    private func serve(_ name: String, _ words: [String], _ body: (QMPClient, String) throws -> Void) throws {
        _ = RunningGuest.folder
        let path = "/tmp/vt-qemu-\(getpid())-\(name).sock"
        defer { unlink(path) }
        let listener = SharedDescriptor(try UnixSocket.listen(at: path, replacing: true))
        let all = ["-kernel", TinyGuest.path, "-machine", "vitrine-osv", "-m", "64", "-no-shutdown", "-S"] + words
        let options = try QEMUOptions(words: all).run
        let end = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            do {
                _ = try GuestMonitor(options, face: .qemu, sockets: [listener], ownsProcess: false).run()
            } catch {
                Issue.record("\(error)")
            }
            end.signal()
        }
        let client = try QMPClient(path: path, name: name)
        defer {
            _ = try? client.execute("quit")
            #expect(end.wait(timeout: .now() + 30) == .success)
        }
        try body(client, path)
    }

    private func status(_ client: QMPClient) throws -> String? {
        try client.execute("query-status").value["status"]?.text
    }

    private func waitUntilReady(_ client: QMPClient) throws {
        while try client.execute("x-vitrine-info").value["stage"] != "ready" { _ = try client.nextEvent(timeout: 5) }
    }

    /// The names of the events until one is there, and that one. Without RESUME: whoever waited for something may have taken it.
    private func events(_ client: QMPClient, until last: String) throws -> ([String], JSON?) {
        var names: [String] = []
        while let event = try client.nextEvent(timeout: 10) {
            if !event.name.hasPrefix("X_") && event.name != "RESUME" { names.append(event.name) }
            if event.name == last { return (names, event.data) }
        }
        return (names, nil)
    }

    private func exec(_ client: QMPClient, _ line: String) {
        // What ends the guest has no answer.
        _ = try? client.execute("x-vitrine-exec", [JSONMember("command-line", .string(line))])
    }

    private func human(_ client: QMPClient, _ line: String) throws -> String? {
        try client.execute("human-monitor-command", [JSONMember("command-line", .string(line))]).value.text
    }

    @Test func endsAsQEMUTellsThem() throws {
        try serve("ends", []) { (client, _) in
            #expect(try status(client) == "prelaunch")
            try client.execute("cont")
            try waitUntilReady(client)
            exec(client, "o")
            let (off, reason) = try events(client, until: "SHUTDOWN")
            #expect(off == ["SHUTDOWN"])
            #expect(reason == ["guest": true, "reason": "guest-shutdown"])
            #expect(try status(client) == "shutdown")
            #expect(try human(client, "info status") == "VM status: paused (shutdown)\r\n")
            // It waits for `cont` after a reset, unlike a guest of vitrine run.
            try client.execute("system_reset")
            #expect(try events(client, until: "RESET").0 == ["STOP", "RESET"])
            #expect(["paused", "prelaunch"].contains(try status(client)))
            try client.execute("cont")
            try waitUntilReady(client)
            exec(client, "p")
            let (panic, data) = try events(client, until: "GUEST_PANICKED")
            #expect(panic == ["GUEST_PANICKED"])
            #expect(data == ["action": "pause"])
            #expect(try events(client, until: "STOP").0 == ["STOP"])
            #expect(try status(client) == "guest-panicked")
        }
    }

    @Test func humanMonitor() throws {
        try serve("human", []) { (client, path) in
            // Before the first instruction: paging as the boot protocol has it, or none.
            #expect(try human(client, "info registers")?.hasPrefix("\r\nCPU#0\r\n") ?? false)
            #expect(try human(client, "info registers 7") == "CPU#7 not available\r\n")
            try client.execute("cont")
            try waitUntilReady(client)
            // The tiny guest maps the first GiB one to one in pages of 2 MiB.
            let leaves = try #require(try human(client, "info tlb")).split(separator: "\r\n")
            #expect(leaves.count == 512)
            #expect(leaves[1].hasPrefix("0000000000200000: 0000000000200000 --P"))
            #expect(
                try human(client, "info mem") == "0000000000000000-0000000040000000 0000000040000000 -rw\r\n")
            #expect(try human(client, "gva2gpa 0x201234") == "gpa: 0x201234\r\n")
            #expect(try human(client, "gva2gpa 0x40000000") == "Unmapped\r\n")
            #expect(try human(client, "xp /2xb 0x5000000") == "0000000005000000: Cannot access memory\r\n")
            let entry = try #require(try human(client, "x /1gx 0x200000"))
            #expect(entry.hasPrefix("0000000000200000: 0x00000000002010"))
            #expect(try human(client, "xp /1gx 0x200000") == entry)
            for line in [
                "", "x", "xp /999999999gx 0", "xp /zz 0", "info registers -a -a", "gva2gpa 0xfffffffffffffffff",
                "gva2gpa 1 2", "gpa2hva -1", String(repeating: "a", count: 100_000), "info", "help",
            ] {
                #expect(try human(client, line) != nil)
            }
            #expect(try human(client, "stop") == "")
            #expect(["paused", "prelaunch"].contains(try status(client)))
            // All of this is enough for our own tools to read the machine as they read a QEMU.
            let target = try QEMUTarget(socket: path)
            #expect(target.slots.slots.reduce(0) { $0 + $1.size } == 64 << 20)
            #expect(try target.registers(vcpu: 0).values.contains { $0.name == "cr3" && $0.value == 0x20_0000 })
        }
    }

    @Test func memoryInFiles() throws {
        try serve("files", []) { (client, _) in
            let path = "/tmp/vt-qemu-\(getpid()).bytes"
            defer { unlink(path) }
            func save(_ value: Int, _ size: Int, _ name: String) throws {
                try client.execute(
                    "pmemsave",
                    [
                        JSONMember("val", JSON(value)), JSONMember("size", JSON(size)),
                        JSONMember("filename", .string(name)),
                    ])
            }
            try save(0x20_0ff8, 16, path)
            #expect(try Files.contents(of: path).count == 16)
            #expect(try Files.status(of: path).mode & 0o077 == 0)
            for (value, size, name) in [
                (60 << 20, 8 << 20, path), (Int.max, 8, path), (0, 0, path), (0, 8, "/no/such/folder"), (-1, 8, path),
            ] {
                #expect(throws: (any Error).self) { try save(value, size, name) }
            }
            #expect(try status(client) == "prelaunch")
        }
    }
}

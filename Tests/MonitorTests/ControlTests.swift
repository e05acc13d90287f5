import Addresses
import Glibc
import GuestFolders
import GuestMemory
import JSON
import Monitor
import SystemCalls
import Targets
import Testing

/// Whether this process may use /dev/kvm.
let hasKVM = access("/dev/kvm", R_OK | W_OK) == 0

@Suite(.enabled(if: hasKVM, "needs /dev/kvm"), .serialized) struct ControlTests {
    @Test func protocolBasics() throws {
        let guest = try RunningGuest("basics")
        defer { guest.end() }
        let raw = try RawClient(guest)
        let greeting = raw.reply()
        #expect(greeting?["QMP"]?["version"]?["package"] == "vitrine")
        raw.say("{\"execute\":\"query-status\",\"id\":[1,{\"a\":null}]}\n")
        let early = raw.reply()
        #expect(early?["error"]?["class"] == "CommandNotFound" && early?["id"] == [1, ["a": .null]])
        raw.say("{\"execute\":\"qmp_capabilities\"}\r\n\n  \n{\"execute\":\"query-version\",\"id\":\"x\"}\n")
        #expect(raw.reply() == ["return": [:]])
        #expect(raw.reply()?["id"] == "x")
        for (line, reason) in [
            ("{}", "'execute' must name a command"), ("[]", "a request must be an object"),
            ("{\"execute\":\"nothing\"}", "there is no command 'nothing'"),
            ("{\"execute\":\"stop\",\"arguments\":{\"x\":1}}", "'x' is unexpected"),
            ("{\"execute\":\"stop\",\"arguments\":[]}", "'arguments' must be an object"),
            ("{\"execute\":\"stop\",\"more\":1}", "'more' is unexpected in a request"),
            (
                "{\"execute\":\"x-vitrine-registers\",\"arguments\":{\"vcpu\":1}}",
                "'vcpu' must be a whole number from 0 to 0"
            ),
            (
                "{\"execute\":\"x-vitrine-registers\",\"arguments\":{\"vcpu\":-1}}",
                "'vcpu' must be a whole number from 0 to 0"
            ),
            ("{\"execute\":\"qmp_capabilities\"}", "capabilities are negotiated already"),
            ("{\"execute\":\"x-vitrine-exec\",\"arguments\":{}}", "'command-line' is missing"),
            (
                "{\"execute\":\"x-vitrine-stage-tables\",\"arguments\":{\"stage\":\"Q\"}}",
                "there is no stage 'Q' with tables; there are A, B, C and ready"
            ),
        ] {
            raw.say(line + "\n")
            #expect(raw.reply()?["error"]?["desc"]?.text == reason)
        }
        raw.say("{\"execute\":\"query-commands\"}\n")
        let names = raw.reply()?["return"]?.elements?.compactMap { $0["name"]?.text } ?? []
        for name in [
            "qmp_capabilities", "query-version", "query-status", "query-cpus-fast", "query-commands", "stop", "cont",
            "system_reset", "system_powerdown", "quit", "x-vitrine-registers", "x-vitrine-memory",
        ] { #expect(names.contains(name)) }
    }

    @Test func stopContAndRegisters() throws {
        let guest = try RunningGuest("control", ["--cpus", "2"])
        defer { guest.end() }
        let client = try guest.readyClient()
        #expect(
            try client.execute("query-status").value == [
                "status": "running", "running": true, "singlestep": false, "x-vitrine-sandbox": ["mode": "off"],
            ])
        try client.execute("stop")
        #expect(try client.execute("query-status").value["status"] == "paused")
        let target = try OwnGuest(client: guest.client())
        let registers = try target.registers(vcpu: 0)
        #expect(registers.cr3 == 0x20_0000 && registers.efer & 0x500 == 0x500)
        #expect((0x20_3000..<0x20_4000).contains(registers.rip))
        #expect(try target.registers(vcpu: 0).rip == registers.rip)
        // Its own code, read through the memory that was handed over.
        #expect(target.memory.bytes(at: .init(0x20_3000), count: 5) == [0xba, 0xf8, 0x03, 0, 0])
        #expect(try target.translate(.init(0x20_3123), vcpu: 0) == .init(0x20_3123))
        #expect(try target.translate(.init(0x4000_0000), vcpu: 0) == nil)
        let threads = try client.execute("query-cpus-fast").value.elements?.compactMap { $0["thread-id"]?.int } ?? []
        #expect(threads.count == 2)
        for thread in threads { #expect(access("/proc/self/task/\(thread)", F_OK) == 0) }
        try client.execute("cont")
        #expect(try client.execute("query-status").value["running"] == true)
        var events: [String] = []
        while let event = try client.nextEvent(timeout: 0.05) { events.append(event.name) }
        #expect(events.suffix(2) == ["STOP", "RESUME"])
    }

    @Test func stagesAndTheirTables() throws {
        let guest = try RunningGuest("stages")
        defer { guest.end() }
        let client = try guest.readyClient()
        let info = try client.execute("x-vitrine-info").value
        #expect(info["stages"]?.elements?.compactMap { $0["stage"]?.text } == ["A", "B", "C", "ready"])
        #expect(info["name"] == "stages" && info["pid"]?.int == Int(getpid()) && info["state"] == "running")
        let tables = try OwnGuest(client: client).stageTables("B")
        #expect(tables.cr3 == 0x20_0000)
        #expect(tables.addresses.map(\.rawValue) == [0x20_0000, 0x20_1000, 0x20_2000])
        let table = try #require(tables.page(at: .init(0x20_2008)))
        // But for accessed and dirty.
        #expect(table.load(fromByteOffset: 8, as: UInt64.self) & ~0x60 == 0x20_0083)
    }

    @Test func heldAtAStage() throws {
        let guest = try RunningGuest("held", ["--stop-at", "B"])
        defer { guest.end() }
        let client = try guest.client()
        while try client.execute("x-vitrine-info").value["held-at"] != "B" { _ = try client.nextEvent(timeout: 5) }
        #expect(try client.execute("query-status").value["status"] == "paused")
        #expect(throws: TargetError.self) { try client.execute("x-vitrine-exec", [JSONMember("command-line", "e")]) }
        try client.execute("cont")
        _ = try guest.readyClient()
    }

    @Test func theKernelsMonitor() throws {
        let guest = try RunningGuest("exec")
        defer { guest.end() }
        let target = try OwnGuest(client: guest.readyClient())
        #expect(try target.exec("echo this") == ["line=echo this"])
        #expect(try target.exec("anything") == [])
        expectRefusal("no") { try target.exec("x") }
        // A command that wants no answer in time, then its successor.
        expectRefusal("the kernel's monitor did not answer within 0.05 s") { try target.exec("silent", timeout: 0.05) }
        expectRefusal("the kernel's monitor still owes the answer to 'silent'") { try target.exec("e") }
        try target.client.execute("system_reset")
        _ = try guest.readyClient()
        #expect(try target.exec("e2") == ["line=e2"])
        for bad in ["", "a\nb", "\u{e9}", String(repeating: "e", count: 256)] {
            #expect(throws: TargetError.self) { try target.exec(bad) }
        }
        #expect(try target.exec("e" + String(repeating: "y", count: 254)).first?.utf8.count == 260)
    }

    @Test func manyClientsAskTheKernelAtOnce() async throws {
        let guest = try RunningGuest("many")
        defer { guest.end() }
        _ = try guest.readyClient()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<20 {
                group.addTask {
                    let target = try OwnGuest(client: guest.client())
                    for turn in 0..<5 {
                        let answer = try target.exec("e \(number) \(turn)")
                        #expect(answer == ["line=e \(number) \(turn)"])
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test func aKernelThatAnswersWithoutEnd() throws {
        let guest = try RunningGuest("flood")
        defer { guest.end() }
        let target = try OwnGuest(client: guest.readyClient())
        expectRefusal("the kernel's monitor did not answer within 0.3 s") { try target.exec("flood", timeout: 0.3) }
        #expect(try target.client.execute("query-status").value["running"] == true)
    }

    private func expectRefusal(_ reason: String, _ body: () throws -> Any) {
        do {
            Issue.record("accepted: \(try body())")
        } catch {
            #expect("\(error)" == reason)
        }
    }
}

import Addresses
import Glibc
import GuestFolders
import GuestMemory
import JSON
import Monitor
import Targets
import Testing

@Suite(.enabled(if: hasKVM, "needs /dev/kvm"), .serialized) struct EndTests {
    /// Runs a command of the tiny guest that ends it, and gathers the events until the socket closes.
    private func events(_ guest: RunningGuest, after command: String) throws -> [QMPEvent] {
        let client = try guest.readyClient()
        let other = try guest.client()
        _ = try? other.execute(
            "x-vitrine-exec", [JSONMember("command-line", .string(command)), JSONMember("timeout", 5)])
        var events: [QMPEvent] = []
        do {
            while let event = try client.nextEvent(timeout: 5) { events.append(event) }
        } catch {}
        return events.filter { !$0.name.hasPrefix("X_VITRINE_STAGE") }
    }

    @Test func powerOffByTheGuest() throws {
        let guest = try RunningGuest("off")
        let seen = try events(guest, after: "off")
        #expect(seen.map(\.name) == ["SHUTDOWN"])
        #expect(seen.last?.data == ["guest": true, "reason": "guest-shutdown"])
        #expect(guest.status() == 0)
        #expect(try RuntimeFolder.ofThisUser().guest("off").removeIfLeftover() == .absent)
    }

    @Test func thePowerButton() throws {
        let guest = try RunningGuest("button")
        let client = try guest.readyClient()
        try client.execute("system_powerdown")
        #expect(guest.status() == 0)
    }

    @Test func panicInTheForeground() throws {
        let guest = try RunningGuest("panic")
        let seen = try events(guest, after: "panic")
        #expect(seen.map(\.name) == ["GUEST_PANICKED", "SHUTDOWN"])
        #expect(seen.first?.data["info"]?["reason"]?.text == "the guest kernel panicked (code 0xbad)")
        #expect(guest.status() == 5)
    }

    @Test func aCrashedGuestIsKeptWhereAsked() throws {
        for (command, state) in [("panic", "guest-panicked"), ("triple", "internal-error")] {
            let guest = try RunningGuest("kept-\(command)", ["--keep"])
            defer { guest.end() }
            let client = try guest.readyClient()
            _ = try? client.execute(
                "x-vitrine-exec", [JSONMember("command-line", .string(command)), JSONMember("timeout", 5)])
            let info = try client.execute("x-vitrine-info").value
            #expect(info["state"]?.text == state)
            #expect(info["crash"]?.elements?.isEmpty == false)
            // It still can be looked at, but not go on.
            let target = try OwnGuest(client: guest.client())
            #expect(target.memory.bytes(at: .init(0x20_3000), count: 1) == [0xba])
            #expect(throws: TargetError.self) { try client.execute("cont") }
            #expect(throws: TargetError.self) { try client.execute("system_powerdown") }
            // A reset gives it a new life.
            try client.execute("system_reset")
            _ = try guest.readyClient()
            #expect(try target.exec("e") == ["line=e"])
            #expect(guest.end() == 0)
        }
    }

    @Test func resetByTheGuest() throws {
        let guest = try RunningGuest("reset")
        defer { guest.end() }
        let client = try guest.readyClient()
        let reply = try client.execute(
            "x-vitrine-exec", [JSONMember("command-line", "reset"), JSONMember("timeout", 5)])
        #expect(reply.value["error"] == "the guest was reset")
        var names: [String] = []
        while let event = try client.nextEvent(timeout: 5) {
            names.append(event.name)
            if event.data["stage"] == "ready", names.contains("RESET") { break }
        }
        #expect(names.contains("RESET"))
        #expect(try OwnGuest(client: client).exec("e") == ["line=e"])
    }

    @Test func haltedForEver() throws {
        let guest = try RunningGuest("halt")
        let seen = try events(guest, after: "halt")
        #expect(seen.map(\.name) == ["X_VITRINE_HALTED", "SHUTDOWN"])
        #expect(guest.status() == 5)
    }

    @Test func aStormOfProgramEndsIsBounded() throws {
        let guest = try RunningGuest("storm")
        defer { guest.end() }
        let client = try guest.readyClient()
        _ = try OwnGuest(client: guest.client()).exec("q", timeout: 60)
        let surplus = try client.execute("x-vitrine-info").value["counters"]?["surplus-program-ends"]?.int ?? 0
        #expect(surplus == 100_000 - 256)
        var ends = 0
        while let event = try client.nextEvent(timeout: 0.05) { if event.name == "X_VITRINE_PROGRAM" { ends += 1 } }
        #expect(ends == 256)
    }

    @Test func aNameIsTaken() throws {
        let guest = try RunningGuest("taken")
        defer { guest.end() }
        do {
            _ = try RunningGuest("taken")
            Issue.record("started")
        } catch let error as MonitorError {
            #expect(error.exitStatus == 2)
            #expect(error.description.contains("process \(getpid())"))
        }
    }

    @Test func aFailedStartLeavesNothingBehind() throws {
        _ = RunningGuest.folder
        for words in [["--memory", "1M"], ["--program", "/nowhere"], ["--console", "file:/nowhere/x"]] {
            #expect(throws: MonitorError.self) { try RunningGuest("failed", words) }
            #expect(try RuntimeFolder.ofThisUser().guest("failed").removeIfLeftover() == .absent)
        }
    }
}

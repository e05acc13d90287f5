import Glibc
import GuestMemory
import JSON
import SystemCalls
import Targets
import Testing

@Suite(.enabled(if: hasKVM, "needs /dev/kvm"), .serialized) struct HostileClientTests {
    /// Runs `attack` and checks that another client is served before, meanwhile and after.
    private func check(_ name: String, _ attack: (RunningGuest) throws -> Void) throws {
        let guest = try RunningGuest(name)
        defer { guest.end() }
        let witness = try guest.readyClient()
        try attack(guest)
        #expect(try witness.execute("query-status").value["running"] == true)
        #expect(try OwnGuest(client: guest.client()).exec("e") == ["line=e"])
    }

    @Test func brokenRequests() throws {
        try check("broken") { guest in
            let raw = try RawClient(guest)
            #expect(raw.negotiate())
            for line in [
                "{", "}", "\u{1}\u{2}", "{\"execute\":", String(repeating: "[", count: 500_000),
                String(repeating: "{\"a\":", count: 100_000), "{\"execute\":\"stop\",\"execute\":\"quit\"}",
                "{\"execute\":\"\u{0}\"}", "{\"execute\":12345678901234567890}",
            ] {
                #expect(raw.say(line + "\n"))
                #expect(raw.reply()?["error"] != nil)
            }
            #expect(raw.say([0xff, 0xfe, 0x0a]))
            #expect(raw.reply()?["error"] != nil)
        }
    }

    @Test func aLineWithoutEnd() throws {
        try check("endless") { guest in
            let raw = try RawClient(guest)
            #expect(raw.negotiate())
            raw.say([UInt8](repeating: 0x20, count: 3 << 20))
            // The server complains and closes.
            var last: String?
            while let line = raw.next() { last = line }
            #expect(last?.contains("a line has at most") ?? true)
            #expect(!raw.say("{}\n") || raw.next() == nil)
        }
    }

    @Test func halfAMessage() throws {
        try check("half") { guest in
            for text in ["{\"execute\":\"qu", "{\"execute\":\"qmp_capabilities\"}\n{\"exe"] {
                let raw = try RawClient(guest)
                raw.say(text)
            }
            let open = try RawClient(guest)
            open.say("{\"exec")
            withExtendedLifetime(open) {}
        }
    }

    @Test func aClientThatNeverReads() throws {
        try check("deaf") { guest in
            let raw = try RawClient(guest)
            raw.say("{\"execute\":\"qmp_capabilities\"}\n")
            // Each answer is some kilobytes; the server must neither block nor keep them all.
            let request = Array(String(repeating: "{\"execute\":\"query-commands\"}\n", count: 2000).utf8)
            for _ in 0..<20 where !raw.say(request) { break }
        }
    }

    @Test func aRequestAndGoodbye() throws {
        try check("goodbye") { guest in
            let raw = try RawClient(guest)
            raw.say(
                "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"x-vitrine-exec\",\"arguments\":{\"command-line\":\"e\"},\"id\":9}\n"
            )
            shutdown(raw.socket.rawValue, Int32(SHUT_WR))
            var found = false
            while let reply = raw.reply() { if reply["id"] == 9 { found = reply["return"]?["lines"] == ["line=e"] } }
            #expect(found)
            // And one who does not wait for the answer.
            let other = try RawClient(guest)
            other.say(
                "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"x-vitrine-exec\",\"arguments\":{\"command-line\":\"e\"}}\n"
            )
        }
    }

    @Test func descriptorsThatNobodyWants() throws {
        try check("gifts") { guest in
            let raw = try RawClient(guest)
            #expect(raw.negotiate())
            // Known by its name: other tests open and close descriptors of this process meanwhile.
            let gift = try FileDescriptor.sealedFile(named: "unwanted-gift", [1])
            let number = gift.rawValue
            for _ in 0..<20 {
                let bytes = Array("{\"execute\":\"query-status\"}\n".utf8)
                _ = try bytes.withUnsafeBytes {
                    try UnixSocket.send(raw.socket, $0, descriptors: [number, number, number, number, number])
                }
                #expect(raw.reply()?["return"] != nil)
            }
            let kept = try Files.names(in: "/proc/self/fd").filter {
                Files.link("/proc/self/fd/\($0)")?.contains("unwanted-gift") == true
            }
            #expect(kept == ["\(number)"])
        }
    }

    @Test func manyConnections() throws {
        try check("crowd") { guest in
            var clients: [RawClient] = []
            for _ in 0..<50 { clients.append(try RawClient(guest)) }
            for client in clients { #expect(client.negotiate()) }
            // Beyond the limit they wait in the kernel; those that leave make room.
            for _ in 0..<120 { if let one = try? RawClient(guest) { clients.append(one) } }
            clients = []
        }
    }

    @Test func theConsole() throws {
        try check("console") { guest in
            let client = try guest.readyClient()
            func attach() throws -> SharedDescriptor {
                try #require(client.execute("x-vitrine-console").descriptors.first)
            }
            func text(_ socket: SharedDescriptor, until end: String) -> String {
                var all = ""
                var buffer = [UInt8](repeating: 0, count: 65536)
                for _ in 0..<200 where !all.hasSuffix(end) {
                    var list = [pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)]
                    guard poll(&list, 1, 5000) > 0 else { break }
                    let count = read(socket.rawValue, &buffer, buffer.count)
                    guard count > 0 else { break }
                    all += String(decoding: buffer[..<count], as: UTF8.self)
                }
                return all
            }
            let first = try attach()
            let second = try attach()
            #expect(text(first, until: "hello\n") == "hello\n")
            #expect(text(second, until: "hello\n") == "hello\n")
            _ = "typed".utf8.withContiguousStorageIfAvailable { write(first.rawValue, $0.baseAddress, $0.count) }
            #expect(text(second, until: "typed") == "typed")
            // One that never reads loses output; the guest and the others do not wait for it.
            let deaf = try attach()
            let target = try OwnGuest(client: guest.client())
            for _ in 0..<4 {
                _ = try target.exec("w", timeout: 30)
                let words = text(second, until: String(repeating: "w", count: 20000))
                #expect(words.utf8.count == 20000)
            }
            let late = try attach()
            #expect(text(late, until: String(repeating: "w", count: 60000)).utf8.count >= 60000)
            withExtendedLifetime(deaf) {}
        }
    }
}

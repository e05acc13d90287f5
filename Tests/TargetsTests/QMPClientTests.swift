import JSON
import Targets
import Testing

@Suite struct QMPClientTests {
    @Test func commandsAnswersAndEvents() throws {
        let fake = try FakeMonitor { connection in
            while let request = connection.next() {
                connection.say(#"{"event":"STOP","timestamp":{}}"#)
                connection.answer(request, request["arguments"] ?? "none")
                connection.say(#"{"event":"RESUME","data":{"a":1}}"#)
            }
        }
        do {
            let client = try QMPClient(path: fake.path, name: "fake")
            #expect(try client.execute("one", [JSONMember("x", 5)]).value["x"]?.int == 5)
            let replies = try client.execute([("two", []), ("three", [JSONMember("y", "z")])])
            #expect(replies.map(\.value) == ["none", ["y": "z"]])
            var names: [String] = []
            for _ in 0..<6 { names.append(try client.nextEvent(timeout: 5)?.name ?? "nothing") }
            #expect(names == ["STOP", "RESUME", "STOP", "RESUME", "STOP", "RESUME"])
            #expect(try client.nextEvent(timeout: 0.01) == nil)
        }
    }

    @Test func anErrorIsThrownAndTheConnectionLives() throws {
        let fake = try FakeMonitor { connection in
            while let request = connection.next() {
                if request["execute"]?.text == "bad" {
                    connection.say(
                        #"{"error":{"class":"DeviceNotFound","desc":"no such thing"},"id":\#(request["id"]?.encoded ?? "0")}"#
                    )
                } else {
                    connection.answer(request, 1)
                }
            }
        }
        let client = try QMPClient(path: fake.path, name: "fake")
        do {
            _ = try client.execute([("good", []), ("bad", []), ("good", [])])
            Issue.record("not refused")
        } catch {
            guard case .refused(let command, let errorClass, let reason) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(command == "bad" && errorClass == "DeviceNotFound" && reason == "no such thing")
        }
        #expect(try client.execute("good").value == 1)
    }

    @Test func silence() throws {
        let fake = try FakeMonitor { connection in while connection.next() != nil {} }
        let client = try QMPClient(path: fake.path, name: "fake")
        expectError("no answer to x within 0.05 s") { try client.execute("x", timeout: 0.05) }
        // What comes afterwards could not be told from the late answer.
        expectError("'fake' went away while it was looked at") { try client.execute("y") }
    }

    @Test func theOtherEndCloses() throws {
        let fake = try FakeMonitor { _ = $0.next() }
        let client = try QMPClient(path: fake.path, name: "fake")
        expectError("'fake' went away while it was looked at") { try client.execute("x") }
    }

    @Test(arguments: [
        "{", "[]", "{}", #"{"return":1,"id":77}"#, String(repeating: "[", count: 1000), "\u{1}", #"{"id":2}"#,
    ])
    func nonsense(_ line: String) throws {
        let fake = try FakeMonitor { connection in
            _ = connection.next()
            connection.say(line)
            _ = connection.next()
        }
        let client = try QMPClient(path: fake.path, name: "fake")
        do {
            _ = try client.execute("x", timeout: 5)
            Issue.record("accepted")
        } catch {
            guard case .badAnswer = error else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test func nobodyThere() {
        for path in ["/tmp/vitrine-no-such-folder/qmp.sock", "/dev/null/x"] {
            expectError("no guest named 'n' (see vitrine list)") { try QMPClient(path: path, name: "n") }
        }
    }

    @Test func otherKindsOfTarget() {
        for text in ["libvirt:", "libvirt:qemu:///system#"] {
            do {
                _ = try Targets.open(text)
                Issue.record("opened")
            } catch {
                guard case .input(let message) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(message.contains("a domain is needed"))
            }
        }
        // It can be looked at, not steered.
        do {
            _ = try Targets.connect("libvirt:x")
            Issue.record("connected")
        } catch { #expect("\(error)".contains("virsh steers")) }
        #expect((try? LibvirtName("qemu+ssh://host/system#web"))?.uri == "qemu+ssh://host/system")
        #expect((try? LibvirtName("qemu+ssh://host/system#web"))?.domain == "web")
        #expect((try? LibvirtName("web"))?.uri == "")
        do {
            _ = try Targets.open("a/b")
            Issue.record("opened")
        } catch {
            guard case .input = error else {
                Issue.record("\(error)")
                return
            }
        }
    }

    private func expectError(_ message: String, _ body: () throws -> Any) {
        do {
            _ = try body()
            Issue.record("no error instead of: \(message)")
        } catch {
            #expect("\(error)" == message)
        }
    }
}

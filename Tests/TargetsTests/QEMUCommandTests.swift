// Monitors that are broken, at the command line: a message that says what, the status, and no waiting without end.

import Foundation
import JSON
import SystemCalls
import Targets
import TestSupport
import Testing

@Suite struct QEMUCommandTests {
    /// A monitor that answers as a good one does, but for what `answer` says otherwise; nil: it hangs up.
    func pages(_ answer: @escaping @Sendable (String) -> String?) throws -> CommandResult {
        let fake = try QEMUTargetTests().fake(answer)
        return try vitrine(["pages", "qmp:\(fake.path)"])
    }

    /// A page as `xp` prints it: 512 words.
    static func page(at start: String, _ word: (Int) -> UInt64) -> String {
        let base = UInt64(start.dropFirst(2), radix: 16) ?? 0
        return (0..<256).map { line in
            func hex(_ value: UInt64) -> String {
                String(repeating: "0", count: 16 - String(value, radix: 16).count) + String(value, radix: 16)
            }
            return "\(hex(base + UInt64(line) * 16)): 0x\(hex(word(2 * line))) 0x\(hex(word(2 * line + 1)))"
        }.joined(separator: "\r\n")
    }

    /// A machine with a root at 0x1000, whose first entry leads to itself.
    @Sendable static func machine(_ command: String) -> String? {
        if command == "xp /512gx 0x1000" { return page(at: "0x1000") { $0 == 0 ? 0x1067 : 0 } }
        if command.hasPrefix("xp ") { return page(at: "0x0") { _ in 0 } }
        return QEMUTargetTests.good(command)
    }

    @Test func aGoodOne() throws {
        let result = try pages(Self.machine)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("4-level tables, root 0x1000, live, memory by monitor"), "\(result.output)")
    }

    /// It hangs up in the middle of any step, the walk included.
    @Test(arguments: ["info mtree", "gpa2hva", "info registers", "xp /512gx 0x1000"]) func itDies(step: String) throws {
        let asked = Counter()
        let result = try pages { command in
            // The first read of a page compares the ways to read it; the walk's own comes later.
            if command.hasPrefix(step), !step.hasPrefix("xp") || asked.next() > 0 { return nil }
            return Self.machine(command)
        }
        #expect(result.status == 3, "\(result.output)\(result.errors)")
        #expect(result.errors.contains("went away"), "\(result.errors)")
    }

    /// It says half an answer and hangs up.
    @Test func itDiesWithinAnAnswer() throws {
        let fake = try FakeMonitor { connection in
            guard connection.next() != nil else { return }
            connection.say(#"{"return": [{"cpu-"#)
        }
        let result = try vitrine(["pages", "qmp:\(fake.path)"])
        #expect(result.status == 4 || result.status == 3, "\(result.errors)")
        #expect(result.errors.contains("went away") || result.errors.contains("makes no sense"), "\(result.errors)")
    }

    /// It stops talking: the command ends by itself and says why.
    @Test func itStalls() throws {
        let start = Date()
        let fake = try FakeMonitor { connection in
            while let request = connection.next() {
                let command = request["arguments"]?["command-line"]?.text ?? ""
                if command == "info registers" {
                    // Half a line, and then nothing for longer than anybody waits.
                    _ = Array(#"{"return": "CR0=80"#.utf8).withUnsafeBytes {
                        write(connection.socket.rawValue, $0.baseAddress, $0.count)
                    }
                    _ = connection.next()
                    sleep(12)
                    return
                }
                switch request["execute"]?.text {
                case "query-cpus-fast": connection.answer(request, [["cpu-index": 0]])
                case "human-monitor-command": connection.answer(request, .string(Self.machine(command) ?? ""))
                default: connection.answer(request, [:])
                }
            }
        }
        let result = try vitrine(["pages", "qmp:\(fake.path)"])
        #expect(result.status == 4, "\(result.output)\(result.errors)")
        #expect(result.errors.contains("no answer to human-monitor-command within 10 s"), "\(result.errors)")
        #expect(Date().timeIntervalSince(start) < 30)
    }

    /// Answers that make no sense.
    @Test(arguments: [
        ("info mtree", "unknown command", 4),
        ("info mtree", "FlatView #0\n AS \"memory\"\n  0-7ff (prio 0, ram): x", 4),
        ("gpa2hva", "No memory", 4), ("info registers", "PC=0 X00=1", 4), ("info registers", "", 4),
        ("xp /512gx 0x1000", "Cannot access memory", 4),
    ]) func itTalksNonsense(step: String, text: String, status: Int32) throws {
        let result = try pages { $0.hasPrefix(step) ? text : Self.machine($0) }
        #expect(result.status == status, "\(result.output)\(result.errors)")
        #expect(result.errors.hasPrefix("vitrine: ") && result.errors.count > 20, "\(result.errors)")
    }

    /// CR3 names a page that is not RAM: the report says so.
    @Test func aRootOutsideRAM() throws {
        let result = try pages { command in
            if command == "info registers" {
                return QEMUTargetTests.registers.replacingOccurrences(of: "CR3=0000000000001000", with: "CR3=7ffff000")
            }
            return Self.machine(command)
        }
        #expect(result.status == 0 && result.output.contains("nothing is mapped"), "\(result.errors)")
        #expect(result.output.contains("table outside RAM"), "\(result.output)")
    }

    @Test func noMonitor() throws {
        let nothing = try vitrine(["pages", "qmp:/nonexistent/qmp"])
        #expect(
            nothing.status == 3 && nothing.errors.contains("no QEMU listens at /nonexistent/qmp"), "\(nothing.errors)")
        let file = try vitrine(["pages", "qmp:/etc/passwd"])
        #expect(file.status == 3 && file.errors.contains("no QEMU listens at"), "\(file.errors)")
        let long = try vitrine(["pages", "qmp:/" + String(repeating: "x", count: 200)])
        #expect(long.status != 0 && long.errors.contains("xxx"), "\(long.errors)")
    }

    /// A root whose entries are others at every read: the walk ends and says so.
    @Test func tablesThatChange() throws {
        let reads = Counter()
        let result = try pages { command in
            guard command.hasPrefix("xp /512gx 0x1000") else { return Self.machine(command) }
            let time = reads.next()
            return Self.page(at: "0x1000") { $0 == time % 512 ? 0x1067 : 0 }
        }
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("changed while they were read"), "\(result.output)")
    }
}

/// How often something happened.
final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var count = 0

    /// The number before this time.
    func next() -> Int {
        lock.lock()
        defer { lock.unlock() }
        count += 1
        return count - 1
    }
}

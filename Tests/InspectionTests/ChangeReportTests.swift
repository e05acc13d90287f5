import Addresses
import Foundation
import GuestMemory
import JSON
import PageTables
import Testing

@testable import Inspection

/// How changes are written.
@Suite struct ChangeReportTests {
    /// The calendar against Foundation's.
    @Test func timeOfDay() {
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime]
        for _ in 0..<2000 {
            let seconds = UInt64.random(in: 0..<7_258_118_400)
            let text = formatter.string(from: Date(timeIntervalSince1970: Double(seconds)))
            #expect(utcText(seconds * 1_000_000 + 42) == text.dropLast() + ".000042Z")
        }
        #expect(utcText(951_826_554_123_456) == "2000-02-29T12:15:54.123456Z")
    }

    func range(_ gpa: UInt64, _ flags: PageFlags, page: UInt64 = 4096, bits: UInt64 = 3) -> AnnotatedRange {
        AnnotatedRange(
            va: GVA(0x5000), size: 8192, gpa: GPA(gpa), pageSize: page, repeatsPage: false, flags: flags,
            leafBits: bits, kind: .ram, region: "main", meaning: nil)
    }

    func text(_ change: AnnotatedChange) -> String {
        var buffer = TextBuffer()
        ChangeForm(showsAccessed: false).line(change, into: &buffer)
        return String(decoding: buffer.take(), as: UTF8.self)
    }

    /// Of the new side only what is not as before is said; the columns before that are aligned.
    @Test func lines() throws {
        func change(_ from: AnnotatedRange?, _ to: AnnotatedRange?) -> AnnotatedChange {
            AnnotatedChange(va: GVA(0x5000), size: 8192, from: from, to: to, isScattered: false)
        }
        let one = range(0x9000, [.readable, .writable])
        #expect(text(change(nil, one)).hasSuffix(" main          4K 0x9000 -rw--\n"))
        #expect(text(change(one, nil)).hasPrefix("- 0x0000000000005000-0x0000000000006fff      8K  main "))
        #expect(text(change(one, range(0x9000, .readable))).hasSuffix("4K 0x9000 -rw-- -> -r---\n"))
        #expect(text(change(one, range(0x7000, [.readable, .writable]))).hasSuffix("-rw-- -> 0x7000\n"))
        #expect(text(change(one, range(0x9000, one.flags, page: 2 << 20))).hasSuffix("-> 2M\n"))
        #expect(text(change(one, range(0x9000, one.flags, bits: 0x203))).hasSuffix("-> leaf bits 0x3 -> 0x203\n"))
        var writer = JSONWriter()
        writer.object { ChangeForm(showsAccessed: false).members(change(one, nil), into: &$0) }
        let json = try JSON.parse(writer.bytes)
        #expect(json["change"]?.text == "removed" && json["to"] == .null && json["from"]?["gpa"]?.address == 0x9000)
    }
}

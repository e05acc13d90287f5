// What `diff` and `watch` say in sum, of what, and how much of it: each against what the changes themselves say.

import Addresses
import GuestMemory
import JSON
import Layouts
import PageTables
import Testing

@testable import Inspection

@Suite struct DiffReportTests {
    let before: MappingMoment
    let after: MappingMoment

    /// Some thousand changes of every kind: more than one piece of output.
    init() throws {
        let one = try OSvImage()
        let two = try OSvImage()
        for index in 0..<1500 as Range<UInt64> {
            // Every third page only, so that nothing merges.
            let va = OSv.mmapBase + index * 3 * 4096
            let bits: UInt64 = index % 3 == 0 ? 0x65 | 1 << 63 : OSv.leafBits4K
            if index % 4 != 0 { one.map4K(va, 0x300_0000 + index * 4096) }
            if index % 4 != 1 { two.map4K(va, 0x300_0000 + index * 4096, bits: bits) }
        }
        before = MappingMoment(one.subject, absentMask: OSv.protNoneSoftwareBit)
        after = MappingMoment(two.subject, absentMask: OSv.protNoneSoftwareBit)
    }

    private func diff(
        _ form: ReportForm, _ before: MappingMoment? = nil, _ after: MappingMoment? = nil,
        change: (inout DiffOptions) -> Void = { _ in }
    ) throws -> (bytes: [UInt8], pieces: Int, isEqual: Bool, warnings: [String]) {
        var options = DiffOptions()
        options.form = form
        change(&options)
        var bytes: [UInt8] = []
        var pieces = 0
        let result = try writeDiff(before ?? self.before, after ?? self.after, options: options) {
            bytes += $0
            pieces += 1
        }
        return (bytes, pieces, result.isEqual, result.warnings)
    }

    private func lines(_ bytes: [UInt8]) -> [Substring] {
        String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    }

    @Test func countsAreThoseOfTheChanges() throws {
        let written = try diff(.json)
        let json = try JSON.parse(written.bytes)
        let changes = try #require(json["changes"]?.elements)
        #expect(!written.isEqual && json["equal"] == false && json["complete"] == true && changes.count > 900)
        let text = try diff(.text)
        // What is full is handed on before the end, and nothing of it is lost or said twice.
        #expect(text.pieces > 2 && written.pieces > 2)
        let shown = lines(text.bytes)
        for (kind, sign) in [("added", "+ "), ("removed", "- "), ("changed", "~ ")] {
            let mine = changes.filter { $0["change"]?.text == kind }
            let bytes = mine.reduce(0 as UInt64) { $0 + ($1["size"]?.uint64 ?? 0) }
            #expect(mine.count > 100 && json[kind]?.int == mine.count && json["\(kind)Bytes"]?.uint64 == bytes)
            let marked = shown.filter { $0.hasPrefix(sign) }
            #expect(marked.count == mine.count)
            #expect(shown.last?.contains("\(grouped(mine.count)) \(kind) (\(roundSize(bytes)))") == true)
        }
        let records = readCSV(try diff(.csv).bytes).records
        #expect(records.count == changes.count)
    }

    @Test func aRangeAndAFilter() throws {
        let all = try #require(try JSON.parse(diff(.json).bytes)["changes"]?.elements)
        let range = GVA(OSv.mmapBase + 0x10_0000)...GVA(OSv.mmapBase + 0x1f_ffff)
        let inside = all.filter { change in
            change["va"]?.address.map { range.contains(GVA($0)) } ?? false
        }
        let ranged = try JSON.parse(diff(.json) { $0.range = range }.bytes)
        #expect(ranged["changes"]?.elements == inside && inside.count > 50 && inside.count < all.count)
        let writable = all.filter { change in
            ["from", "to"].contains { change[$0]?["flags"]?.text?.contains("w") == true }
        }
        let filtered = try JSON.parse(diff(.json) { $0.filter = try? RangeFilter(parsing: "writable") }.bytes)
        #expect(filtered["changes"]?.elements == writable && writable.count > 50 && writable.count < all.count)
    }

    /// What was not compared to its end is not equal, and says so.
    @Test func anIncompleteComparison() throws {
        let whole = try diff(.json, before, before)
        #expect(whole.isEqual && whole.warnings.isEmpty)
        let cut = try diff(.json, before, before) { $0.stepLimit = 10 }
        let json = try JSON.parse(cut.bytes)
        #expect(!cut.isEqual && json["equal"] == false && json["complete"] == false && json["stoppedAt"] != nil)
        #expect(cut.warnings.contains { $0.hasPrefix("incomplete: compared up to 0x") })
        let text = try lines(diff(.text, before, before) { $0.stepLimit = 10 }.bytes)
        #expect(text.contains("no difference") && text.last?.hasPrefix("incomplete: ") == true)
    }

    /// Tables that change between the walk and the look after it.
    private final class RestlessMemory: PhysicalMemory, @unchecked Sendable {
        let inner: SparseMemory
        let entry: UInt64
        private var refreshes = 0
        init(_ inner: SparseMemory, entry: UInt64) {
            self.inner = inner
            self.entry = entry
        }
        func page(at address: GPA) -> UnsafeRawPointer? { inner.page(at: address) }
        func refresh() {
            refreshes += 1
            if refreshes > 1 { inner[entry] ^= 1 << 1 }
        }
    }

    @Test func tablesThatChangeMeanwhile() throws {
        let image = try OSvImage()
        image.map4K(OSv.mmapBase, 0x300_0000)
        let memory = RestlessMemory(
            image.memory, entry: try #require(image.entryAddress(OSv.mmapBase, level: 1)))
        let subject = Subject(
            name: "a", layout: .osv, slots: image.slots, memory: .other(memory),
            format: .x86FourLevel(maxPhysicalAddressBits: 40), root: GPA(image.root))
        let moment = MappingMoment(subject, absentMask: OSv.protNoneSoftwareBit)
        let written = try diff(.json, moment, moment)
        #expect(
            written.warnings == ["from: 1 table changed while it was read", "to: 1 table changed while it was read"])
        #expect(try JSON.parse(written.bytes)["from"]?["tablesChanged"] == 1)
    }

    @Test func aScatteredChangeSaysSo() throws {
        let form = ChangeForm(showsAccessed: false)
        let range = AnnotatedRange(
            va: GVA(0x5000), size: 8192, gpa: GPA(0x9000), pageSize: 4096, repeatsPage: false, flags: .readable,
            leafBits: 1, kind: .ram, region: "main", meaning: nil)
        for isScattered in [false, true] {
            let change = AnnotatedChange(
                va: GVA(0x5000), size: 8192, from: range, to: range, isScattered: isScattered)
            var writer = JSONWriter()
            writer.object { form.members(change, into: &$0) }
            #expect(try JSON.parse(writer.bytes)["scattered"] == (isScattered ? true : nil))
            var buffer = TextBuffer()
            form.line(change, into: &buffer)
            let text = String(decoding: buffer.take(), as: UTF8.self)
            #expect(text.contains("(2 pages, scattered)") == isScattered)
        }
    }

    // MARK: Watch

    @Test func theTimeAndTheEndOfAWatch() throws {
        var annotator = ChangeAnnotator(from: before.subject, to: after.subject)
        var findings: [WatchFinding] = []
        _ = compareMappings(before.list, before.subject.format, after.list, after.subject.format) { change in
            annotator.annotate(change) { findings.append(.change($0)) }
            return findings.count < 100
        }
        findings = Array(findings.prefix(100))
        findings.append(.incomplete)
        func written(_ form: ReportForm, _ clock: WatchClock) -> [Substring] {
            var printer = WatchPrinter(form: form, clock: clock, showsAccessed: false)
            for finding in findings {
                printer.add(finding, at: WatchMoment(microseconds: 61_000_042, wallMicroseconds: 1_000_000))
            }
            #expect(printer.count == 100)
            printer.end(reason: "count", at: WatchMoment(microseconds: 61_999_999, wallMicroseconds: 2_000_000))
            return lines(printer.take())
        }
        let text = written(.text, .since)
        #expect(text.count == 102)
        #expect(text.prefix(101).allSatisfy { $0.hasPrefix(" 61.000042  ") }, "\(text.first ?? "")")
        #expect(text[100].hasSuffix("incomplete: there was more than can be compared"))
        #expect(text[101].hasPrefix(" 61.999999  end (count): "))
        #expect(written(.text, .utc).first?.hasPrefix("1970-01-01T00:00:01.000000Z ") == true)
        let objects = try written(.json, .since).map { try JSON.parse(Array($0.utf8)) }
        let end = try #require(objects.last)
        #expect(end["event"] == "end" && end["reason"] == "count")
        for kind in ["added", "removed", "changed"] {
            let mine = objects.filter { $0["change"]?.text == kind }
            let bytes = mine.reduce(0 as UInt64) { $0 + ($1["size"]?.uint64 ?? 0) }
            #expect(end[kind]?.int == mine.count && mine.count > 10)
            #expect(end["\(kind)Bytes"]?.uint64 == bytes)
            #expect(text[101].contains("\(mine.count) \(kind)"))
        }
        #expect(objects[100]["event"] == "incomplete")
    }
}

import Addresses
import GuestMemory
@testable import Inspection
import JSON
import Layouts
import PageTables
import Testing

@Suite struct AliasGroupTests {
    /// The addresses of a notation, read by its definition alone; nil if it is not one.
    func expand(_ notation: String) -> [UInt64]? {
        var text = Substring(notation)
        var stride: UInt64 = 0
        var repetitions: UInt64 = 1
        if let plus = text.firstIndex(of: "+") {
            let parts = text[text.index(after: plus)...].split(separator: ", n<")
            guard parts.count == 2, parts[0].hasPrefix("n*0x"), let distance = UInt64(parts[0].dropFirst(4), radix: 16),
                let count = UInt64(parts[1])
            else { return nil }
            (stride, repetitions) = (distance, count)
            text = text[..<plus]
        }
        guard text.hasPrefix("0x") else { return nil }
        var values: [UInt64] = [0]
        var rest = text.dropFirst(2)
        while let character = rest.popFirst() {
            if character == "_" { continue }
            var choice: [UInt64] = []
            if character == "[" {
                var last: UInt64?
                var isRange = false
                while let next = rest.popFirst(), next != "]" {
                    if next == "-" {
                        isRange = true
                        continue
                    }
                    guard let digit = next.hexDigitValue.map({ UInt64($0) }) else { return nil }
                    if isRange, let last { choice += (last + 1)...digit } else { choice.append(digit) }
                    isRange = false
                    last = digit
                }
            } else {
                guard let digit = character.hexDigitValue else { return nil }
                choice = [UInt64(digit)]
            }
            values = values.flatMap { value in choice.map { value << 4 | $0 } }
        }
        return values.flatMap { value in (0..<repetitions).map { value &+ $0 &* stride } }
    }

    func rows(_ addresses: [UInt64]) -> [(va: GVA, stride: UInt64, count: UInt64)] {
        addresses.map { (GVA($0), 0, 1) }
    }

    func texts(_ addresses: [UInt64]) -> [String] { AddressPattern.covering(rows(addresses)).map(\.description) }

    @Test func notation() {
        #expect(texts([0x20_0000]) == ["0x0000000000200000"])
        #expect(
            texts([0xffff_8000_0020_0000, 0xffff_9000_0020_0000, 0xffff_a000_0020_0000])
                == ["0xffff[89a]000_0020_0000"])
        #expect(
            texts([0x20_0000, 0xffff_8000_0020_0000, 0xffff_9000_0020_0000])
                == ["0x0000000000200000", "0xffff[89]000_0020_0000"])
        #expect(texts((0..<8).map { 0x10_0000 + $0 << 12 }) == ["0x10[0-7]000"])
        #expect(texts([0x1000, 0x3000, 0x4000, 0x5000, 0x6000, 0x8000]) == ["0x[13-68]000"])
        #expect(texts([0x1000, 0x12000, 0x23000]) == ["0x1000+n*0x11000, n<3"])
        #expect(
            texts((0..<65536).map { 0xffff_ff62_0000_3000 + $0 << 16 })
                == ["0xffffff6200003000+n*0x10000, n<65536"])
        // Two digits, where every combination is there.
        #expect(texts([0x1000, 0x2000, 0x1_1000, 0x1_2000]) == ["0x[01][12]000"])
        #expect(texts([0x1000, 0x2000, 0x1_1000]).count == 2)
        #expect(texts([]) == [])
    }

    /// Repetitions whose first addresses differ in a digit go together as well.
    @Test func rowsThatDifferInADigit() {
        let patterns = AddressPattern.covering([
            (GVA(0xffff_8000_0000_1000), 0x2000, 32), (GVA(0xffff_9000_0000_1000), 0x2000, 32),
            (GVA(0xffff_a000_0000_1000), 0x2000, 31),
        ])
        #expect(
            patterns.map(\.description) == [
                "0xffff[89]000_0000_1000+n*0x2000, n<32", "0xffffa00000001000+n*0x2000, n<31",
            ])
        #expect(patterns.map(\.count) == [64, 31])
    }

    /// Whatever the addresses, the patterns have exactly those: as their notation says, as they hand them out, and in number.
    @Test func exactlyTheSameAddresses() throws {
        var state: UInt64 = 3
        func random(_ below: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % below
        }
        for _ in 0..<150 {
            var rows: [(va: GVA, stride: UInt64, count: UInt64)] = []
            var addresses: Set<UInt64> = []
            // Grids with holes, rows, and single addresses, so that everything merges with something.
            for _ in 0..<(1 + random(4)) {
                let base = [0, 0xffff_8000_0000_0000, 0x7f00_0000_0000][Int(random(3))] + random(16) << 28
                switch random(3) {
                case 0:
                    let (places, kept) = (random(8) == 0 ? 2 : random(2), 1 + random(4))
                    for number in 0..<(1 << (4 * (places + 1))) / 4 as Range<UInt64> where random(4) < kept {
                        addresses.insert(base + number << (12 + 4 * random(2)))
                    }
                case 1:
                    let step = (1 + random(64)) << 12
                    for number in 0..<random(60) { addresses.insert(base + number * step) }
                default:
                    let row = (GVA(base + 1 << 40 + UInt64(rows.count) << 44), (1 + random(9)) << 12, 2 + random(40))
                    rows.append((row.0, row.1, row.2))
                }
            }
            var expected = addresses
            for row in rows { for number in 0..<row.count { expected.insert(row.va.rawValue + number * row.stride) } }
            let patterns = AddressPattern.covering(rows + self.rows(addresses.shuffled()))
            var written: [UInt64] = []
            var handedOut: [UInt64] = []
            for pattern in patterns {
                written += try #require(expand(pattern.description), "\(pattern)")
                pattern.forEach {
                    handedOut.append($0.rawValue)
                    return true
                }
            }
            #expect(written.count == expected.count && Set(written) == expected)
            #expect(handedOut.count == expected.count && Set(handedOut) == expected)
            #expect(patterns.reduce(0) { $0 + $1.count } == UInt64(expected.count))
            #expect(patterns.count <= expected.count)
        }
    }

    @Test func handingOutEndsWhenToldTo() {
        var count = 0
        AddressPattern(GVA(0), stride: 4096, repetitions: 1 << 40).forEach { _ in
            count += 1
            return count < 5
        }
        #expect(count == 5)
    }

    /// One page behind 65,536 addresses by way of tables that are used again and again: one line, at once.
    @Test(.timeLimit(.minutes(1))) func manyAliasesThroughSharedTables() throws {
        let tables = try BareTables()
        for index in 0..<32 as Range<UInt64> {
            tables.map(0xffff_ff62_0000_3000 + index << 16, 0x500_0000, size: 4096, bits: Leaf.kernelReadOnly)
        }
        let level1 = tables.memory[tables.entry(0xffff_ff62_0000_0000, level: 2)]
        let level2 = tables.memory[tables.entry(0xffff_ff62_0000_0000, level: 3)]
        for index in 0..<512 as Range<UInt64> {
            tables.memory[tables.entry(0xffff_ff62_0000_0000 + index << 21, level: 2)] = level1
        }
        for index in 0..<4 as Range<UInt64> {
            tables.memory[tables.entry(0xffff_ff62_0000_0000 + index << 30, level: 3)] = level2
        }
        tables.map(0x40_0000, 0x500_0000, size: 4096, bits: Leaf.userData)
        let page = GPA(0x500_0000)...GPA(0x500_0fff)
        let report = aliasesReport(of: page, subject: tables.subject(), form: .text)
        #expect(report.count == 65537)
        let lines = String(decoding: report.text, as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 5)
        #expect(lines[3].hasPrefix("0xffffff6200003000+n*0x10000, n<65536") && lines[3].contains("65,536"))
        #expect(lines[4] == "65,537 virtual addresses in 2 lines")
    }

    /// The same where every table is another.
    @Test(.timeLimit(.minutes(1))) func manyAliasesThroughDistinctTables() throws {
        let tables = try BareTables()
        for index in 0..<1024 as Range<UInt64> {
            tables.map(index << 21, 0x500_0000, size: 4096, bits: Leaf.userData)
        }
        let page = GPA(0x500_0000)...GPA(0x500_0fff)
        let text = String(
            decoding: aliasesReport(of: page, subject: tables.subject(), form: .text).text, as: UTF8.self)
        #expect(text.contains("0x0+n*0x200000, n<1024"))
        #expect(text.split(separator: "\n").count == 4)
    }

    @Test func groupsAsJSON() throws {
        let image = try OSvImage()
        let page = GPA(0x20_0000)...GPA(0x20_0fff)
        let json = try JSON.parse(aliasesReport(of: page, subject: image.subject, form: .json).text)
        let groups = try #require(json["groups"]?.elements)
        #expect(groups.compactMap { $0["pattern"]?.text } == ["0x0000000000200000", "0xffff[89a]000_0020_0000"])
        #expect(groups.last?["regions"]?.elements?.compactMap(\.text) == ["main", "page", "mempool"])
        #expect(json["count"]?.int == 4 && json["listed"]?.int == 4)
        for group in groups {
            #expect(
                group["addresses"]?.elements?.compactMap(\.address) == expand(try #require(group["pattern"]?.text)))
        }
        let few = try JSON.parse(aliasesReport(of: page, subject: image.subject, form: .json, limit: 2).text)
        #expect(few["count"]?.int == 4 && few["listed"]?.int == 2)
        #expect(few["groups"]?.elements?.compactMap { $0["addresses"]?.elements?.count } == [1, 1])
    }

    /// Physical ranges, and what is behind virtual ones.
    @Test func ranges() throws {
        let image = try OSvImage()
        image.map4K(OSv.mmapBase, 0x3a0_0000)
        image.map4K(OSv.mmapBase + 4096, 0x3a0_2000)
        image.map4K(OSv.mmapBase + 8192, 0x3a0_3000)
        let ranges = image.subject.physicalRanges(behind: GVA(OSv.mmapBase)...GVA(OSv.mmapBase + 0x2fff))
        #expect(ranges == [GPA(0x3a0_0000)...GPA(0x3a0_0fff), GPA(0x3a0_2000)...GPA(0x3a0_3fff)])
        let (found, _) = aliases(
            of: ranges, root: image.subject.root, format: image.subject.format, memory: image.memory)
        // mmap's own leaves, and each range in three areas.
        #expect(found.aliases.count == 2 + 3 * 2)
        for range in ranges {
            let one = aliases(of: range, root: image.subject.root, format: image.subject.format, memory: image.memory).0
            #expect(one.aliases.allSatisfy { found.aliases.contains($0) })
        }
        let part = image.subject.physicalRanges(
            behind: GVA(OSv.Area.page.base + 0x20_1000)...GVA(OSv.Area.page.base + 0x20_2fff))
        #expect(part == [GPA(0x20_1000)...GPA(0x20_2fff)])
        let text = String(
            decoding: aliasesReport(of: ranges, subject: image.subject, form: .text).text, as: UTF8.self)
        #expect(text.hasPrefix("a: 2 physical ranges, 12K, live\n"))
    }
}

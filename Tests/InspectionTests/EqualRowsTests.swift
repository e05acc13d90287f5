import Addresses
@testable import Inspection
import PageTables
import Testing

@Suite struct EqualRowsTests {
    struct Item: Addressed, Equatable {
        let va: GVA
        let kind: Int
        func isSame(as other: Item) -> Bool { kind == other.kind }
    }

    func rows(_ items: [Item]) -> [EqualRow<Item>] {
        var gatherer = RowGatherer<Item>()
        return items.flatMap { gatherer.add($0) } + gatherer.end()
    }

    /// Taken apart again the rows are what went in, in order.
    @Test func nothingIsLost() {
        var state: UInt64 = 5
        func random(_ below: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % below
        }
        var shortened = 0
        for _ in 0..<500 {
            var va: UInt64 = 0
            var items: [Item] = []
            for _ in 0..<random(40) {
                va += (1 + random(2)) << 12
                items.append(Item(va: GVA(va), kind: Int(random(8) / 7)))
            }
            let rows = rows(items)
            #expect(rows.allSatisfy { $0.count == 1 || $0.count > 2 })
            let again = rows.flatMap { row in
                (0..<row.count).map { Item(va: row.first.va &+ $0 &* row.stride, kind: row.first.kind) }
            }
            #expect(again == items)
            if rows.count < items.count { shortened += 1 }
        }
        #expect(shortened > 100)
    }

    @Test func twoAreNoRow() {
        let items = [0x1000, 0x2000, 0x5000, 0x8000, 0xb000].map { Item(va: GVA($0), kind: 0) }
        #expect(rows(items).map(\.count) == [1, 4])
        #expect(rows(items).last?.times == "4 times, every 12K")
    }

    /// One page at many addresses takes one line of the dump, and so does a table that is used at many.
    @Test func linesOfADump() throws {
        let tables = try BareTables()
        for index in 0..<32 as Range<UInt64> {
            tables.map(0x4000_0000 + index << 16, 0x500_0000, size: 4096, bits: Leaf.userReadOnly)
        }
        tables.map(0x5000_0000, 0x600_0000, size: 4096, bits: Leaf.userReadOnly)
        let table = tables.memory[tables.entry(0x5000_0000, level: 2)]
        for index in 0..<600 as Range<UInt64> {
            tables.memory[tables.entry(0x8000_0000 + index << 22, level: 2)] = table
        }
        var bytes: [UInt8] = []
        try writePages(tables.subject(), options: PagesOptions()) { bytes += $0 }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        let row =
            "0x0000000040000000-0x00000000401f0fff     4K   4K       0x5000000  ur---ad ram      (32 times, every 64K)"
        #expect(lines.contains(Substring(row)), "\(lines)")
        #expect(lines.contains { $0.contains("  as at 0x50000000, 344 times, every 4M, 1 leaf each, table") })
        #expect(lines.count < 12)
    }
}

// The map of tables seen, beside a dictionary.

import TestSupport
import Testing

@testable import PageTables

@Suite struct TableSetTests {
    /// Tables next to each other, far apart, smaller than a page, at several levels, and each of them asked for again.
    @Test(arguments: [12, 20, 28, 40]) func asADictionaryHasIt(bits: Int) {
        var random = Random(seed: UInt64(bits))
        var set = TableSet()
        var reference: [UInt64: Int] = [:]
        var table: UInt64 = 0
        for _ in 0..<50_000 {
            table =
                Bool.random(using: &random) ? table &+ 0x1000 : UInt64.random(in: 0..<(1 << bits), using: &random) << 12
            let isSmall = UInt8.random(in: 0..<16, using: &random) == 0
            let address = table | (isSmall ? UInt64.random(in: 0..<128, using: &random) << 5 : 0)
            let key = TableSet.key(address, level: Int.random(in: 1...5, using: &random))
            let known = reference[key]
            if known == nil { reference[key] = reference.count }
            #expect(set.findOrInsert(key) == known)
        }
    }

    /// The last page that an address of 64 bits reaches is a table like another.
    @Test func theEndOfTheAddresses() {
        var set = TableSet()
        for level in 1...5 {
            #expect(set.findOrInsert(TableSet.key(~0xfff, level: level)) == nil)
            #expect(set.findOrInsert(TableSet.key(~0xfff, level: level)) == level - 1)
        }
    }
}

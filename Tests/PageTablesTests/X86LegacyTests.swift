import Addresses
import GuestMemory
import PageTables
import Testing

@Suite struct ThirtyTwoBitTests {
    let memory = TestMemory()
    let format = PageTableFormat.x86ThirtyTwoBit()

    /// A directory at 0x1000 and a page table at 0x2000 for 0xc0000000...
    init() {
        memory[word: 0x1c00] = 0x2067
        memory[word: 0x2000] = 0x0005_5067
        memory[word: 0x2ffc] = 0x1234_5061
    }

    func translated(_ va: UInt64, format: PageTableFormat? = nil) -> Translation {
        translate(GVA(va), root: GPA(0x1000), format: format ?? self.format, memory: memory)
    }

    @Test func smallPages() {
        let first = translated(0xc000_0abc)
        #expect(first.mapping?.gpa == GPA(0x5_5abc))
        #expect(first.mapping?.flags.letters == "urwxad")
        #expect(first.entries.map(\.at) == [GPA(0x1c00), GPA(0x2000)])
        #expect(translated(0xc03f_f001).mapping?.gpa == GPA(0x1234_5001))
        #expect(translated(0xc03f_f001).mapping?.flags.letters == "rxad")
        #expect(translated(0xc000_1000).result == .notMapped(level: 1, value: 0))
        #expect(translated(0x1_0000_0000).result == .nonCanonical)
        #expect(translated(0xffff_ffff_c000_0000).result == .nonCanonical)
    }

    /// PSE-36: bits 20:13 are bits 39:32 of the address, bit 12 is PAT, bit 21 is reserved (SDM 3, table 5-4).
    @Test func largePages() {
        for high in 0..<256 as Range<UInt64> {
            memory[word: 0x1004] = UInt32(0x0080_0000 | high << 13 | 0xe7)
            #expect(translated(0x40_1234).mapping?.gpa == GPA(high << 32 | 0x80_1234))
        }
        #expect(translated(0x7f_ffff).mapping?.pageSize == 4 << 20)
        memory[word: 0x1004] = 0x0080_10e7
        #expect(translated(0x40_0000).mapping?.flags.attributeIndex == 4)
        memory[word: 0x1004] = 0x00a0_00e7
        guard case .reservedBits(level: 2, bits: 0x20_0000, mapping: _) = translated(0x40_0000).result else {
            Issue.record("\(translated(0x40_0000).result)")
            return
        }
    }

    @Test(arguments: 32...41) func theWidthOfLargePageAddresses(bits: Int) {
        let format = PageTableFormat.x86ThirtyTwoBit(maxPhysicalAddressBits: bits)
        for bit in 13...21 {
            memory[word: 0x1004] = 0x0080_00e7 | 1 << UInt32(bit)
            let result = translated(0x40_0000, format: format).result
            if bit - 13 < min(bits, 40) - 32 {
                #expect(translated(0x40_0000, format: format).mapping?.gpa == GPA(0x80_0000 | 1 << UInt64(bit + 19)))
            } else if case .reservedBits(level: 2, bits: 1 << UInt64(bit), mapping: _) = result {
            } else {
                Issue.record("bit \(bit), MAXPHYADDR \(bits): \(result)")
            }
        }
        let old = PageTableFormat.x86ThirtyTwoBit(maxPhysicalAddressBits: bits, pageSizeExtension36: false)
        memory[word: 0x1004] = 0x0080_20e7
        #expect(translated(0x40_0000, format: old).mapping == nil)
    }

    /// Without CR4.PSE bit 7 of a directory entry is ignored.
    @Test func withoutLargePages() {
        memory[word: 0x1c00] |= 0x80
        // As a large page bit 13 is bit 32 of the address.
        #expect(translated(0xc000_0abc).mapping?.gpa == GPA(0x1_0000_0abc))
        #expect(translated(0xc000_0abc, format: .x86ThirtyTwoBit(largePages: false)).mapping?.gpa == GPA(0x5_5abc))
    }

    @Test(
        arguments: zip(
            [1, 2, 3, 4, 5, 6, 7, 8] as [UInt32],
            [
                .writable, .user, .writeThrough, .cacheDisable, .accessed, .dirty, .attributeTable, .global,
            ] as [PageFlags])) func everyBit(bit: UInt32, flag: PageFlags)
    {
        memory[word: 0x2000] = 0x5_5001 | 1 << bit
        #expect(translated(0xc000_0000).mapping?.flags == [.readable, .executable, flag])
        memory[word: 0x2000] = 0x5_5fff & ~(1 << bit)
        #expect(translated(0xc000_0000).mapping?.flags.contains(flag) == false)
    }

    @Test func theWalk() {
        for index in 0..<1024 as Range<UInt64> {
            memory[word: 0x2000 + index * 4] = UInt32(0x10_0000 + index << 12 | 0x63)
        }
        memory[word: 0x1c04] = 0x0050_00e3
        memory[word: 0x1ffc] = 0x1067
        var collector = RunCollector()
        let summary = walk(root: GPA(0x1000), format: format, memory: memory, into: &collector)
        #expect(collector.runs.first?.va == GPA(0xc000_0000).asVirtual)
        #expect(collector.runs.first?.pageCount == 1024)
        #expect(collector.runs.dropFirst().first?.pageSize == 4 << 20)
        #expect(summary.findings.contains { $0.kind == .selfMap && $0.at == GPA(0x1ffc) })
        #expect(summary.leaves == 1024 + 1 + 3)
    }
}

extension GPA {
    fileprivate var asVirtual: GVA { GVA(rawValue) }
}

@Suite struct PAETests {
    let memory = TestMemory()
    let format = PageTableFormat.x86PAE(maxPhysicalAddressBits: 40)

    /// The root at 0x1020, a directory at 0x2000, a page table at 0x3000: 0xc0000000...
    init() {
        memory[0x1038] = 0x2001
        memory[0x2000] = 0x3067
        memory[0x3008] = 0x8000_00ab_cdef_5067
        memory[0x2008] = 0x12_3460_00e7
    }

    func translated(_ va: UInt64, format: PageTableFormat? = nil) -> Translation {
        translate(GVA(va), root: GPA(0x1020), format: format ?? self.format, memory: memory)
    }

    @Test func pages() {
        let small = translated(0xc000_1234)
        #expect(small.mapping?.gpa == GPA(0xab_cdef_5234))
        // The root's entry has no permission bits: nothing is taken away.
        #expect(small.mapping?.flags.letters == "urwad")
        #expect(small.entries.map(\.at) == [GPA(0x1038), GPA(0x2000), GPA(0x3008)])
        #expect(translated(0xc020_0042).mapping?.gpa == GPA(0x12_3460_0042))
        #expect(translated(0xc020_0042).mapping?.pageSize == 2 << 20)
        #expect(translated(0x0000_0000).result == .notMapped(level: 3, value: 0))
        #expect(translated(0x1_0000_0000).result == .nonCanonical)
    }

    /// Bits 2:1, 8:5 and those from MAXPHYADDR on are reserved in the root's entries (SDM 3, table 5-8).
    @Test(arguments: 1...63) func theRootsEntries(bit: Int) {
        let value: UInt64 = 0x2001 | 1 << UInt64(bit)
        memory[0x1038] = value
        let result = translated(0xc000_1234).result
        let reserved = [1, 2, 5, 6, 7, 8].contains(bit) || bit >= 40
        let address = (12..<40).contains(bit) && value != 0x2001
        let lenient = PageTableFormat.x86PAE(maxPhysicalAddressBits: 40, accessedInRoot: true)
        #expect((translated(0xc000_1234, format: lenient).mapping != nil) == (!reserved && !address || bit == 5))
        if reserved {
            #expect(result == .reservedBits(level: 3, bits: 1 << UInt64(bit), mapping: nil))
        } else if !address {
            #expect(translated(0xc000_1234).mapping?.gpa == GPA(0xab_cdef_5234))
        }
    }

    /// Bits 62 down to MAXPHYADDR are reserved in leaves and directory entries, bit 63 without EFER.NXE
    /// (SDM 3, tables 5-9 to 5-11).
    @Test(arguments: 40...63) func reservedBits(bit: Int) {
        memory[0x3008] = 0x5067 | 1 << UInt64(bit)
        memory[0x2008] = 0x60_00e7 | 1 << UInt64(bit)
        for address in [0xc000_1000, 0xc020_0000] as [UInt64] {
            let result = translated(address).result
            if bit == 63 {
                #expect(translated(address).mapping?.flags.contains(.executable) == false)
                let old = translated(address, format: .x86PAE(maxPhysicalAddressBits: 40, noExecute: false))
                #expect(old.mapping == nil)
            } else if case .reservedBits(_, bits: 1 << UInt64(bit), mapping: _?) = result {
            } else {
                Issue.record("bit \(bit): \(result)")
            }
        }
        memory[0x2000] = 0x3067 | 1 << UInt64(bit)
        memory[0x3008] = 0x5067
        #expect((translated(0xc000_1000).mapping != nil) == (bit == 63))
    }

    @Test(arguments: 13...20) func reservedBelowALargePage(bit: Int) {
        memory[0x2008] = 0x60_00e7 | 1 << UInt64(bit)
        guard case .reservedBits(level: 2, bits: 1 << UInt64(bit), mapping: _) = translated(0xc020_0000).result else {
            Issue.record("\(translated(0xc020_0000).result)")
            return
        }
    }
}

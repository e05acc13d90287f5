import Addresses
import GuestMemory
import PageTables
import Testing

@Suite struct ARMFormatTests {
    let memory = TestMemory()

    /// The first level at 0x4000, a second level at 0x8400 for 0x80000000...
    init() { memory[word: 0x4000 + 0x800 * 4] = 0x8401 }

    func translated(_ va: UInt64, _ format: PageTableFormat = .armShort()) -> Translation {
        translate(GVA(va), root: GPA(0x4000), format: format, memory: memory)
    }

    func flags(_ va: UInt64, _ format: PageTableFormat = .armShort()) -> PageFlags? {
        translated(va, format).mapping?.flags
    }

    @Test func sections() {
        memory[word: 0x4004] = 0xabc0_0c02
        #expect(translated(0x12_3456).mapping?.gpa == GPA(0xabc2_3456))
        #expect(translated(0x12_3456).mapping?.pageSize == 1 << 20)
        #expect(flags(0x10_0000) == [.user, .readable, .writable, .executable, .global])
        memory[word: 0x4004] = 0xabc2_0c12
        #expect(flags(0x10_0000) == [.user, .readable, .writable])
        #expect(translated(0x20_0000).result == .notMapped(level: 2, value: 0))
    }

    /// Bits 23:20 are bits 35:32 of the address, bits 8:5 bits 39:36.
    @Test func supersections() {
        for index in 0..<16 as Range<UInt64> { memory[word: 0x4040 + index * 4] = 0xabc4_0c02 | 0x0a0 }
        #expect(translated(0x1f2_3456).mapping?.gpa == GPA(0x5c_abf2_3456))
        #expect(translated(0x1f2_3456).mapping?.pageSize == 16 << 20)
        var collector = RunCollector()
        let format = PageTableFormat.armShort()
        let summary = walk(root: GPA(0x4000), format: format, memory: memory, into: &collector)
        #expect(collector.runs.count == 1)
        #expect(collector.runs.first?.va == GVA(0x100_0000))
        #expect(collector.runs.first?.pageSize == 16 << 20)
        #expect(summary.leaves == 1)
        // One entry is missing: what is left is said for each MiB.
        memory[word: 0x4040 + 7 * 4] = 0
        collector = RunCollector()
        _ = walk(root: GPA(0x4000), format: format, memory: memory, into: &collector)
        #expect(collector.runs.map(\.pageCount) == [7, 8])
        #expect(collector.runs.map(\.gpa) == [GPA(0x5c_ab00_0000), GPA(0x5c_ab80_0000)])
    }

    @Test func pages() {
        memory[word: 0x8404] = 0x1234_5032
        for index in 16..<32 as Range<UInt64> { memory[word: 0x8400 + index * 4] = 0x5678_0031 }
        #expect(translated(0x8000_1abc).mapping?.gpa == GPA(0x1234_5abc))
        #expect(translated(0x8000_1abc).entries.map(\.at) == [GPA(0x6000), GPA(0x8404)])
        #expect(translated(0x8001_fabc).mapping?.gpa == GPA(0x5678_fabc))
        #expect(translated(0x8001_fabc).mapping?.pageSize == 65536)
        var collector = RunCollector()
        let summary = walk(root: GPA(0x4000), format: .armShort(), memory: memory, into: &collector)
        #expect(collector.runs.map(\.pageSize) == [4096, 65536])
        #expect(summary.leaves == 2)
        // Two large pages in a row are one run.
        for index in 32..<48 as Range<UInt64> { memory[word: 0x8400 + index * 4] = 0x5679_0031 }
        collector = RunCollector()
        _ = walk(root: GPA(0x4000), format: .armShort(), memory: memory, into: &collector)
        #expect(collector.runs.map(\.pageCount) == [1, 2])
    }

    /// AP[2:0] for sections, large and small pages (ARM ARM, table B3-8), and with the access flag (table B3-9).
    @Test(arguments: 0..<8 as Range<UInt32>) func accessPermissions(ap: UInt32) {
        let rw: PageFlags = [.readable, .writable]
        let full: [PageFlags] = [
            .noAccess, rw, rw.union([.user, .userReadOnly]), rw.union(.user),
            .noAccess, .readable, [.readable, .user], [.readable, .user],
        ]
        let simplified: [PageFlags] = [
            rw, rw.union(.accessed), rw.union(.user), rw.union([.user, .accessed]),
            .readable, [.readable, .accessed], [.readable, .user], [.readable, .user, .accessed],
        ]
        memory[word: 0x4000] = 0x0002_0012 | (ap & 3) << 10 | (ap >> 2) << 15
        let page = 0xc00 | (ap & 3) << 4 | (ap >> 2) << 9
        memory[word: 0x8400] = page | 3
        for index in 16..<32 as Range<UInt64> { memory[word: 0x8400 + index * 4] = page | 1 | 1 << 15 }
        for address in [0, 0x8000_0000, 0x8001_0000] as [UInt64] {
            #expect(flags(address) == full[Int(ap)])
            #expect(flags(address, .armShort(accessFlag: true)) == simplified[Int(ap)])
        }
    }

    /// PXN takes execution from PL1 alone, and from everybody where PL0 may do nothing.
    @Test func privilegedExecuteNever() {
        memory[word: 0x4000] = 0x0002_0c03
        #expect(flags(0) == [.user, .readable, .writable, .executable, .noSupervisorExecute])
        memory[word: 0x4000] = 0x0002_0403
        #expect(flags(0) == [.readable, .writable])
        #expect(translated(0, .armShort(privilegedExecuteNever: false)).mapping == nil)
        memory[word: 0x8400] = 0x832
        #expect(flags(0x8000_0000) == [.user, .readable, .writable, .executable])
        memory[word: 0x6000] = 0x8405
        #expect(flags(0x8000_0000) == [.user, .readable, .writable, .executable, .noSupervisorExecute])
        #expect(
            flags(0x8000_0000, .armShort(privilegedExecuteNever: false)) == [.user, .readable, .writable, .executable])
    }

    /// Domains: no access, client, reserved, manager, in sections and through tables (ARM ARM, B3.7.3).
    @Test(arguments: 0..<16 as Range<UInt32>) func domains(domain: UInt32) {
        memory[word: 0x4000] = 0x0002_8412 | domain << 5
        memory[word: 0x6000] = 0x8401 | domain << 5
        memory[word: 0x8400] = 0xa13
        for (field, expected) in [
            (0, .noAccess), (1, .readable), (2, .noAccess), (3, [.readable, .writable, .executable, .user]),
        ] as [(UInt32, PageFlags)] {
            let format = PageTableFormat.armShort(
                domainAccess: 0x5555_5555 & ~(3 << (2 * domain)) | field << (2 * domain))
            #expect(flags(0, format) == expected)
            #expect(flags(0x8000_0000, format) == expected)
            // A supersection is of domain 0 whatever its bits 8:5.
            memory[word: 0x4040] = 0x0006_8412 | domain << 5
            #expect(flags(0x100_0000, format) == (domain == 0 ? expected : .readable))
        }
    }

    /// TTBCR.N: addresses below 2^(32 - N) by TTBR0, the others by TTBR1.
    @Test(arguments: 0..<8 as Range<UInt32>) func theSplit(n: UInt32) {
        let state = ARMPagingState(sctlr: 1, ttbcr: n, ttbr0: 0x1234_5fff, ttbr1: 0x8000_4abc)
        guard case .tables(let regions) = state.mode else {
            Issue.record("\(state.mode)")
            return
        }
        #expect(regions.count == (n == 0 ? 1 : 2))
        #expect(regions[0].root == GPA(0x1234_5fff).alignedDown(to: 1 << UInt64(14 - n)))
        #expect(regions[0].range.upperBound.rawValue == 1 << UInt64(32 - n) - 1)
        #expect(regions[0].format.levels[1].entryCount == 4096 >> Int(n))
        if n > 0 {
            #expect(regions[1].root == GPA(0x8000_4000))
            #expect(regions[1].range == GVA(1 << UInt64(32 - n))...GVA(0xffff_ffff))
            #expect(
                translate(GVA(1 << UInt64(32 - n)), root: regions[0].root, format: regions[0].format, memory: memory)
                    .result == .nonCanonical)
        }
        var off = state
        off.ttbcr |= 1 << 4
        guard case .tables(let rest) = off.mode else { return }
        #expect(rest.count == (n == 0 ? 0 : 1))
        off.sctlr = 0
        #expect(off.mode == .translationOff)
        off.sctlr = 1
        off.ttbcr = 1 << 31
        #expect(off.mode == .longDescriptors)
    }

    @Test func memoryTypes() {
        #expect(ARMMemoryType(leaf: 0x02, pageSize: 1 << 20) == .stronglyOrdered)
        #expect(ARMMemoryType(leaf: 0x06, pageSize: 1 << 20) == .device(shareable: true))
        #expect(ARMMemoryType(leaf: 0x2002, pageSize: 1 << 20) == .device(shareable: false))
        #expect(
            ARMMemoryType(leaf: 0x100e, pageSize: 1 << 20)
                == .normal(inner: .writeBackWriteAllocate, outer: .writeBackWriteAllocate))
        #expect(
            ARMMemoryType(leaf: 0x04e, pageSize: 4096)
                == .normal(inner: .writeBackWriteAllocate, outer: .writeBackWriteAllocate))
        #expect(
            ARMMemoryType(leaf: 0x16e, pageSize: 4096) == .normal(inner: .writeBack, outer: .writeBackWriteAllocate))
        #expect(ARMMemoryType(leaf: 0x1006, pageSize: 65536) == .undefined)
    }
}

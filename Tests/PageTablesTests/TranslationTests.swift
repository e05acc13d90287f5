import Addresses
import GuestMemory
import PageTables
import Testing

@Suite struct TranslationTests {
    let memory = TestMemory()
    let root: UInt64
    let format = PageTableFormat.x86FourLevel(maxPhysicalAddressBits: 40)

    init() { root = memory.table() }

    func translated(_ va: UInt64, format: PageTableFormat? = nil) -> Translation {
        translate(GVA(va), root: GPA(root), format: format ?? self.format, memory: memory)
    }

    @Test func aPageOfFourKiB() {
        memory.map(0xffff_8000_0020_0000, root: root, leaf: 0x7_5000 | 0x67)
        let translation = translated(0xffff_8000_0020_0abc)
        #expect(
            translation.result
                == .mapped(
                    PageMapping(
                        gpa: GPA(0x7_5abc), pageSize: 4096,
                        flags: [.readable, .writable, .executable, .user, .accessed, .dirty])))
        #expect(translation.entries.map(\.level) == [4, 3, 2, 1])
        #expect(translation.entries[0].at == GPA(root + 256 * 8))
        #expect(translation.entries[3].value == 0x7_5067)
        #expect(translation.mapping?.flags.letters == "urwxad")
        #expect(translation.mapping?.flags.columns == "urwx-ad")
    }

    @Test func largePages() {
        memory.map(0x4020_0000, root: root, level: 2, leaf: 0x60_0000 | 0xe7)
        memory.map(0x8000_0000, root: root, level: 3, leaf: 0xc000_0000 | 0xe7)
        #expect(translated(0x403f_ffff).mapping?.gpa == GPA(0x7f_ffff))
        #expect(translated(0x403f_ffff).mapping?.pageSize == 2 << 20)
        #expect(translated(0xbfff_ffff).mapping?.gpa == GPA(0xffff_ffff))
        #expect(translated(0xbfff_ffff).mapping?.pageSize == 1 << 30)
        #expect(translated(0xbfff_ffff).entries.count == 2)
    }

    /// Bit 12 of a large leaf is PAT and no part of the address; bits 20:13 are reserved.
    @Test func theBitsBelowALargePage() {
        memory.map(0, root: root, level: 2, leaf: 0x60_1000 | 0xe7)
        #expect(translated(0x10).mapping?.gpa == GPA(0x60_0010))
        #expect(translated(0x10).mapping?.flags.attributeIndex == 4)
        memory.map(0, root: root, level: 2, leaf: 0x60_2000 | 0xe7)
        guard case .reservedBits(level: 2, bits: 0x2000, mapping: _) = translated(0x10).result else {
            Issue.record("\(translated(0x10).result)")
            return
        }
    }

    /// W and U by AND, NX by OR, over all levels.
    @Test(arguments: 1...4) func permissionsOfEveryLevel(level: Int) {
        memory.map(0x1234_5678_9000, root: root, leaf: 0x5_0000 | 0x67)
        var at = root
        for current in stride(from: 4, to: level, by: -1) {
            at = memory[memory.entryAddress(0x1234_5678_9000, table: at, level: current)] & X86Bit.address
        }
        at = memory.entryAddress(0x1234_5678_9000, table: at, level: level)
        let entry = memory[at]
        memory[at] = entry & ~2
        #expect(translated(0x1234_5678_9000).mapping?.flags.letters == "urxad")
        memory[at] = entry & ~4
        #expect(translated(0x1234_5678_9000).mapping?.flags.letters == "rwxad")
        memory[at] = entry | 1 << 63
        #expect(translated(0x1234_5678_9000).mapping?.flags.letters == "urwad")
        memory[at] = entry & ~1
        #expect(translated(0x1234_5678_9000).result == .notMapped(level: level, value: entry & ~1))
        memory[at] = entry | 1 << 45
        guard case .reservedBits(level, 0x2000_0000_0000, _) = translated(0x1234_5678_9000).result else {
            Issue.record("\(translated(0x1234_5678_9000).result)")
            return
        }
        let withoutNX = PageTableFormat.x86FourLevel(maxPhysicalAddressBits: 40, noExecute: false)
        memory[at] = entry | 1 << 63
        guard
            case .reservedBits(level, 0x8000_0000_0000_0000, _) = translated(0x1234_5678_9000, format: withoutNX).result
        else {
            Issue.record("bit 63 is reserved without EFER.NXE")
            return
        }
    }

    @Test(
        arguments: zip(
            [0x80, 0x100, 0x20, 0x40, 0x8, 0x10] as [UInt64],
            [
                .attributeTable, .global, .accessed, .dirty, .writeThrough, .cacheDisable,
            ] as [PageFlags])) func theLeafsOwnBits(bit: UInt64, flag: PageFlags)
    {
        memory.map(0x1000, root: root, leaf: 0x5_0001 | bit)
        #expect(translated(0x1000).mapping?.flags == [.readable, .executable, flag])
    }

    @Test func whatIsNotCanonical() {
        #expect(translated(0x8000_0000_0000).result == .nonCanonical)
        #expect(translated(0xffff_7fff_ffff_ffff).result == .nonCanonical)
        #expect(translated(0x7fff_ffff_ffff).result == .notMapped(level: 4, value: 0))
        let five = PageTableFormat.x86FiveLevel()
        #expect(translated(0x8000_0000_0000, format: five).result == .notMapped(level: 5, value: 0))
        #expect(translated(0x0100_0000_0000_0000, format: five).result == .nonCanonical)
    }

    @Test func tablesOutsideRAM() {
        memory[root] = 0x70_0000_0067
        #expect(translated(0).result == .tableOutsideRAM(level: 3, at: GPA(0x70_0000_0000)))
        #expect(
            translate(GVA(0), root: GPA(0x1000_0000), format: format, memory: memory).result
                == .tableOutsideRAM(level: 4, at: GPA(0x1000_0000)))
    }

    /// Bit 7 is reserved above level 3; a loop ends at level 1.
    @Test func whatHostileTablesDo() {
        memory[root] = 0x5_0000 | 0xe7
        guard case .reservedBits(level: 4, bits: 0x80, mapping: nil) = translated(0).result else {
            Issue.record("\(translated(0).result)")
            return
        }
        memory[root] = root | 0x67
        #expect(translated(0x18).mapping?.gpa == GPA(root + 0x18))
        #expect(translated(0x18).entries.count == 4)
    }

    @Test func fiveLevels() {
        memory.map(0xff11_2233_4455_6000, root: root, leaf: 0x5_0067, levels: 5)
        let translation = translated(0xff11_2233_4455_6789, format: .x86FiveLevel())
        #expect(translation.mapping?.gpa == GPA(0x5_0789))
        #expect(translation.entries.map(\.level) == [5, 4, 3, 2, 1])
    }

    @Test func theModeFromTheRegisters() {
        var state = PagingState(cr0: 0x8000_0001, cr3: 0x1234_5fff, cr4: 0x20, efer: 0xd00)
        #expect(state.mode == .paging(.x86FourLevel(), root: GPA(0x1234_5000)))
        state.cr4 |= 1 << 12
        #expect(state.mode == .paging(.x86FiveLevel(), root: GPA(0x1234_5000)))
        state.efer = 0x500
        #expect(state.mode == .paging(.x86FiveLevel(noExecute: false), root: GPA(0x1234_5000)))
        state.efer = 0
        #expect(state.mode == .paging(.x86PAE(noExecute: false, accessedInRoot: true), root: GPA(0x1234_5fe0)))
        state.cr4 = 0
        #expect(
            state.mode == .paging(.x86ThirtyTwoBit(largePages: false), root: GPA(0x1234_5000)))
        state.cr0 = 1
        #expect(state.mode == .pagingOff)
    }
}

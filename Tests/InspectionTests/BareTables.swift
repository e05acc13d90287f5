// x86 tables of no system in particular, to be filled by a test.

import Addresses
import GuestMemory
@testable import Inspection
import PageTables

/// Tables with 4 or 5 levels in memory of the test's own; tables themselves are made from `tableBase` on.
final class BareTables {
    let memory: SparseMemory
    let slots: SlotTable
    let levels: Int
    private(set) var root: UInt64
    private var nextTable: UInt64

    /// Empty tables; `ram` are the guest physical addresses of slots.
    init(levels: Int = 4, ram: [Range<UInt64>] = [0..<256 << 20], tableBase: UInt64 = 0x100_0000) throws {
        self.levels = levels
        memory = SparseMemory(ranges: ram)
        slots = try SlotTable(
            ram.enumerated().map { number, range in
                MemorySlot(
                    id: UInt32(number), name: "slot\(number)", guestPhysicalAddress: GPA(range.lowerBound),
                    size: range.upperBound - range.lowerBound,
                    userspaceAddress: HVA(0x7f00_0000_0000 + UInt64(number) << 40))
            })
        root = tableBase
        nextTable = tableBase + 4096
    }

    func table() -> UInt64 {
        defer { nextTable += 4096 }
        return nextTable
    }

    func shift(_ level: Int) -> UInt64 { UInt64(12 + 9 * (level - 1)) }

    /// Where the entry for an address is; tables on the way are made.
    func entry(_ va: UInt64, level: Int, root other: UInt64? = nil, tableBits: UInt64 = 0x67) -> UInt64 {
        var table = other ?? root
        for current in stride(from: levels, to: level, by: -1) {
            let at = table + (va >> shift(current) & 511) * 8
            if memory[at] & 1 == 0 { memory[at] = self.table() | tableBits }
            table = memory[at] & X86Bit.address
        }
        return table + (va >> shift(level) & 511) * 8
    }

    /// Maps `size` bytes at `pa` with leaves of a level: 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB.
    func map(_ va: UInt64, _ pa: UInt64, size: UInt64, level: Int = 1, bits: UInt64, root: UInt64? = nil) {
        let page = 1 << shift(level)
        for offset in stride(from: 0, to: size, by: Int(page)) {
            memory[entry(va + offset, level: level, root: root)] =
                pa + offset | bits | (level > 1 ? X86Bit.pageSize : 0)
        }
    }

    /// What the processor would see.
    func subject(root other: UInt64? = nil) -> Subject {
        let format =
            levels == 5
            ? PageTableFormat.x86FiveLevel(maxPhysicalAddressBits: 40)
            : PageTableFormat.x86FourLevel(maxPhysicalAddressBits: 40)
        let linux = LinuxKernel.find(root: GPA(other ?? root), format: format, memory: memory, slots: slots)
        return Subject(
            name: "a", layout: linux?.layout, slots: slots, memory: .other(memory), format: format,
            root: GPA(other ?? root), linux: linux)
    }
}

/// Leaf bits, accessed and dirty included.
enum Leaf {
    static let nx: UInt64 = 1 << 63
    static let kernelCode: UInt64 = 0x61
    static let kernelReadOnly: UInt64 = 0x61 | nx
    static let kernelData: UInt64 = 0x63 | nx
    static let kernelWX: UInt64 = 0x63
    static let userCode: UInt64 = 0x65
    static let userReadOnly: UInt64 = 0x65 | nx
    static let userData: UInt64 = 0x67 | nx
    static let userWX: UInt64 = 0x67
}

/// Tables as a Linux kernel has them, with everything where a test wants it.
final class LinuxImage64 {
    let tables: BareTables
    let directMap: UInt64
    let vmalloc: UInt64
    let vmemmap: UInt64
    let text: UInt64
    let textPA: UInt64 = 0x400_0000

    /// A kernel whose regions are at these addresses.
    init(
        levels: Int = 4, ram: [Range<UInt64>] = [0..<0x1000_0000], directMap: UInt64, vmalloc: UInt64, vmemmap: UInt64,
        text: UInt64, textInDirectMap: UInt64 = Leaf.kernelReadOnly
    ) throws {
        tables = try BareTables(levels: levels, ram: ram)
        self.directMap = directMap
        self.vmalloc = vmalloc
        self.vmemmap = vmemmap
        self.text = text
        for range in ram {
            tables.map(
                directMap + range.lowerBound, range.lowerBound, size: range.upperBound - range.lowerBound, level: 2,
                bits: Leaf.kernelData)
            let section: UInt64 = 128 << 20
            let first = range.lowerBound / section
            let last = (range.upperBound + section - 1) / section
            tables.map(
                vmemmap + first * (2 << 20), 0x200_0000, size: (last - first) * (2 << 20), level: 2,
                bits: Leaf.kernelData)
        }
        // Text 4 MiB, of which the last 2 MiB are 8 KiB; rodata 2 MiB; data 4 MiB.
        tables.map(directMap + textPA, textPA, size: 6 << 20, level: 2, bits: textInDirectMap)
        tables.map(text, textPA, size: 2 << 20, level: 2, bits: Leaf.kernelCode)
        tables.map(text + (2 << 20), textPA + (2 << 20), size: 0x2000, bits: Leaf.kernelCode)
        tables.map(text + (4 << 20), textPA + (4 << 20), size: 0x8000, bits: Leaf.kernelReadOnly)
        tables.map(text + (6 << 20), textPA + (6 << 20), size: 4 << 20, level: 2, bits: Leaf.kernelData)
        tables.map(vmalloc, 0x300_0000, size: 0x4000, bits: Leaf.kernelData)
        tables.map(vmalloc + 0x6000, 0xfee0_0000, size: 0x1000, bits: Leaf.kernelData | 0x10)
        tables.map(0xffff_fe00_0000_0000, 0x320_0000, size: 0x1000, bits: Leaf.kernelReadOnly)
        tables.map(0xffff_ffff_c000_0000, 0x330_0000, size: 0x1000, bits: Leaf.kernelCode)
        tables.map(directMap + 0x320_0000, 0x320_0000, size: 2 << 20, level: 2, bits: Leaf.kernelReadOnly)
        tables.map(0x40_0000, 0x500_0000, size: 0x1000, bits: Leaf.userCode | 1 << 9 | 1 << 11)
    }

    /// With KASLR, 4 or 5 levels.
    static func randomised(levels: Int = 4, ram: [Range<UInt64>] = [0..<0x1000_0000]) throws -> LinuxImage64 {
        levels == 4
            ? try LinuxImage64(
                ram: ram, directMap: 0xffff_8c20_4000_0000, vmalloc: 0xffff_d117_4000_0000,
                vmemmap: 0xffff_f901_c000_0000,
                text: 0xffff_ffff_b600_0000)
            : try LinuxImage64(
                levels: 5, ram: ram, directMap: 0xff27_bc46_4000_0000, vmalloc: 0xff3e_07e4_8000_0000,
                vmemmap: 0xffd1_1526_8000_0000, text: 0xffff_ffff_b0c0_0000)
    }

    /// Where the source has everything.
    static func plain() throws -> LinuxImage64 {
        try LinuxImage64(
            directMap: 0xffff_8880_0000_0000, vmalloc: 0xffff_c900_0000_0000, vmemmap: 0xffff_ea00_0000_0000,
            text: 0xffff_ffff_8100_0000)
    }
}

// The formats of 32-bit x86: 32-bit paging with 4 MiB pages and PSE-36 (Intel SDM volume 3, 5.3, tables 5-3 to 5-6), and
// PAE paging (5.4, tables 5-8 to 5-11).
//
//     32-bit   31      22 21      12 11      0        PAE   31 30 29     21 20     12 11      0
//             | PDE  10  | PTE  10  | offset |             |PDPTE|  PDE 9  |  PTE 9  | offset |

extension PageTableFormat {
    /// 32-bit paging: CR4.PAE clear. Entries have 32 bits; nothing forbids execution.
    ///
    /// - Parameters:
    ///   - largePages: CR4.PSE; without it bit 7 of a directory entry is ignored (SDM 3, table 5-5).
    ///   - maxPhysicalAddressBits: MAXPHYADDR. Bits 20:13 of an entry that maps 4 MiB are bits 39:32 of the address, as far
    ///     as the processor has them; the rest of 21:13 is reserved (PSE-36; SDM 3, 5.3, table 5-4).
    ///   - pageSizeExtension36: CPUID 1, EDX 17; without it bits 21:13 are reserved (SDM 3, 5.1.4).
    public static func x86ThirtyTwoBit(
        largePages: Bool = true, maxPhysicalAddressBits: Int = 40, pageSizeExtension36: Bool = true
    ) -> PageTableFormat {
        // SDM 3, 5.3: M is the lesser of 40 and MAXPHYADDR.
        let limit = pageSizeExtension36 ? UInt64(min(max(maxPhysicalAddressBits, 32), 40)) : 32
        let high: UInt64 = ((1 << (limit - 32)) &- 1) << 13
        let belowLargePage: UInt64 = 0x003f_e000  // bits 21:13
        let large = LeafRule(
            rule: .all(of: X86Bit.pageSize), pageShift: 22, addressMask: 0xffc0_0000, highMask: high, highShift: 19,
            reserved: belowLargePage & ~high, attributeTable: X86Bit.patLarge)
        let page = LeafRule(
            rule: .always, pageShift: 12, addressMask: 0xffff_f000, reserved: 0, attributeTable: X86Bit.pat4K)
        let names = largePages ? x86LargePageNames(levels: 2...2) : []
        return PageTableFormat(
            name: "32-bit", entrySize: 4, virtualBits: 32, signExtended: false, presentMask: X86Bit.present,
            grantMask: X86Bit.writable | X86Bit.user, denyMask: 0, flagRules: x86FlagRules(executeDisable: false),
            namedBits: x86NamedBits + names, tableNames: ["PT", "PD"],
            levels: [
                PageTableLevel(shift: 12, indexBits: 10, table: nil, leaf: page),
                PageTableLevel(
                    shift: 22, indexBits: 10, table: largePages ? EntryRule(mask: X86Bit.pageSize, value: 0) : .always,
                    tableAddressMask: 0xffff_f000, leaf: largePages ? large : nil),
            ])
    }

    /// PAE paging: CR4.PAE set, EFER.LMA clear. The root has four entries and lies at a multiple of 32.
    ///
    /// The processor reads the root's entries when CR3 is loaded and keeps them (SDM 3, 5.4.1); here they are read from
    /// memory, so a guest that changed them since then shows what the next load will find.
    ///
    /// - Parameters:
    ///   - maxPhysicalAddressBits: MAXPHYADDR: bits 62 down to it are reserved in entries of levels 1 and 2, 63 down to it in
    ///     the root's (SDM 3, tables 5-8 to 5-11).
    ///   - noExecute: EFER.NXE; without it bit 63 is reserved.
    ///   - accessedInRoot: lets bit 5 of the root's entries pass. It is reserved, but QEMU's TCG sets it there in memory
    ///     when it walks, and what is in memory after CR3 was loaded makes no access fault.
    public static func x86PAE(
        maxPhysicalAddressBits: Int = 52, noExecute: Bool = true, accessedInRoot: Bool = false
    ) -> PageTableFormat {
        let bits = UInt64(min(max(maxPhysicalAddressBits, 32), 52))
        let tableAddress = X86Bit.address & ((1 << bits) &- 1)
        // Unlike with 4 levels bits 62:52 are not ignored but reserved (SDM 3, tables 5-9 to 5-11).
        let reserved = ~((1 << bits) &- 1) & ~X86Bit.executeDisable | (noExecute ? 0 : X86Bit.executeDisable)
        let large = LeafRule(
            rule: .all(of: X86Bit.pageSize), pageShift: 21, addressMask: tableAddress & ~0x1f_ffff,
            reserved: reserved | 0x001f_e000, attributeTable: X86Bit.patLarge)
        let page = LeafRule(
            rule: .always, pageShift: 12, addressMask: tableAddress, reserved: reserved, attributeTable: X86Bit.pat4K)
        return PageTableFormat(
            name: "PAE", entrySize: 8, virtualBits: 32, signExtended: false, presentMask: X86Bit.present,
            grantMask: X86Bit.writable | X86Bit.user, denyMask: X86Bit.executeDisable,
            flagRules: x86FlagRules(executeDisable: true),
            namedBits: x86NamedBits + x86LargePageNames(levels: 2...2)
                + [NamedBit(X86Bit.executeDisable, "XD", levels: 1...2)],
            tableNames: ["PT", "PD", "PDPT"],
            levels: [
                PageTableLevel(shift: 12, indexBits: 9, table: nil, leaf: page),
                PageTableLevel(
                    shift: 21, indexBits: 9, table: EntryRule(mask: X86Bit.pageSize, value: 0),
                    tableAddressMask: tableAddress, tableReserved: reserved, leaf: large),
                // The root's entries have no permissions: bits 2:1 and 8:5 are reserved (SDM 3, table 5-8).
                PageTableLevel(
                    shift: 30, indexBits: 2, table: .always, tableAddressMask: tableAddress,
                    tableReserved: ~((1 << bits) &- 1) | (accessedInRoot ? 0x1c6 : 0x1e6),
                    tableUngoverned: X86Bit.writable | X86Bit.user | X86Bit.executeDisable, leaf: nil),
            ])
    }

    /// The names of the two bits that only entries for large pages have.
    private static func x86LargePageNames(levels: ClosedRange<Int>) -> [NamedBit] {
        [
            NamedBit(X86Bit.pageSize, "PS", levels: levels, leaf: true),
            NamedBit(X86Bit.patLarge, "PAT", levels: levels, leaf: true),
        ]
    }
}

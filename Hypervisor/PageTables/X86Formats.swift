// The formats of x86-64: 4-level and 5-level paging (Intel SDM volume 3, chapter 5 "Paging", 5.5 and tables 5-14 to 5-20).

/// Bits of x86 paging entries that have the same place at every level.
public enum X86Bit {
    /// P, bit 0: the entry is used (SDM 3, table 5-15 and following).
    public static let present: UInt64 = 1 << 0
    /// R/W, bit 1: writes are allowed below this entry (SDM 3, 5.6).
    public static let writable: UInt64 = 1 << 1
    /// U/S, bit 2: user-mode accesses are allowed below this entry (SDM 3, 5.6).
    public static let user: UInt64 = 1 << 2
    /// PWT, bit 3: bit 0 of the memory-type index (SDM 3, 5.9).
    public static let writeThrough: UInt64 = 1 << 3
    /// PCD, bit 4: bit 1 of the memory-type index (SDM 3, 5.9).
    public static let cacheDisable: UInt64 = 1 << 4
    /// A, bit 5: the entry has been used for a translation (SDM 3, 5.8).
    public static let accessed: UInt64 = 1 << 5
    /// D, bit 6, in leaves: the page has been written (SDM 3, 5.8).
    public static let dirty: UInt64 = 1 << 6
    /// PS, bit 7, at levels 2 and 3: the entry maps a page (SDM 3, tables 5-16 and 5-18).
    public static let pageSize: UInt64 = 1 << 7
    /// PAT, bit 7 of an entry that maps a 4 KiB page (SDM 3, table 5-20).
    public static let pat4K: UInt64 = 1 << 7
    /// G, bit 8, in leaves: global if CR4.PGE is set (SDM 3, 5.10.2.4).
    public static let global: UInt64 = 1 << 8
    /// PAT, bit 12 of an entry that maps a 2 MiB or 1 GiB page (SDM 3, tables 5-16 and 5-18).
    public static let patLarge: UInt64 = 1 << 12
    /// Bits 62:59 of leaves: the protection key, if CR4.PKE or CR4.PKS is set (SDM 3, 5.6.2).
    public static let protectionKey: UInt64 = 0xf << 59
    /// XD, bit 63: no instruction fetches below this entry, if EFER.NXE is set; reserved otherwise (SDM 3, 5.6).
    public static let executeDisable: UInt64 = 1 << 63
    /// The bits of an entry that can be address bits: 51:12.
    public static let address: UInt64 = 0x000f_ffff_ffff_f000
}

extension PageTableFormat {
    /// 4-level paging: CR4.LA57 clear, 48-bit addresses (SDM 3, 5.5).
    ///
    /// - Parameters:
    ///   - maxPhysicalAddressBits: MAXPHYADDR (CPUID 0x80000008, EAX 7:0): address bits from there to 51 are reserved.
    ///   - noExecute: EFER.NXE; without it bit 63 is reserved.
    ///   - gibibytePages: CPUID 0x80000001, EDX 26; without it PS is reserved at level 3 (SDM 3, 5.1.4).
    public static func x86FourLevel(
        maxPhysicalAddressBits: Int = 52, noExecute: Bool = true, gibibytePages: Bool = true
    ) -> PageTableFormat {
        x86(
            levels: 4, maxPhysicalAddressBits: maxPhysicalAddressBits, noExecute: noExecute,
            gibibytePages: gibibytePages)
    }

    /// 5-level paging: CR4.LA57 set, 57-bit addresses (SDM 3, 5.5).
    public static func x86FiveLevel(
        maxPhysicalAddressBits: Int = 52, noExecute: Bool = true, gibibytePages: Bool = true
    ) -> PageTableFormat {
        x86(
            levels: 5, maxPhysicalAddressBits: maxPhysicalAddressBits, noExecute: noExecute,
            gibibytePages: gibibytePages)
    }

    private static func x86(
        levels count: Int, maxPhysicalAddressBits: Int, noExecute: Bool, gibibytePages: Bool
    ) -> PageTableFormat {
        let bits = UInt64(min(max(maxPhysicalAddressBits, 32), 52))
        // SDM 3, 5.1.4 and tables 5-14 to 5-20: bits 51:MAXPHYADDR are reserved in every entry.
        let reserved = X86Bit.address & ~((1 << bits) &- 1) | (noExecute ? 0 : X86Bit.executeDisable)
        /// A leaf of 2 MiB or 1 GiB: the address bits below its size are reserved but bit 12, which is PAT.
        func large(pageShift: UInt8) -> LeafRule {
            let address = X86Bit.address & ~((1 << UInt64(pageShift)) &- 1)
            return LeafRule(
                rule: EntryRule(mask: X86Bit.pageSize, value: X86Bit.pageSize), pageShift: pageShift,
                addressMask: address & ~reserved,
                reserved: reserved | X86Bit.address & ~address & ~X86Bit.patLarge, attributeTable: X86Bit.patLarge)
        }
        let page = LeafRule(
            rule: .always, pageShift: 12, addressMask: X86Bit.address & ~reserved, reserved: reserved,
            attributeTable: X86Bit.pat4K)
        var levels = [PageTableLevel(shift: 12, indexBits: 9, table: nil, leaf: page)]
        for level in 2...count {
            // Bit 7 is reserved above (SDM 3, table 5-15): such an entry counts as one that refers to a table.
            let canMap = level <= (gibibytePages ? 3 : 2)
            levels.append(
                PageTableLevel(
                    shift: UInt8(12 + 9 * (level - 1)), indexBits: 9,
                    table: canMap ? EntryRule(mask: X86Bit.pageSize, value: 0) : .always,
                    tableAddressMask: X86Bit.address & ~reserved,
                    tableReserved: reserved | (canMap ? 0 : X86Bit.pageSize),
                    leaf: canMap ? large(pageShift: UInt8(12 + 9 * (level - 1))) : nil))
        }
        return PageTableFormat(
            name: "\(count)-level", entrySize: 8, virtualBits: UInt8(12 + 9 * count), signExtended: true,
            presentMask: X86Bit.present, grantMask: X86Bit.writable | X86Bit.user, denyMask: X86Bit.executeDisable,
            flagRules: x86FlagRules(executeDisable: true),
            namedBits: x86NamedBits + [
                NamedBit(X86Bit.pageSize, "PS", levels: 2...3, leaf: true),
                NamedBit(X86Bit.patLarge, "PAT", levels: 2...3, leaf: true),
                NamedBit(X86Bit.protectionKey, "PK", leaf: true), NamedBit(X86Bit.executeDisable, "XD"),
            ],
            tableNames: ["PT", "PD", "PDPT", "PML4", "PML5"], levels: levels)
    }

    /// What the bits that all x86 formats share mean; XD only where entries have 64 bits.
    static func x86FlagRules(executeDisable: Bool) -> [FlagRule] {
        [
            FlagRule(.readable, .path, .always),
            FlagRule(.writable, .path, .all(of: X86Bit.writable)),
            FlagRule(.user, .path, .all(of: X86Bit.user)),
            FlagRule(.executable, .path, executeDisable ? .all(of: X86Bit.executeDisable) : .always),
            FlagRule(.global, .leaf, .all(of: X86Bit.global)),
            FlagRule(.accessed, .leaf, .all(of: X86Bit.accessed)),
            FlagRule(.dirty, .leaf, .all(of: X86Bit.dirty)),
            FlagRule(.writeThrough, .leaf, .all(of: X86Bit.writeThrough)),
            FlagRule(.cacheDisable, .leaf, .all(of: X86Bit.cacheDisable)),
        ]
    }

    /// The names of those bits.
    static let x86NamedBits = [
        NamedBit(X86Bit.present, "P"), NamedBit(X86Bit.writable, "RW"), NamedBit(X86Bit.user, "US"),
        NamedBit(X86Bit.writeThrough, "PWT"), NamedBit(X86Bit.cacheDisable, "PCD"),
        NamedBit(X86Bit.accessed, "A"), NamedBit(X86Bit.dirty, "D", leaf: true),
        NamedBit(X86Bit.pat4K, "PAT", levels: 1...1, leaf: true), NamedBit(X86Bit.global, "G", leaf: true),
    ]
}

// The short-descriptor format of ARMv7-A (ARM Architecture Reference Manual, ARMv7-A and ARMv7-R edition, DDI 0406C,
// B3.5 "Short-descriptor translation table format"; called "ARM ARM" below). Entries have 32 bits.
//
//     31         20 19      12 11         0
//    | first level | second   | offset     |    section: 1 MiB, supersection: 16 MiB (16 equal entries)
//    |   12 - N    | level  8 |            |    large page: 64 KiB (16 equal entries), small page: 4 KiB

import Addresses

/// Bits of short descriptors (ARM ARM, B3.5.1, figures B3-4 and B3-5).
public enum ARMBit {
    /// Bits 1:0, the kind: 0 is not present; at level 1: 1 a table, 2 or 3 a section; at level 2: 1 a large, 2 or 3 a small
    /// page.
    public static let kind: UInt64 = 3
    /// Bit 18 of a section: it is a supersection.
    public static let supersection: UInt64 = 1 << 18
    /// Bits 8:5 of a table or a section: the domain (B3.7.3).
    public static let domain: UInt64 = 0xf << 5
    /// Bit 2 of a table: PXN, no execution at PL1 from what is below (B3.7.2).
    public static let tablePXN: UInt64 = 1 << 2
    /// Bit 3 of a table: NS, what is below is non-secure memory.
    public static let tableNS: UInt64 = 1 << 3
    /// Bit 0 of a section: PXN.
    public static let sectionPXN: UInt64 = 1 << 0
    /// Bit 4 of a section: XN, no execution (B3.7.2).
    public static let sectionXN: UInt64 = 1 << 4
    /// Bits 11:10 of a section: AP[1:0] (B3.7.1).
    public static let sectionAP: UInt64 = 3 << 10
    /// Bit 15 of a section: AP[2].
    public static let sectionAP2: UInt64 = 1 << 15
    /// Bit 16 of a section: S, shareable.
    public static let sectionShareable: UInt64 = 1 << 16
    /// Bit 17 of a section: nG, not global.
    public static let sectionNotGlobal: UInt64 = 1 << 17
    /// Bit 19 of a section: NS, non-secure memory.
    public static let sectionNS: UInt64 = 1 << 19
    /// Bit 15 of a large page: XN.
    public static let largeXN: UInt64 = 1 << 15
    /// Bit 0 of a small page: XN.
    public static let smallXN: UInt64 = 1 << 0
    /// Bits 5:4 of a page: AP[1:0].
    public static let pageAP: UInt64 = 3 << 4
    /// Bit 9 of a page: AP[2].
    public static let pageAP2: UInt64 = 1 << 9
    /// Bit 10 of a page: S, shareable.
    public static let pageShareable: UInt64 = 1 << 10
    /// Bit 11 of a page: nG, not global.
    public static let pageNotGlobal: UInt64 = 1 << 11
    /// Bit 2 of a section or page: B, with C and TEX the memory type (B3.8.2).
    public static let bufferable: UInt64 = 1 << 2
    /// Bit 3 of a section or page: C.
    public static let cacheable: UInt64 = 1 << 3
}

/// The registers that decide how an ARMv7 processor translates addresses.
public struct ARMPagingState: Hashable, Sendable {
    /// SCTLR: M (translation on) is bit 0, AFE bit 29 (ARM ARM, B4.1.130).
    public var sctlr: UInt32
    /// TTBCR: N is bits 2:0, PD0 bit 4, PD1 bit 5, EAE bit 31 (B4.1.153).
    public var ttbcr: UInt32
    /// TTBR0: the root for addresses below 2^(32 - N), at bits 31:14 - N (B4.1.154).
    public var ttbr0: UInt32
    /// TTBR1: the root for the others, at bits 31:14 (B4.1.155).
    public var ttbr1: UInt32
    /// DACR: two bits for each domain: 0 no access, 1 client, 3 manager (B4.1.43).
    public var dacr: UInt32
    /// Whether the processor has PXN (ID_MMFR0, VMSA support 4 or more; B4.1.89).
    public var hasPXN = true

    /// The registers as read.
    public init(sctlr: UInt32, ttbcr: UInt32, ttbr0: UInt32, ttbr1: UInt32 = 0, dacr: UInt32 = 0x5555_5555) {
        self.sctlr = sctlr
        self.ttbcr = ttbcr
        self.ttbr0 = ttbr0
        self.ttbr1 = ttbr1
        self.dacr = dacr
    }

    /// What the registers say.
    public enum Mode: Hashable, Sendable {
        /// SCTLR.M is clear: a virtual address is a physical one.
        case translationOff
        /// One or two sets of tables, by ascending address; a region whose walks are disabled (PD0, PD1) is not there.
        case tables([TableRegion])
        /// TTBCR.EAE is set: the long-descriptor format, which is not described.
        case longDescriptors
    }

    /// How addresses are translated (B3.5.4 "Selecting between TTBR0 and TTBR1").
    public var mode: Mode {
        guard sctlr & 1 != 0 else { return .translationOff }
        guard ttbcr >> 31 == 0 else { return .longDescriptors }
        let split = UInt64(ttbcr & 7)
        let accessFlag = sctlr & 1 << 29 != 0
        func format(_ split: Int) -> PageTableFormat {
            .armShort(split: split, domainAccess: dacr, accessFlag: accessFlag, privilegedExecuteNever: hasPXN)
        }
        var regions: [TableRegion] = []
        let limit: UInt64 = 1 << (32 - split)
        if ttbcr & 1 << 4 == 0 {
            let root = GPA(UInt64(ttbr0)).alignedDown(to: 1 << (14 - split))
            regions.append(TableRegion(format: format(Int(split)), root: root, range: GVA(0)...GVA(limit - 1)))
        }
        if split != 0 && ttbcr & 1 << 5 == 0 {
            let root = GPA(UInt64(ttbr1)).alignedDown(to: 1 << 14)
            regions.append(TableRegion(format: format(0), root: root, range: GVA(limit)...GVA(0xffff_ffff)))
        }
        return .tables(regions)
    }
}

/// A memory type of ARMv7, without TEX remap (ARM ARM, B3.8.2, table B3-10).
public enum ARMMemoryType: Hashable, Sendable {
    /// Strongly-ordered.
    case stronglyOrdered
    /// Device.
    case device(shareable: Bool)
    /// Normal: how inner and outer caches treat it.
    case normal(inner: Cacheability, outer: Cacheability)
    /// An encoding without a defined meaning.
    case undefined

    /// How a cache treats memory; the raw values are those of the TEX and C, B fields (table B3-11).
    public enum Cacheability: UInt8, Hashable, Sendable {
        case nonCacheable = 0
        case writeBackWriteAllocate = 1
        case writeThrough = 2
        case writeBack = 3
    }

    /// The type that a descriptor's TEX, C and B select.
    public init(tex: UInt8, cacheable: Bool, bufferable: Bool) {
        let low = (cacheable ? 2 : 0) as UInt8 + (bufferable ? 1 : 0)
        switch (tex & 7, low) {
        case (0, 0): self = .stronglyOrdered
        case (0, 1): self = .device(shareable: true)
        case (0, 2): self = .normal(inner: .writeThrough, outer: .writeThrough)
        case (0, 3): self = .normal(inner: .writeBack, outer: .writeBack)
        case (1, 0): self = .normal(inner: .nonCacheable, outer: .nonCacheable)
        case (1, 3): self = .normal(inner: .writeBackWriteAllocate, outer: .writeBackWriteAllocate)
        case (2, 0): self = .device(shareable: false)
        case (4...7, _):
            self = .normal(
                inner: Cacheability(rawValue: low) ?? .nonCacheable,
                outer: Cacheability(rawValue: tex & 3) ?? .nonCacheable)
        default: self = .undefined
        }
    }

    /// The type of a leaf; TEX is bits 14:12 of sections and large pages, 8:6 of small pages.
    public init(leaf entry: UInt64, pageSize: UInt64) {
        self.init(
            tex: UInt8(entry >> (pageSize == 4096 ? 6 : 12) & 7), cacheable: entry & ARMBit.cacheable != 0,
            bufferable: entry & ARMBit.bufferable != 0)
    }
}

extension PageTableFormat {
    /// ARMv7 short descriptors.
    ///
    /// - Parameters:
    ///   - split: TTBCR.N for the tables of TTBR0: addresses have 32 - N bits and the root 4096 >> N entries; 0 for those of
    ///     TTBR1.
    ///   - domainAccess: DACR.
    ///   - accessFlag: SCTLR.AFE: AP[0] is the access flag.
    ///   - privilegedExecuteNever: whether bit 0 of sections and bit 2 of tables is PXN; without it a section with bit 0 set
    ///     is reserved, and bit 2 ignored.
    public static func armShort(
        split: Int = 0, domainAccess: UInt32 = 0x5555_5555, accessFlag: Bool = false,
        privilegedExecuteNever: Bool = true
    ) -> PageTableFormat {
        let split = UInt8(min(max(split, 0), 7))
        let pathBits = ARMBit.domain | ARMBit.tablePXN
        let sectionKind: UInt64 = privilegedExecuteNever ? 2 : 3
        let small = LeafRule(
            rule: EntryRule(mask: 2, value: 2), pageShift: 12, addressMask: 0xffff_f000, reserved: 0,
            kind: ARMKind.small, ungoverned: pathBits)
        let large = LeafRule(
            rule: EntryRule(mask: 3, value: 1), pageShift: 16, addressMask: 0xffff_0000, reserved: 0,
            kind: ARMKind.large, ungoverned: pathBits)
        let section = LeafRule(
            rule: EntryRule(mask: sectionKind | ARMBit.supersection, value: 2), pageShift: 20, addressMask: 0xfff0_0000,
            reserved: 0, kind: ARMKind.section, ungoverned: ARMBit.tablePXN)
        // Bits 23:20 are bits 35:32 of the address, bits 8:5 bits 39:36 (B3.5.1).
        let supersection = LeafRule(
            rule: EntryRule(mask: sectionKind | ARMBit.supersection, value: 2 | ARMBit.supersection), pageShift: 24,
            addressMask: 0xff00_0000, highMask: 0x00f0_0000, highShift: 12, topMask: 0x1e0, topShift: 31, reserved: 0,
            kind: ARMKind.supersection, ungoverned: pathBits)
        return PageTableFormat(
            name: "ARMv7 short", entrySize: 4, virtualBits: 32 - split, signExtended: false, presentMask: ARMBit.kind,
            grantMask: ARMBit.domain, denyMask: ARMBit.tablePXN,
            flagRules: armFlagRules(domainAccess, accessFlag: accessFlag, hasPXN: privilegedExecuteNever),
            namedBits: armNamedBits, tableNames: ["L2", "L1"],
            levels: [
                PageTableLevel(shift: 12, indexBits: 8, table: nil, leaf: small, otherLeaf: large),
                PageTableLevel(
                    shift: 20, indexBits: 12 - split, table: EntryRule(mask: 3, value: 1),
                    tableAddressMask: 0xffff_fc00, leaf: section, otherLeaf: supersection),
            ])
    }

    private enum ARMKind {
        static let section: UInt8 = 1
        static let supersection: UInt8 = 2
        static let large: UInt8 = 4
        static let small: UInt8 = 8
        static let all: UInt8 = 15
    }

    /// AP[2:1:0] (B3.7.1, tables B3-8 and B3-9); 100 is reserved and grants nothing.
    private static func access(_ ap: UInt64, accessFlag: Bool) -> PageFlags {
        switch (ap, accessFlag) {
        case (0, false), (4, false): return []
        case (1, false), (0, true), (1, true): return [.readable, .writable]
        case (2, false): return [.readable, .writable, .user, .userReadOnly]
        case (3, false), (2, true), (3, true): return [.readable, .writable, .user]
        case (5, false), (4, true), (5, true): return [.readable]
        default: return [.readable, .user]
        }
    }

    private static func armFlagRules(_ dacr: UInt32, accessFlag: Bool, hasPXN: Bool) -> [FlagRule] {
        var rules = [
            // What is below a table can be anything.
            FlagRule([.readable, .writable, .executable, .user], .path, .always, kinds: LeafRule.tableKind)
        ]
        let places: [(kinds: UInt8, low: UInt64, high: UInt64)] = [
            (ARMKind.section | ARMKind.supersection, ARMBit.sectionAP, ARMBit.sectionAP2),
            (ARMKind.large | ARMKind.small, ARMBit.pageAP, ARMBit.pageAP2),
        ]
        for (kinds, low, high) in places {
            let lowest = low & (~low &+ 1)
            for ap in 0..<8 as Range<UInt64> {
                rules.append(
                    FlagRule(
                        access(ap, accessFlag: accessFlag), .leaf,
                        EntryRule(mask: low | high, value: (ap & 3) &* lowest | (ap & 4 != 0 ? high : 0)),
                        kinds: kinds))
            }
            if accessFlag { rules.append(FlagRule(.accessed, .leaf, .all(of: lowest), kinds: kinds)) }
        }
        func clear(_ bit: UInt64) -> EntryRule { EntryRule(mask: bit, value: 0) }
        let sections = ARMKind.section | ARMKind.supersection
        let pages = ARMKind.large | ARMKind.small
        rules += [
            FlagRule(.executable, .leaf, clear(ARMBit.sectionXN), kinds: sections),
            FlagRule(.executable, .leaf, clear(ARMBit.largeXN), kinds: ARMKind.large),
            FlagRule(.executable, .leaf, clear(ARMBit.smallXN), kinds: ARMKind.small),
            FlagRule(.global, .leaf, clear(ARMBit.sectionNotGlobal), kinds: sections),
            FlagRule(.global, .leaf, clear(ARMBit.pageNotGlobal), kinds: pages),
        ]
        if hasPXN {
            rules += [
                FlagRule(.noSupervisorExecute, .leaf, .all(of: ARMBit.sectionPXN), kinds: sections),
                FlagRule(.noSupervisorExecute, .path, clear(ARMBit.tablePXN), kinds: pages),
            ]
        }
        func only(_ set: PageFlags, without absent: PageFlags = []) -> EntryRule {
            EntryRule(mask: UInt64(set.union(absent).rawValue), value: UInt64(set.rawValue))
        }
        rules += [
            // A fetch needs the right to read (B3.7.2).
            FlagRule([], .flags, only([], without: .readable), kinds: ARMKind.all, clears: .executable),
            // Where PL0 may do nothing, PXN leaves nobody to execute.
            FlagRule([], .flags, only(.noSupervisorExecute, without: .user), kinds: ARMKind.all, clears: .executable),
            FlagRule([], .flags, only([], without: .executable), kinds: ARMKind.all, clears: .noSupervisorExecute),
        ]
        // Domains (B3.7.3): without access nothing, as a manager everything whatever the descriptor says. A supersection
        // is of domain 0.
        let everything: PageFlags = [.readable, .writable, .executable, .user]
        let restrictions: PageFlags = [.userReadOnly, .noSupervisorExecute]
        for domain in 0..<16 as Range<UInt64> {
            let field = dacr >> UInt32(2 * domain) & 3
            guard field != 1 else { continue }
            let granted: PageFlags = field == 3 ? everything : []
            let cleared = everything.union(restrictions)
            rules.append(
                FlagRule(
                    granted, .path, EntryRule(mask: ARMBit.domain, value: domain << 5),
                    kinds: ARMKind.section | ARMKind.large | ARMKind.small, clears: cleared))
            if domain == 0 {
                rules.append(FlagRule(granted, .path, .always, kinds: ARMKind.supersection, clears: cleared))
            }
        }
        return rules
    }

    private static let armNamedBits = [
        NamedBit(ARMBit.tablePXN, "PXN", levels: 2...2, leaf: false),
        NamedBit(ARMBit.tableNS, "NS", levels: 2...2, leaf: false),
        NamedBit(ARMBit.sectionPXN, "PXN", levels: 2...2, leaf: true),
        NamedBit(ARMBit.bufferable, "B", leaf: true), NamedBit(ARMBit.cacheable, "C", leaf: true),
        NamedBit(ARMBit.sectionXN, "XN", levels: 2...2, leaf: true),
        NamedBit(ARMBit.pageAP2, "AP2", levels: 1...1, leaf: true),
        NamedBit(ARMBit.pageShareable, "S", levels: 1...1, leaf: true),
        NamedBit(ARMBit.pageNotGlobal, "nG", levels: 1...1, leaf: true),
        NamedBit(ARMBit.sectionAP2, "AP2", levels: 2...2, leaf: true),
        NamedBit(ARMBit.sectionShareable, "S", levels: 2...2, leaf: true),
        NamedBit(ARMBit.sectionNotGlobal, "nG", levels: 2...2, leaf: true),
        NamedBit(ARMBit.supersection, "supersection", levels: 2...2, leaf: true),
        NamedBit(ARMBit.sectionNS, "NS", levels: 2...2, leaf: true),
    ]
}

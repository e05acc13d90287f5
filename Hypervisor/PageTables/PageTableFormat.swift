// A page-table format as a value: how wide entries are, which address bits index which level, when an entry is a leaf,
// and what the other bits mean. One walk serves every format; X86Formats.swift has the values.
//
// Nothing here is particular to x86: 4-byte entries (x86 32-bit, ARM short descriptors), a top level of another size
// (PAE, TTBCR.N), several kinds of leaf in one level (ARM sections and supersections), scattered address bits (PSE-36)
// and positive or negative permission bits (EPT's X, x86's NX) are all fields of the description.

import Addresses

/// A test of some bits of an entry: it matches when `entry & mask == value`.
@frozen public struct EntryRule: Hashable, Sendable {
    /// The bits looked at.
    public let mask: UInt64
    /// What they must be.
    public let value: UInt64

    /// A rule; a mask of 0 matches everything.
    @inlinable public init(mask: UInt64, value: UInt64) {
        self.mask = mask
        self.value = value
    }

    /// Matches everything.
    public static let always = EntryRule(mask: 0, value: 0)

    /// Matches an entry that has all of these bits set.
    @inlinable public static func all(of bits: UInt64) -> EntryRule { EntryRule(mask: bits, value: bits) }

    /// Whether an entry matches.
    @inline(__always) @inlinable public func matches(_ entry: UInt64) -> Bool { entry & mask == value }
}

/// Values of a field of three bits that must not occur (EPT: permissions, memory types).
@frozen public struct ForbiddenValues: Hashable, Sendable {
    /// The field's lowest bit.
    public let shift: UInt8
    /// Bit n is set if the value n is forbidden.
    public let values: UInt8

    /// Forbids the values whose bits are set in `values`.
    @inlinable public init(shift: UInt8, values: UInt8) {
        self.shift = shift
        self.values = values
    }

    /// Forbids nothing.
    public static let none = ForbiddenValues(shift: 0, values: 0)

    /// The field's bits if an entry has a forbidden value there, else 0.
    @inline(__always) @inlinable public func mask(of entry: UInt64) -> UInt64 {
        guard values != 0 else { return 0 }
        let place = UInt64(shift & 63)
        return values >> UInt8(truncatingIfNeeded: entry >> place & 7) & 1 == 0 ? 0 : 7 << place
    }
}

/// One way in which an entry maps a page.
@frozen public struct LeafRule: Hashable, Sendable {
    /// The kind that stands for entries that refer to a table, in `FlagRule.kinds`.
    public static let tableKind: UInt8 = 0x80

    /// When an entry is a leaf of this kind.
    public let rule: EntryRule
    /// Binary logarithm of the page's size in bytes.
    public let pageShift: UInt8
    /// The bits of the entry that are bits of the page's address, at their own place.
    public let addressMask: UInt64
    /// Bits of the entry that are higher bits of the address, and how far they move up (PSE-36, supersections); 0 if none.
    public let highMask: UInt64
    /// How far the bits of `highMask` move to the left.
    public let highShift: UInt8
    /// More bits of the same sort, where they are in two places (supersections); 0 if none.
    public let topMask: UInt64
    /// How far the bits of `topMask` move to the left.
    public let topShift: UInt8
    /// Bits that must be 0.
    public let reserved: UInt64
    /// The bit that is bit 2 of the memory-type index; 0 if none.
    public let attributeTable: UInt64
    /// One bit: which of the format's flag rules hold for this leaf, see `FlagRule.kinds`.
    public let kind: UInt8
    /// Bits that mean something else in this leaf than a grant, so that it takes nothing away.
    public let ungoverned: UInt64
    /// Permissions that must not occur.
    public let forbiddenAccess: ForbiddenValues
    /// Memory types that must not occur.
    public let forbiddenType: ForbiddenValues

    /// A kind of leaf.
    @inlinable public init(
        rule: EntryRule, pageShift: UInt8, addressMask: UInt64, highMask: UInt64 = 0, highShift: UInt8 = 0,
        topMask: UInt64 = 0, topShift: UInt8 = 0, reserved: UInt64, attributeTable: UInt64 = 0, kind: UInt8 = 1,
        ungoverned: UInt64 = 0, forbiddenAccess: ForbiddenValues = .none, forbiddenType: ForbiddenValues = .none
    ) {
        self.rule = rule
        self.pageShift = pageShift
        self.addressMask = addressMask
        self.highMask = highMask
        self.highShift = highShift
        self.topMask = topMask
        self.topShift = topShift
        self.reserved = reserved
        self.attributeTable = attributeTable
        self.kind = kind
        self.ungoverned = ungoverned
        self.forbiddenAccess = forbiddenAccess
        self.forbiddenType = forbiddenType
    }

    /// The size of the page in bytes.
    @inline(__always) @inlinable public var pageSize: UInt64 { 1 << UInt64(pageShift & 63) }

    /// The same for a part of the page.
    @inlinable public func narrowed(to pageShift: UInt8) -> LeafRule {
        LeafRule(
            rule: rule, pageShift: pageShift, addressMask: addressMask, highMask: highMask, highShift: highShift,
            topMask: topMask, topShift: topShift, reserved: reserved, attributeTable: attributeTable, kind: kind,
            ungoverned: ungoverned, forbiddenAccess: forbiddenAccess, forbiddenType: forbiddenType)
    }

    /// The physical address that an entry maps.
    @inline(__always) @inlinable public func address(of entry: UInt64) -> UInt64 {
        entry & addressMask | (entry & highMask) << UInt64(highShift & 63)
            | (entry & topMask) << UInt64(topShift & 63)
    }

    /// All bits of an entry that are part of the address.
    @inline(__always) @inlinable public var allAddressBits: UInt64 { addressMask | highMask | topMask }

    /// The bits of an entry that make an access fault: reserved ones that are set, fields with a forbidden value.
    @inline(__always) @inlinable public func wrongBits(of entry: UInt64) -> UInt64 {
        entry & reserved | forbiddenAccess.mask(of: entry) | forbiddenType.mask(of: entry)
    }
}

/// One level of tables.
@frozen public struct PageTableLevel: Hashable, Sendable {
    /// The lowest bit of a virtual address that indexes this level: an entry covers `1 << shift` bytes.
    public let shift: UInt8
    /// How many bits index it: the table has `1 << indexBits` entries.
    public let indexBits: UInt8
    /// When an entry refers to a table of the next level; nil at the last level.
    public let table: EntryRule?
    /// The bits of such an entry that are the table's address.
    public let tableAddressMask: UInt64
    /// The bits of such an entry that must be 0.
    public let tableReserved: UInt64
    /// Bits that mean something else in such an entry than a grant, so that it takes nothing away.
    public let tableUngoverned: UInt64
    /// Permissions that must not occur in such an entry.
    public let tableForbidden: ForbiddenValues
    /// How an entry of this level maps a page; the first that matches counts.
    public let leaf: LeafRule?
    /// A second way, where the format has one.
    public let otherLeaf: LeafRule?

    /// A level.
    public init(
        shift: UInt8, indexBits: UInt8, table: EntryRule?, tableAddressMask: UInt64 = 0, tableReserved: UInt64 = 0,
        tableUngoverned: UInt64 = 0, tableForbidden: ForbiddenValues = .none, leaf: LeafRule?,
        otherLeaf: LeafRule? = nil
    ) {
        self.shift = shift
        self.indexBits = indexBits
        self.table = table
        self.tableAddressMask = tableAddressMask
        self.tableReserved = tableReserved
        self.tableUngoverned = tableUngoverned
        self.tableForbidden = tableForbidden
        self.leaf = leaf
        self.otherLeaf = otherLeaf
    }

    /// Whether a leaf may be larger than what one entry covers: then that many entries in a row are equal.
    @inlinable public var hasWideLeaves: Bool {
        (leaf?.pageShift ?? 0) > shift || (otherLeaf?.pageShift ?? 0) > shift
    }

    /// How many bytes of virtual addresses one entry covers.
    @inline(__always) @inlinable public var coverage: UInt64 { 1 << UInt64(shift & 63) }
    /// How many entries a table has.
    @inline(__always) @inlinable public var entryCount: Int { 1 << Int(indexBits & 31) }

    /// The bits of an entry that refers to a table which make an access fault.
    @inline(__always) @inlinable public func wrongTableBits(of entry: UInt64) -> UInt64 {
        entry & tableReserved | tableForbidden.mask(of: entry)
    }

    /// The way in which an entry maps a page, or nil if it does not.
    @inline(__always) @inlinable public func leaf(for entry: UInt64) -> LeafRule? {
        if let leaf, leaf.rule.matches(entry) { return leaf }
        if let otherLeaf, otherLeaf.rule.matches(entry) { return otherLeaf }
        return nil
    }
}

/// Bits of an entry that mean a flag.
@frozen public struct FlagRule: Hashable, Sendable {
    /// Where the bits are looked at: in what all levels grant together, in the leaf alone, or in what was found so far.
    @frozen public enum Source: Hashable, Sendable {
        /// In the AND of all levels' grants, see `PageTableFormat.grants(ofTable:level:)`.
        case path
        /// In the leaf.
        case leaf
        /// In the bits of the `PageFlags` that the rules before this one have set.
        case flags
    }

    /// Where the bits are looked at.
    public let source: Source
    /// When the flag is set.
    public let rule: EntryRule
    /// The flags that it sets.
    public let flag: PageFlags
    /// The flags that it clears; rules are applied in order.
    public let clears: PageFlags
    /// The kinds of leaf that it holds for, see `LeafRule.kind`.
    public let kinds: UInt8

    /// A rule for flags.
    @inlinable public init(
        _ flag: PageFlags, _ source: Source, _ rule: EntryRule, kinds: UInt8 = .max, clears: PageFlags = []
    ) {
        self.flag = flag
        self.source = source
        self.rule = rule
        self.kinds = kinds
        self.clears = clears
    }
}

/// A bit of an entry with the name its manual gives it.
@frozen public struct NamedBit: Hashable, Sendable {
    /// The bit.
    public let mask: UInt64
    /// Its name.
    public let name: String
    /// The levels it has that meaning at.
    public let levels: ClosedRange<Int>
    /// True if it has it in leaves only, false if in entries that refer to tables only, nil if in both.
    public let leaf: Bool?

    /// A named bit.
    public init(_ mask: UInt64, _ name: String, levels: ClosedRange<Int> = 1...6, leaf: Bool? = nil) {
        self.mask = mask
        self.name = name
        self.levels = levels
        self.leaf = leaf
    }
}

/// How page tables are laid out and what their bits mean.
public struct PageTableFormat: Hashable, Sendable {
    /// What the mode is called: `4-level`, `5-level`.
    public let name: String
    /// Bytes of one entry: 4 or 8.
    public let entrySize: Int
    /// Significant bits of a virtual address.
    public let virtualBits: UInt8
    /// Whether the bits above must repeat the highest significant one (x86: canonical addresses) rather than be 0.
    public let signExtended: Bool
    /// Any of these bits makes an entry present.
    public let presentMask: UInt64
    /// Bits that all levels must have set to grant what they stand for (x86: R/W, U/S).
    public let grantMask: UInt64
    /// Bits that any level withdraws something with (x86: XD).
    public let denyMask: UInt64
    /// What grants and leaf bits mean.
    public let flagRules: [FlagRule]
    /// Names of bits, for people.
    public let namedBits: [NamedBit]
    /// What tables are called, level 1 first: `PT`, `PD`, `PDPT`, `PML4`.
    public let tableNames: [String]
    /// The levels; `levels[0]` is level 1, the last one walked. The root is `levels.last`.
    public let levels: [PageTableLevel]

    /// A format.
    public init(
        name: String, entrySize: Int, virtualBits: UInt8, signExtended: Bool, presentMask: UInt64, grantMask: UInt64,
        denyMask: UInt64, flagRules: [FlagRule], namedBits: [NamedBit],
        tableNames: [String], levels: [PageTableLevel]
    ) {
        self.name = name
        self.entrySize = entrySize
        self.virtualBits = virtualBits
        self.signExtended = signExtended
        self.presentMask = presentMask
        self.grantMask = grantMask
        self.denyMask = denyMask
        self.flagRules = flagRules
        self.namedBits = namedBits
        self.tableNames = tableNames
        self.levels = levels
    }

    /// What a table of a level is called.
    public func tableName(level: Int) -> String {
        tableNames.indices.contains(level - 1) ? tableNames[level - 1] : "level \(level)"
    }

    /// Which entry of a table of this level an address uses.
    public func index(of address: GVA, level: Int) -> Int {
        guard levels.indices.contains(level - 1) else { return 0 }
        let description = levels[level - 1]
        return Int(address.rawValue >> UInt64(description.shift & 63) & UInt64(description.entryCount - 1))
    }

    /// The number of the root's level: 4 for four levels.
    @inlinable public var rootLevel: Int { levels.count }

    /// What a root's address is a multiple of, in bytes: the size of its table, 4 KiB at most on x86, 32 bytes with PAE.
    public var rootAlignment: UInt64 {
        guard let top = levels.last else { return 4096 }
        return UInt64(top.entryCount * entrySize)
    }

    /// What an entry of a table that is governed throughout grants, in bits that are ANDed over the levels: bits of `grantMask` as they are, of `denyMask` inverted.
    @inline(__always) @inlinable public func grants(of entry: UInt64) -> UInt64 {
        (entry ^ denyMask) & (grantMask | denyMask)
    }

    /// What an entry that refers to a table grants.
    @inline(__always) @inlinable public func grants(ofTable entry: UInt64, level: PageTableLevel) -> UInt64 {
        grants(of: entry) | level.tableUngoverned
    }

    /// What a leaf grants.
    @inline(__always) @inlinable public func grants(ofLeaf entry: UInt64, rule: LeafRule) -> UInt64 {
        grants(of: entry) | rule.ungoverned
    }

    /// The grants before the first level: everything.
    @inlinable public var allGrants: UInt64 { grantMask | denyMask }

    /// The flags of a mapping.
    ///
    /// - Parameters:
    ///   - leaf: the entry that maps the page.
    ///   - rule: how it maps it.
    ///   - grants: the AND of `grants(of:)` over all levels, the leaf's included.
    ///   - reserved: whether a reserved bit is set at any level.
    @inlinable public func flags(leaf: UInt64, rule: LeafRule, grants: UInt64, reserved: Bool) -> PageFlags {
        var flags: PageFlags = []
        for flagRule in flagRules where flagRule.kinds & rule.kind != 0 {
            let bits =
                switch flagRule.source {
                case .path: grants
                case .leaf: leaf
                case .flags: UInt64(flags.rawValue)
                }
            guard flagRule.rule.matches(bits) else { continue }
            flags.subtract(flagRule.clears)
            flags.formUnion(flagRule.flag)
        }
        if flags.isDisjoint(with: [.readable, .writable, .executable]) { flags.insert(.noAccess) }
        if leaf & rule.attributeTable != 0 { flags.insert(.attributeTable) }
        if reserved { flags.insert(.reserved) }
        return flags
    }

    /// Whether an address can be walked: canonical, or within the significant bits.
    @inline(__always) @inlinable public func isCanonical(_ address: UInt64) -> Bool {
        let unused = UInt64(64 &- Int(virtualBits)) & 63
        if signExtended { return UInt64(bitPattern: Int64(bitPattern: address << unused) >> Int64(unused)) == address }
        return (address << unused) >> unused == address
    }

    /// The address with the bits above the significant ones made canonical.
    @inline(__always) @inlinable public func canonical(_ address: UInt64) -> UInt64 {
        let unused = UInt64(64 &- Int(virtualBits)) & 63
        if signExtended { return UInt64(bitPattern: Int64(bitPattern: address << unused) >> Int64(unused)) }
        return (address << unused) >> unused
    }

    /// The names of an entry's bits that are set, in ascending order; reserved and unnamed bits are not among them.
    public func names(of entry: UInt64, level: Int, isLeaf: Bool) -> [String] {
        namedBits.filter { bit in
            entry & bit.mask != 0 && bit.levels.contains(level) && (bit.leaf == nil || bit.leaf == isLeaf)
        }.map(\.name)
    }
}

// What a walk hands out: runs of leaves, tables, and what is odd about them.

import Addresses

/// Leaves in a row: consecutive virtual addresses, consecutive physical ones (or always the same), one page size, the same
/// permissions and the same other bits.
@frozen public struct MappedRun: Hashable, Sendable {
    /// The first virtual address.
    public var va: GVA
    /// The physical address behind it.
    public var gpa: GPA
    /// How many pages.
    public var pageCount: UInt64
    /// Binary logarithm of the page size.
    public var pageShift: UInt8
    /// True if every page maps the same physical page, `gpa`; false if they follow each other.
    public var repeatsPage: Bool
    /// Effective permissions over all levels, and the leaves' other attributes; empty if the entries are not present.
    public var flags: PageFlags
    /// The first leaf without its address bits: software bits, protection keys and all.
    public var leafBits: UInt64

    /// A run.
    @inlinable public init(
        va: GVA, gpa: GPA, pageCount: UInt64, pageShift: UInt8, repeatsPage: Bool = false, flags: PageFlags,
        leafBits: UInt64
    ) {
        self.va = va
        self.gpa = gpa
        self.pageCount = pageCount
        self.pageShift = pageShift
        self.repeatsPage = repeatsPage
        self.flags = flags
        self.leafBits = leafBits
    }

    /// The page size in bytes.
    @inlinable public var pageSize: UInt64 { 1 << UInt64(pageShift & 63) }
    /// Bytes of virtual addresses; 0 stands for 2^64.
    @inlinable public var size: UInt64 { pageCount << UInt64(pageShift & 63) }
    /// Bytes of physical addresses behind the run.
    @inlinable public var physicalSize: UInt64 { repeatsPage ? pageSize : size }
    /// The last virtual address.
    @inlinable public var lastVA: GVA { va &+ (size &- 1) }
    /// The last physical address.
    @inlinable public var lastGPA: GPA { gpa &+ (physicalSize &- 1) }
    /// False for entries that are not present but carry a software bit that was asked for (`WalkOptions.absentMask`).
    @inlinable public var isPresent: Bool { !flags.isEmpty }
}

/// A table that was reached again, at the same level, and not walked again: what is below it is what was handed out at
/// `firstVA`, moved to `va`.
@frozen public struct RepeatedTable: Hashable, Sendable {
    /// The table.
    public let table: GPA
    /// Its level.
    public let level: Int
    /// Where its contents appear again.
    public let va: GVA
    /// How many consecutive entries refer to it.
    public var count: UInt64
    /// The bytes of virtual addresses that each covers.
    public let coverage: UInt64
    /// Where its contents were handed out.
    public let firstVA: GVA
    /// The leaves below it, each time.
    public let leaves: UInt64
    /// What the way to it grants: the mappings below may do that and what they themselves allow.
    public let flags: PageFlags

    /// A repetition.
    @inlinable public init(
        table: GPA, level: Int, va: GVA, count: UInt64, coverage: UInt64, firstVA: GVA, leaves: UInt64,
        flags: PageFlags
    ) {
        self.table = table
        self.level = level
        self.va = va
        self.count = count
        self.coverage = coverage
        self.firstVA = firstVA
        self.leaves = leaves
        self.flags = flags
    }
}

/// A table that a walk has read. 32 bytes: a walk of many tables is as fast as what it keeps of them is small.
@frozen public struct VisitedTable: Hashable, Sendable {
    /// Where it is.
    public let gpa: GPA
    /// The first virtual address it was reached at.
    public var va: GVA
    /// The leaves in it and below it, tables that are reached several times counted as often.
    public var leaves: UInt64
    @usableFromInline var referenceCount: UInt32
    @usableFromInline var presentCount: UInt16
    @usableFromInline let levelNumber: UInt8
    @usableFromInline let sizeShift: UInt8

    /// A table.
    ///
    /// - Parameter size: in bytes, a power of two.
    @inlinable public init(gpa: GPA, level: Int, va: GVA, size: UInt64 = 4096) {
        self.gpa = gpa
        self.va = va
        leaves = 0
        referenceCount = 1
        presentCount = 0
        levelNumber = UInt8(truncatingIfNeeded: level)
        sizeShift = UInt8(truncatingIfNeeded: size.trailingZeroBitCount)
    }

    /// The level it was read as.
    @inlinable public var level: Int { Int(levelNumber) }
    /// Its size in bytes.
    @inlinable public var size: UInt64 { 1 << UInt64(sizeShift & 63) }
    /// The present entries in it; a table has 4,096 at most.
    @inlinable public var presentEntries: Int {
        get { Int(presentCount) }
        set { presentCount = UInt16(truncatingIfNeeded: newValue) }
    }
    /// How many entries refer to it at this level.
    @inlinable public var references: UInt64 {
        get { UInt64(referenceCount) }
        set { referenceCount = UInt32(clamping: newValue) }
    }
}

/// What a table said when a walk read it.
@frozen public struct TableHash: Hashable, Sendable {
    /// Where the table is.
    public let gpa: GPA
    /// The hash of its entries, never 0.
    public let checksum: UInt64
    /// Which bytes of it the hash is of, from whole pages: a walk of a range reads a part of a large table.
    public let hashed: Range<UInt64>

    /// A hash.
    @inlinable init(gpa: GPA, checksum: UInt64, hashed: Range<UInt64>) {
        self.gpa = gpa
        self.checksum = checksum
        self.hashed = hashed
    }
}

/// One present entry, for those who ask for each.
@frozen public struct WalkEntry: Hashable, Sendable {
    /// The entry's level, its address and its value.
    public let entry: TranslationEntry
    /// The first virtual address it covers.
    public let va: GVA
    /// The physical address it maps or the table it refers to.
    public let target: GPA
    /// Whether it maps a page.
    public let isLeaf: Bool
    /// Effective permissions down to here (of a leaf: all flags).
    public let flags: PageFlags
    /// Binary logarithm of the bytes that the entry covers.
    public let pageShift: UInt8

    /// An entry.
    @inlinable public init(
        entry: TranslationEntry, va: GVA, target: GPA, isLeaf: Bool, flags: PageFlags, pageShift: UInt8
    ) {
        self.pageShift = pageShift
        self.entry = entry
        self.va = va
        self.target = target
        self.isLeaf = isLeaf
        self.flags = flags
    }
}

/// Something odd in the tables. None stops the walk.
@frozen public struct WalkFinding: Hashable, Sendable {
    /// What is odd.
    @frozen public enum Kind: String, Hashable, Sendable {
        /// The entry refers to the root itself: a recursive entry, by which the tables are seen as pages.
        case selfMap
        /// The entry refers to a table above it on the way, which is not the root.
        case loop
        /// The entry refers to a table that was reached before at the same level.
        case shared
        /// The entry refers to a table that is not in RAM.
        case tableOutsideRAM
        /// Bits are set that must be 0: an access through the entry faults.
        case reservedBits
        /// There were more tables than the walk was allowed to read; the rest is missing.
        case tableLimit
    }

    /// What is odd.
    public let kind: Kind
    /// The level of the entry; the root's level plus 1 if it is about the root's address itself.
    public let level: Int
    /// Where the entry is.
    public let at: GPA
    /// What it holds.
    public let value: UInt64
    /// The first virtual address it covers.
    public let va: GVA

    /// A finding.
    @inlinable public init(kind: Kind, level: Int, at: GPA, value: UInt64, va: GVA) {
        self.kind = kind
        self.level = level
        self.at = at
        self.value = value
        self.va = va
    }
}

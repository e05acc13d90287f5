// One address through the tables: every entry on the way, and where it ends.

import Addresses
import GuestMemory

/// One entry that a translation used.
@frozen public struct TranslationEntry: Hashable, Sendable {
    /// The level: 1 is the last.
    public let level: Int
    /// Where the entry is.
    public let at: GPA
    /// What was read there.
    public let value: UInt64

    /// An entry.
    @inlinable public init(level: Int, at: GPA, value: UInt64) {
        self.level = level
        self.at = at
        self.value = value
    }
}

/// A page that an address is mapped to.
@frozen public struct PageMapping: Hashable, Sendable {
    /// The physical address of the byte asked for (not of the page).
    public let gpa: GPA
    /// The size of the page in bytes.
    public let pageSize: UInt64
    /// Effective permissions, and the leaf's other attributes.
    public let flags: PageFlags

    /// A mapping.
    @inlinable public init(gpa: GPA, pageSize: UInt64, flags: PageFlags) {
        self.gpa = gpa
        self.pageSize = pageSize
        self.flags = flags
    }
}

/// Where a translation ended.
@frozen public enum TranslationResult: Hashable, Sendable {
    /// A page is there.
    case mapped(PageMapping)
    /// The entry of this level is not present; what it holds.
    case notMapped(level: Int, value: UInt64)
    /// The table of this level, which `at` is the address of, is not in RAM.
    case tableOutsideRAM(level: Int, at: GPA)
    /// The address has bits that the format does not translate.
    case nonCanonical
    /// Bits are set at this level that must be 0: an access faults. `mapping` is what the entry would map if it is a leaf.
    case reservedBits(level: Int, bits: UInt64, mapping: PageMapping?)
}

/// A translation: the address, every entry read, and the result.
public struct Translation: Sendable {
    /// The address asked for.
    public let va: GVA
    @usableFromInline var steps: InlineArray<6, TranslationEntry>
    @usableFromInline var stepCount: Int
    @usableFromInline var end: TranslationResult

    @inlinable init(_ va: GVA) {
        self.va = va
        end = .nonCanonical
        steps = InlineArray(repeating: TranslationEntry(level: 0, at: GPA(0), value: 0))
        stepCount = 0
    }

    /// Where it ended.
    @inlinable public var result: TranslationResult { end }

    /// How many entries were read.
    @inlinable public var entryCount: Int { stepCount }

    /// The entries read, the root's first.
    public var entries: [TranslationEntry] { (0..<stepCount).map { steps[$0] } }

    /// The page, if there is one.
    @inlinable public var mapping: PageMapping? {
        if case .mapped(let mapping) = end { return mapping }
        return nil
    }

    @inlinable mutating func add(_ entry: TranslationEntry) {
        guard stepCount < 6 else { return }
        steps[stepCount] = entry
        stepCount &+= 1
    }
}

/// Translates an address as the processor would, without side effects: accessed and dirty bits stay as they are.
///
/// - Parameters:
///   - va: any number; one that is not canonical is a result.
///   - root: the root table's address.
///   - format: see `PagingState.mode`.
///   - memory: where the tables are read.
@inlinable public func translate(
    _ va: GVA, root: GPA, format: PageTableFormat, memory: some PhysicalMemory
) -> Translation {
    var translation = Translation(va)
    guard format.isCanonical(va.rawValue) else {
        translation.end = .nonCanonical
        return translation
    }
    // Not one level is copied: a description is larger than what one translation needs of it.
    format.levels.withUnsafeBufferPointer { levels in
        guard let first = levels.baseAddress else { return }
        var table = root
        var grants = format.allGrants
        var number = levels.count
        while number > 0 {
            let level = first + (number &- 1)
            let index = va.rawValue >> UInt64(level.pointee.shift & 63) & UInt64(level.pointee.entryCount &- 1)
            let at = table &+ index &* UInt64(format.entrySize)
            guard let page = memory.page(at: at) else {
                translation.end = .tableOutsideRAM(level: number, at: table)
                return
            }
            let offset = Int(at.rawValue & 4095)
            let entry =
                format.entrySize == 8
                ? page.load(fromByteOffset: offset & ~7, as: UInt64.self)
                : UInt64(page.load(fromByteOffset: offset & ~3, as: UInt32.self))
            translation.add(TranslationEntry(level: number, at: at, value: entry))
            guard entry & format.presentMask != 0 else {
                translation.end = .notMapped(level: number, value: entry)
                return
            }
            if let leaf = level.pointee.leaf(for: entry) {
                grants &= format.grants(ofLeaf: entry, rule: leaf)
                let wrong = leaf.wrongBits(of: entry)
                let mapping = PageMapping(
                    gpa: GPA(leaf.address(of: entry) | va.rawValue & (leaf.pageSize &- 1)), pageSize: leaf.pageSize,
                    flags: format.flags(leaf: entry, rule: leaf, grants: grants, reserved: wrong != 0))
                translation.end =
                    wrong == 0 ? .mapped(mapping) : .reservedBits(level: number, bits: wrong, mapping: mapping)
                return
            }
            guard let rule = level.pointee.table, rule.matches(entry), number > 1 else {
                translation.end = .reservedBits(level: number, bits: entry, mapping: nil)
                return
            }
            let wrong = level.pointee.wrongTableBits(of: entry)
            guard wrong == 0 else {
                translation.end = .reservedBits(level: number, bits: wrong, mapping: nil)
                return
            }
            grants &= format.grants(of: entry) | level.pointee.tableUngoverned
            table = GPA(entry & level.pointee.tableAddressMask)
            number &-= 1
        }
    }
    return translation
}

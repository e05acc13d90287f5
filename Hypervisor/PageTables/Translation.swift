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
    /// Where it ended.
    public private(set) var result: TranslationResult
    @usableFromInline var steps: InlineArray<6, TranslationEntry>
    /// How many entries were read.
    public private(set) var entryCount: Int

    @usableFromInline init(_ va: GVA) {
        self.va = va
        result = .nonCanonical
        steps = InlineArray(repeating: TranslationEntry(level: 0, at: GPA(0), value: 0))
        entryCount = 0
    }

    /// The entries read, the root's first.
    public var entries: [TranslationEntry] { (0..<entryCount).map { steps[$0] } }

    /// The page, if there is one.
    public var mapping: PageMapping? {
        if case .mapped(let mapping) = result { return mapping }
        return nil
    }

    @usableFromInline mutating func add(_ entry: TranslationEntry) {
        guard entryCount < 6 else { return }
        steps[entryCount] = entry
        entryCount += 1
    }

    @usableFromInline mutating func end(_ result: TranslationResult) { self.result = result }
}

/// Translates an address as the processor would, without side effects: accessed and dirty bits stay as they are.
///
/// - Parameters:
///   - va: any number; one that is not canonical is a result.
///   - root: the root table's address.
///   - format: see `PagingState.mode`.
///   - memory: where the tables are read.
@inlinable public func translate(
    _ va: GVA, root: GPA, format: PageTableFormat, memory: borrowing some PhysicalMemory
) -> Translation {
    var translation = Translation(va)
    guard format.isCanonical(va.rawValue) else {
        translation.end(.nonCanonical)
        return translation
    }
    var table = root
    var grants = format.allGrants
    var number = format.rootLevel
    while number > 0 {
        let level = format.levels[number &- 1]
        let index = va.rawValue >> UInt64(level.shift & 63) & UInt64(level.entryCount &- 1)
        let at = table &+ index &* UInt64(format.entrySize)
        guard let page = memory.page(at: at) else {
            translation.end(.tableOutsideRAM(level: number, at: table))
            return translation
        }
        let offset = Int(at.rawValue & 4095)
        let entry =
            format.entrySize == 8
            ? page.load(fromByteOffset: offset & ~7, as: UInt64.self)
            : UInt64(page.load(fromByteOffset: offset & ~3, as: UInt32.self))
        translation.add(TranslationEntry(level: number, at: at, value: entry))
        guard entry & format.presentMask != 0 else {
            translation.end(.notMapped(level: number, value: entry))
            return translation
        }
        if let leaf = level.leaf(for: entry) {
            grants &= format.grants(ofLeaf: entry, rule: leaf)
            let wrong = leaf.wrongBits(of: entry)
            let mapping = PageMapping(
                gpa: GPA(leaf.address(of: entry) | va.rawValue & (leaf.pageSize &- 1)), pageSize: leaf.pageSize,
                flags: format.flags(leaf: entry, rule: leaf, grants: grants, reserved: wrong != 0))
            translation.end(
                wrong == 0 ? .mapped(mapping) : .reservedBits(level: number, bits: wrong, mapping: mapping))
            return translation
        }
        guard let rule = level.table, rule.matches(entry), number > 1 else {
            translation.end(.reservedBits(level: number, bits: entry, mapping: nil))
            return translation
        }
        let wrong = level.wrongTableBits(of: entry)
        guard wrong == 0 else {
            translation.end(.reservedBits(level: number, bits: wrong, mapping: nil))
            return translation
        }
        grants &= format.grants(ofTable: entry, level: level)
        table = GPA(entry & level.tableAddressMask)
        number &-= 1
    }
    return translation
}

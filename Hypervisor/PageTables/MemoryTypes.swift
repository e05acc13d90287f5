// Memory types, the page attribute table that selects them, and protection keys.

/// A memory type of x86, by its encoding in the PAT, the MTRRs and EPT (Intel SDM volume 3, "Encoding of Memory Types").
@frozen public enum MemoryType: UInt8, Hashable, Sendable, CustomStringConvertible {
    /// Strong uncacheable.
    case uncacheable = 0
    /// Write combining.
    case writeCombining = 1
    /// Write-through.
    case writeThrough = 4
    /// Write-protected.
    case writeProtected = 5
    /// Write-back.
    case writeBack = 6
    /// Uncacheable, but an MTRR may make it write combining; in the PAT alone.
    case uncacheableMinus = 7

    /// The manual's abbreviation.
    public var description: String {
        switch self {
        case .uncacheable: return "UC"
        case .writeCombining: return "WC"
        case .writeThrough: return "WT"
        case .writeProtected: return "WP"
        case .writeBack: return "WB"
        case .uncacheableMinus: return "UC-"
        }
    }
}

/// IA32_PAT, MSR 0x277: eight memory types, 3 bits in each byte (Intel SDM volume 3, "Page Attribute Table (PAT)").
@frozen public struct PageAttributeTable: Hashable, Sendable {
    /// The register.
    public let rawValue: UInt64

    /// A value of the register.
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The value after reset: WB, WT, UC-, UC, and the same again (section "Programming the PAT").
    public static let atReset = PageAttributeTable(rawValue: 0x0007_0406_0007_0406)

    /// The type of an index, 0...7; nil if the register holds a type that does not exist.
    public func type(at index: Int) -> MemoryType? {
        guard (0..<8).contains(index) else { return nil }
        return MemoryType(rawValue: UInt8(truncatingIfNeeded: rawValue >> UInt64(8 * index) & 0xff))
    }

    /// The type that a mapping selects by PWT, PCD and PAT; the MTRRs may restrict it further.
    public func type(of flags: PageFlags) -> MemoryType? { type(at: flags.attributeIndex) }
}

/// The protection key of a leaf and what the key registers allow (Intel SDM volume 3, 5.6.2; 4-level and 5-level paging).
public enum ProtectionKey {
    /// The key, 0...15: bits 62:59 of a leaf.
    @inlinable public static func of(leaf entry: UInt64) -> Int { Int(entry >> 59 & 15) }

    /// What a key register leaves of a mapping's flags.
    ///
    /// - Parameters:
    ///   - flags: the mapping's.
    ///   - key: see `of(leaf:)`.
    ///   - register: PKRU for user pages where CR4.PKE is set, IA32_PKRS for supervisor pages where CR4.PKS is: bit 2n forbids
    ///     data accesses to key n, bit 2n + 1 writes. Instruction fetches are not affected.
    public static func restrict(_ flags: PageFlags, key: Int, register: UInt32) -> PageFlags {
        guard (0..<16).contains(key) else { return flags }
        let bits = register >> UInt32(2 * key) & 3
        var flags = flags
        if bits & 1 != 0 { flags.subtract([.readable, .writable]) }
        if bits & 2 != 0 { flags.remove(.writable) }
        return flags
    }
}

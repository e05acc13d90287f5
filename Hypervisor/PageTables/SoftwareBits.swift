// Bits that the processor ignores and systems use, by system.

/// A bit of an entry that a system gave a meaning.
@frozen public struct SoftwareBit: Hashable, Sendable {
    /// The bit.
    public let mask: UInt64
    /// Its name, in the system's own words.
    public let name: String
    /// Whether it has that meaning in entries that are present (true) or in those that are not.
    public let present: Bool
}

/// Software bits of a system.
public enum SoftwareBits: String, Hashable, Sendable, CaseIterable {
    /// Linux on x86-64: `arch/x86/include/asm/pgtable_types.h`.
    case linux
    /// OSv: `arch/x64/arch-mmu.hh`; layout osv in `docs/`.
    case osv

    /// The bits.
    public var bits: [SoftwareBit] {
        switch self {
        case .linux:
            return [
                // _PAGE_BIT_SPECIAL = SOFTW1: a page without a struct page behind it.
                SoftwareBit(mask: 1 << 9, name: "special", present: true),
                // _PAGE_BIT_UFFD_WP = SOFTW2 (since 5.7).
                SoftwareBit(mask: 1 << 10, name: "uffd-wp", present: true),
                // _PAGE_BIT_SOFT_DIRTY = SOFTW3.
                SoftwareBit(mask: 1 << 11, name: "soft-dirty", present: true),
                // _PAGE_BIT_SOFTW4 since 6.6; DEVMAP until 6.16.
                SoftwareBit(mask: 1 << 57, name: "softw4", present: true),
                // _PAGE_BIT_SOFTW5 since 6.6, saved dirty; before that the bit was SOFTW4, DEVMAP.
                SoftwareBit(mask: 1 << 58, name: "softw5", present: true),
                // _PAGE_BIT_PROTNONE = GLOBAL.
                SoftwareBit(mask: 1 << 8, name: "prot-none", present: false),
            ]
        case .osv:
            return [
                // Reserved where MAXPHYADDR is less than 52, an address bit where it is 52.
                SoftwareBit(mask: 1 << 51, name: "prot-none", present: true),
                SoftwareBit(mask: 1 << 53, name: "cow", present: true),
            ]
        }
    }

    /// The names of the bits that are set in an entry.
    public func names(of entry: UInt64) -> [String] {
        let isPresent = entry & X86Bit.present != 0
        return bits.filter { $0.present == isPresent && entry & $0.mask != 0 }.map(\.name)
    }
}

// What an entry of KVM's own tables (an SPTE) means. Three formats: EPT (Intel SDM volume 3, "Extended Page Table
// Mechanism"), NPT (AMD APM volume 2, 15.25) and shadow tables; the latter two have the bits of the processor's own tables. KVM keeps
// bits of its own in those that the processor ignores (arch/x86/kvm/mmu/spte.h, Linux 5.12 to 6.18):
//
//      63  XD; EPT: suppress #VE. Alone: an empty entry (6.10 and later)
//   58-57  EPT: MMU-writable, host-writable        56,54  EPT: X and R of an access-tracked entry
//   53-52  0: A and D are kept by the processor, 1: they are not, 2: writes must be seen (PML of a nested guest)
//      11  MMU-present: the entry is in use. Bit 0 does not say so: MMIO entries have it
//    10-9  NPT and shadow: MMU-writable, host-writable

import Addresses

/// The format of second-stage tables.
public enum SecondStageFormat: String, Sendable, CaseIterable {
    /// Extended page tables: Intel, GPA to HPA.
    case ept
    /// Nested page tables: AMD, GPA to HPA.
    case npt
    /// Shadow page tables: what the guest's tables and the slots come to, GVA to HPA.
    case shadow

    /// Whether the tables translate guest physical addresses; shadow tables translate virtual ones.
    public var isNested: Bool { self != .shadow }
}

/// What is known of a second-stage mapping.
public struct SecondStageFlags: OptionSet, Hashable, Sendable {
    /// The bits; their values are not stable.
    public let rawValue: UInt32
    /// Flags from bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The guest may read.
    public static let readable = SecondStageFlags(rawValue: 1 << 0)
    /// The guest may write.
    public static let writable = SecondStageFlags(rawValue: 1 << 1)
    /// The guest may fetch instructions.
    public static let executable = SecondStageFlags(rawValue: 1 << 2)
    /// Shadow tables: user mode may access.
    public static let user = SecondStageFlags(rawValue: 1 << 3)
    /// The processor used the entry.
    public static let accessed = SecondStageFlags(rawValue: 1 << 4)
    /// The page was written through the entry.
    public static let dirty = SecondStageFlags(rawValue: 1 << 5)
    /// The process that runs the guest may write the page.
    public static let hostWritable = SecondStageFlags(rawValue: 1 << 6)
    /// KVM may make the entry writable without a further look.
    public static let mmuWritable = SecondStageFlags(rawValue: 1 << 7)
    /// The entry's rights are taken away to see the next access (hosts without A bits in EPT).
    public static let accessTracked = SecondStageFlags(rawValue: 1 << 8)
    /// Write-protected so that the next write is seen: dirty logging.
    public static let dirtyLogged = SecondStageFlags(rawValue: 1 << 9)
    /// Shadow tables: global.
    public static let global = SecondStageFlags(rawValue: 1 << 11)
    /// The processor keeps no A and D bits in the entry.
    public static let noAccessedDirty = SecondStageFlags(rawValue: 1 << 12)

    /// The letters of the output: `rwxuad`, then `t` (access-tracked), `l` (dirty-logged).
    public var letters: String {
        var text = ""
        for (flag, letter) in Self.letterOrder where contains(flag) { text.append(letter) }
        return text
    }

    private static let letterOrder: [(SecondStageFlags, Character)] = [
        (.readable, "r"), (.writable, "w"), (.executable, "x"), (.user, "u"), (.accessed, "a"), (.dirty, "d"),
        (.accessTracked, "t"), (.dirtyLogged, "l"),
    ]
}

/// How a mapping is cached.
public enum SecondStageMemoryType: Hashable, Sendable {
    /// EPT: bits 5:3 (0 UC, 1 WC, 4 WT, 5 WP, 6 WB), and whether the guest's PAT is ignored (bit 6).
    case ept(type: UInt8, ignoresPAT: Bool)
    /// NPT and shadow: the index into the PAT (PAT, PCD, PWT).
    case pat(index: UInt8)

    /// `WB`, `UC`, `PAT 0`.
    public var text: String {
        switch self {
        case .pat(let index): return "PAT \(index)"
        case .ept(let type, let ignoresPAT):
            let names: [UInt8: String] = [0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB"]
            return (names[type] ?? "type \(type)") + (ignoresPAT ? " ignoring PAT" : "")
        }
    }
}

/// An entry, decoded.
public enum SecondStageEntry: Hashable, Sendable {
    /// Nothing is mapped.
    case empty
    /// A table of the next level is there.
    case table(HPA)
    /// A page is mapped.
    case leaf(hpa: HPA, flags: SecondStageFlags, memory: SecondStageMemoryType)
    /// Known to be MMIO: an access goes to the process that runs the guest.
    case mmio
    /// Being changed by another processor at this moment.
    case removed
    /// Not in use by KVM's rule, and none of the above.
    case unknown
}

/// How entries of one VM are decoded.
public struct SecondStageDecoder: Hashable, Sendable {
    /// The format.
    public let format: SecondStageFormat
    /// What marks an MMIO entry, if the kernel says so (kvm->arch.shadow_mmio_value).
    public let mmioValue: UInt64?

    /// A decoder.
    public init(format: SecondStageFormat, mmioValue: UInt64? = nil) {
        self.format = format
        self.mmioValue = mmioValue
    }

    /// The address bits of an entry on this host: 51:12, without the bit that marks encrypted memory (SME).
    public static let address = address(encryptionBit: HostProcessor.encryptionBit)
    static func address(encryptionBit: UInt64) -> UInt64 { 0x000f_ffff_ffff_f000 & ~encryptionBit }
    /// SPTE_MMU_PRESENT_MASK.
    static let mmuPresent: UInt64 = 1 << 11
    /// PS, bit 7, in all three formats.
    static let largePage: UInt64 = 1 << 7
    /// REMOVED_SPTE, FROZEN_SPTE: 0x5a0, since 6.10 with bit 63.
    static let removedValue: UInt64 = 0x5a0
    /// SHADOW_NONPRESENT_VALUE since 6.10.
    static let emptyBit: UInt64 = 1 << 63

    /// The size of a page that a leaf of this level maps.
    public static func pageSize(level: Int) -> UInt64 { 1 << UInt64(12 + 9 * (max(1, min(level, 5)) - 1)) }

    /// Decodes an entry of a table of this level (1 maps 4 KiB pages).
    public func decode(_ entry: UInt64, level: Int) -> SecondStageEntry {
        guard entry & Self.mmuPresent != 0 else {
            if entry & ~Self.emptyBit == 0 { return .empty }
            if entry & ~Self.emptyBit == Self.removedValue { return .removed }
            return isMMIO(entry) ? .mmio : .unknown
        }
        guard level == 1 || (level <= 3 && entry & Self.largePage != 0) else {
            return .table(HPA(entry & Self.address))
        }
        let size = Self.pageSize(level: level)
        return .leaf(
            hpa: HPA(entry & Self.address & ~(size &- 1)), flags: flags(of: entry), memory: memoryType(of: entry, level)
        )
    }

    /// Whether an entry that is not in use marks MMIO (is_mmio_spte).
    private func isMMIO(_ entry: UInt64) -> Bool {
        // The mask: R, W, X of EPT (writable and not readable: a misconfiguration); P and the reserved bit 51 elsewhere.
        let mask: UInt64 = format == .ept ? 7 : 1 << 51 | 1
        let value: UInt64 = format == .ept ? 6 : 1 << 51 | 1
        guard let mmioValue else { return entry & mask == value }
        return mmioValue & mask != 0 && entry & mask == mmioValue & mask
    }

    private func flags(of entry: UInt64) -> SecondStageFlags {
        var flags: SecondStageFlags = []
        func set(_ flag: SecondStageFlags, _ bit: UInt64) { if entry >> bit & 1 != 0 { flags.insert(flag) } }
        let keepsAccessedDirty = entry >> 52 & 3 != 1
        if format == .ept {
            set(.readable, 0)
            set(.writable, 1)
            set(.executable, 2)
            if keepsAccessedDirty {
                set(.accessed, 8)
                set(.dirty, 9)
            } else if entry & 7 == 0 {
                flags.insert(.accessTracked)
            }
            set(.hostWritable, 57)
            set(.mmuWritable, 58)
        } else {
            set(.readable, 0)
            set(.writable, 1)
            if format == .shadow {
                set(.user, 2)
                set(.global, 8)
            }
            if entry >> 63 == 0 { flags.insert(.executable) }
            set(.accessed, 5)
            set(.dirty, 6)
            set(.hostWritable, 9)
            set(.mmuWritable, 10)
        }
        if !keepsAccessedDirty { flags.insert(.noAccessedDirty) }
        // Without MMU-writable an entry is read-only for another reason: the guest's tables say so, or hold a table there.
        let mayWrite: SecondStageFlags = [.hostWritable, .mmuWritable]
        if !flags.contains(.writable), flags.isSuperset(of: mayWrite), !flags.contains(.accessTracked) {
            flags.insert(.dirtyLogged)
        }
        return flags
    }

    private func memoryType(of entry: UInt64, _ level: Int) -> SecondStageMemoryType {
        if format == .ept { return .ept(type: UInt8(entry >> 3 & 7), ignoresPAT: entry >> 6 & 1 != 0) }
        let pat = level == 1 ? entry >> 7 & 1 : entry >> 12 & 1
        return .pat(index: UInt8(pat << 2 | entry >> 3 & 3))
    }
}

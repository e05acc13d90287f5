// Intel's extended page tables: the second stage of VMX, guest physical to host physical.
//
// Source of everything here: Intel SDM volume 3C, chapter "VMX Support for Address Translation", section "The Extended Page
// Table Mechanism (EPT)"; tables "Format of an EPT PML4 Entry" to "Format of an EPT Page-Table Entry that Maps a 4-KByte
// Page", called "the tables" below.

import Addresses

/// Bits of EPT entries.
public enum EPTBit {
    /// Bit 0: reads are allowed (the tables).
    public static let read: UInt64 = 1 << 0
    /// Bit 1: writes are allowed (the tables).
    public static let write: UInt64 = 1 << 1
    /// Bit 2: instruction fetches are allowed; with mode-based execute control those from supervisor-mode linear addresses
    /// (the tables).
    public static let execute: UInt64 = 1 << 2
    /// Bits 5:3 of a leaf: the memory type, see `MemoryType` (the tables; section "EPT and Memory Typing").
    public static let memoryType: UInt64 = 7 << 3
    /// Bit 6 of a leaf, IPAT: the guest's PAT is ignored (section "EPT and Memory Typing").
    public static let ignorePAT: UInt64 = 1 << 6
    /// Bit 7 at levels 2 and 3: the entry maps a page (the tables).
    public static let pageSize: UInt64 = 1 << 7
    /// Bit 8: accessed, if EPTP bit 6 is set (section "Accessed and Dirty Flags for EPT").
    public static let accessed: UInt64 = 1 << 8
    /// Bit 9 of a leaf: dirty, if EPTP bit 6 is set (section "Accessed and Dirty Flags for EPT").
    public static let dirty: UInt64 = 1 << 9
    /// Bit 10: instruction fetches from user-mode linear addresses are allowed, if mode-based execute control is on
    /// (the tables).
    public static let userExecute: UInt64 = 1 << 10
    /// Bit 57 of a leaf: verify guest paging (the tables).
    public static let verifyGuestPaging: UInt64 = 1 << 57
    /// Bit 58 of a leaf: paging-write access (the tables).
    public static let pagingWrite: UInt64 = 1 << 58
    /// Bit 60 of a leaf: supervisor shadow stack, if EPTP bit 7 is set (the tables).
    public static let supervisorShadowStack: UInt64 = 1 << 60
    /// Bit 61 of a leaf of 4 KiB: write permissions of 128-byte parts count (section "Sub-Page Write Permissions").
    public static let subPageWrite: UInt64 = 1 << 61
    /// Bit 63: suppress #VE, an EPT violation here is a VM exit and no virtualization exception (section "Convertible EPT
    /// Violations").
    public static let suppressVE: UInt64 = 1 << 63
}

/// What a processor and a VMCS make of extended page tables.
public struct EPTState: Hashable, Sendable {
    /// The EPT pointer of the VMCS (section "Extended-Page-Table Pointer (EPTP)"): bits 2:0 the memory type of the tables,
    /// 5:3 the number of levels minus 1, 6 accessed and dirty flags, 7 supervisor shadow stacks, from 12 on the root.
    public var pointer: UInt64
    /// MAXPHYADDR.
    public var maxPhysicalAddressBits = 52
    /// Entries that allow execution alone are supported (IA32_VMX_EPT_VPID_CAP, bit 0).
    public var executeOnly = true
    /// 2 MiB pages are supported (IA32_VMX_EPT_VPID_CAP, bit 16).
    public var twoMebibytePages = true
    /// 1 GiB pages are supported (IA32_VMX_EPT_VPID_CAP, bit 17).
    public var gibibytePages = true
    /// "Mode-based execute control for EPT" (secondary processor-based VM-execution controls, bit 22).
    public var modeBasedExecute = false

    /// Tables by their pointer, on a processor that has everything but mode-based execution.
    public init(pointer: UInt64) { self.pointer = pointer }

    /// How many levels there are: 4 or 5; nil for a walk length that VM entry refuses.
    public var levels: Int? {
        let length = Int(pointer >> 3 & 7) + 1
        return length == 4 || length == 5 ? length : nil
    }

    /// The root table.
    public var root: GPA { GPA(pointer & X86Bit.address) }

    /// Whether the processor keeps accessed and dirty flags.
    public var hasAccessedDirty: Bool { pointer & 1 << 6 != 0 }

    /// The format, or nil for a walk length that VM entry refuses.
    public var format: PageTableFormat? { levels.map { PageTableFormat.ept(self, levels: $0) } }
}

extension PageTableFormat {
    fileprivate static func ept(_ state: EPTState, levels count: Int) -> PageTableFormat {
        let bits = UInt64(min(max(state.maxPhysicalAddressBits, 32), 52))
        let address = X86Bit.address & ((1 << bits) &- 1)
        let reserved = X86Bit.address & ~address
        let permissions = EPTBit.read | EPTBit.write | EPTBit.execute
        let userExecute = state.modeBasedExecute ? EPTBit.userExecute : 0
        // Section "EPT Misconfigurations": writing without reading (010, 110), execution alone (100) where unsupported.
        let access = ForbiddenValues(shift: 0, values: state.executeOnly ? 0x44 : 0x54)
        // The same section: memory types 2, 3 and 7.
        let type = ForbiddenValues(shift: 3, values: 0x8c)

        func leaf(_ rule: EntryRule, pageShift: UInt8) -> LeafRule {
            let page = address & ~((1 << UInt64(pageShift)) &- 1)
            return LeafRule(
                rule: rule, pageShift: pageShift, addressMask: page, reserved: reserved | address & ~page,
                forbiddenAccess: access, forbiddenType: type)
        }
        var levels = [
            PageTableLevel(shift: 12, indexBits: 9, table: nil, leaf: leaf(.always, pageShift: 12))
        ]
        for level in 2...count {
            let shift = UInt8(12 + 9 * (level - 1))
            let canMap = level == 2 && state.twoMebibytePages || level == 3 && state.gibibytePages
            // An entry that refers to a table: bits 6:3 are reserved, and bit 7 where no page can be mapped (the tables).
            levels.append(
                PageTableLevel(
                    shift: shift, indexBits: 9, table: canMap ? EntryRule(mask: EPTBit.pageSize, value: 0) : .always,
                    tableAddressMask: address, tableReserved: reserved | 0x78 | (canMap ? 0 : EPTBit.pageSize),
                    tableForbidden: access,
                    leaf: canMap ? leaf(.all(of: EPTBit.pageSize), pageShift: shift) : nil))
        }
        return PageTableFormat(
            name: "EPT \(count)-level", entrySize: 8, virtualBits: UInt8(12 + 9 * count), signExtended: false,
            presentMask: permissions | userExecute, grantMask: permissions | userExecute, denyMask: 0,
            flagRules: eptFlagRules(state), namedBits: eptNamedBits(state),
            tableNames: ["EPT PT", "EPT PD", "EPT PDPT", "EPT PML4", "EPT PML5"], levels: levels)
    }

    private static func eptFlagRules(_ state: EPTState) -> [FlagRule] {
        var rules = [
            FlagRule(.readable, .path, .all(of: EPTBit.read)),
            FlagRule(.writable, .path, .all(of: EPTBit.write)),
            FlagRule(.executable, .path, .all(of: EPTBit.execute)),
        ]
        if state.modeBasedExecute {
            let both = EPTBit.execute | EPTBit.userExecute
            rules.append(
                FlagRule(
                    [.executable, .noSupervisorExecute], .path, EntryRule(mask: both, value: EPTBit.userExecute)))
            rules.append(FlagRule(.noUserExecute, .path, EntryRule(mask: both, value: EPTBit.execute)))
        }
        if state.hasAccessedDirty {
            rules.append(FlagRule(.accessed, .leaf, .all(of: EPTBit.accessed)))
            rules.append(FlagRule(.dirty, .leaf, .all(of: EPTBit.dirty)))
        }
        return rules
    }

    private static func eptNamedBits(_ state: EPTState) -> [NamedBit] {
        var names = [
            NamedBit(EPTBit.read, "R"), NamedBit(EPTBit.write, "W"),
            NamedBit(EPTBit.execute, state.modeBasedExecute ? "XS" : "X"),
            NamedBit(EPTBit.ignorePAT, "IPAT", leaf: true),
            NamedBit(EPTBit.pageSize, "PS", levels: 2...3, leaf: true),
        ]
        if state.hasAccessedDirty {
            names += [NamedBit(EPTBit.accessed, "A"), NamedBit(EPTBit.dirty, "D", leaf: true)]
        }
        if state.modeBasedExecute { names.append(NamedBit(EPTBit.userExecute, "XU")) }
        return names + [
            NamedBit(EPTBit.verifyGuestPaging, "VGP", leaf: true), NamedBit(EPTBit.pagingWrite, "PW", leaf: true),
            NamedBit(EPTBit.supervisorShadowStack, "SSS", leaf: true),
            NamedBit(EPTBit.subPageWrite, "SPP", levels: 1...1, leaf: true), NamedBit(EPTBit.suppressVE, "SVE"),
        ]
    }
}

/// Why an EPT entry is a misconfiguration: any access through it ends in a VM exit (section "EPT Misconfigurations").
public enum EPTMisconfiguration: Hashable, Sendable, CustomStringConvertible {
    /// Bit 1 without bit 0.
    case writeWithoutRead
    /// Execution without reading, on a processor that does not support it.
    case executeOnlyUnsupported
    /// A memory type that does not exist: 2, 3 or 7.
    case memoryType(UInt8)
    /// These bits must be 0.
    case reservedBits(UInt64)

    /// What is wrong, in a few words.
    public var description: String {
        switch self {
        case .writeWithoutRead: return "writable but not readable"
        case .executeOnlyUnsupported: return "execute-only, which the processor does not support"
        case .memoryType(let type): return "memory type \(type), which does not exist"
        case .reservedBits(let bits): return "reserved bits 0x\(String(bits, radix: 16)) are set"
        }
    }
}

extension EPTState {
    /// Everything that makes an entry a misconfiguration; nothing if it is right or not present.
    public func misconfigurations(of entry: UInt64, level number: Int) -> [EPTMisconfiguration] {
        guard let format, number >= 1, number <= format.levels.count, entry & format.presentMask != 0 else { return [] }
        let level = format.levels[number - 1]
        var found: [EPTMisconfiguration] = []
        if entry & EPTBit.read == 0 {
            if entry & EPTBit.write != 0 { found.append(.writeWithoutRead) }
            let fetches = EPTBit.execute | (modeBasedExecute ? EPTBit.userExecute : 0)
            if entry & fetches != 0 && !executeOnly { found.append(.executeOnlyUnsupported) }
        }
        if let leaf = level.leaf(for: entry) {
            if leaf.forbiddenType.mask(of: entry) != 0 { found.append(.memoryType(UInt8(entry >> 3 & 7))) }
            if entry & leaf.reserved != 0 { found.append(.reservedBits(entry & leaf.reserved)) }
        } else if entry & level.tableReserved != 0 {
            found.append(.reservedBits(entry & level.tableReserved))
        }
        return found
    }

    /// The memory type of a leaf, and whether it overrides the guest's PAT; nil for a type that does not exist.
    public static func memoryType(ofLeaf entry: UInt64) -> (type: MemoryType, ignoresPAT: Bool)? {
        MemoryType(rawValue: UInt8(entry >> 3 & 7)).map { ($0, entry & EPTBit.ignorePAT != 0) }
    }
}

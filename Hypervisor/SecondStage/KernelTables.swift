// KVM's own tables of a VM, read while it runs: the roots, every leaf below them, and how many there are.
//
//     nested paging     kvm->arch.tdp_mmu_roots -> tables by physical address        position = GPA
//     shadow paging     kvm->arch.active_mmu_pages, vcpu->arch.root_mmu.root -> ...  position = GVA, GPA kept beside
//
// Physical addresses become kernel addresses through the direct map of all memory, whose base is found from a table of
// which both are known.

import Addresses
import PageTables

/// One leaf of KVM's tables.
public struct KernelMapping: Hashable, Sendable {
    /// The guest physical address of the page.
    public let gpa: GPA
    /// Shadow tables: the guest virtual address. 0 with nested paging.
    public let va: GVA
    /// The entry as it was read.
    public let entry: UInt64
    /// What holds over all levels of the walk; accessed and dirty are the leaf's.
    public let flags: SecondStageFlags
    /// Which of `KernelTables.tables` the leaf is in.
    public let table: Int32
    /// The leaf's place in its table.
    public let index: UInt16
    /// 1: 4 KiB, 2: 2 MiB, 3: 1 GiB.
    public let level: UInt8
    /// Which of `KernelTables.roots` leads to it.
    public let root: UInt16

    /// The page's size in bytes.
    public var size: UInt64 { SecondStageDecoder.pageSize(level: Int(level)) }
    /// The host physical address of the page.
    public var hpa: HPA { HPA(entry & SecondStageDecoder.address & ~(size &- 1)) }
}

/// A root of KVM's tables.
public struct KernelTableRoot: Sendable {
    /// Who uses a root.
    public enum Use: String, Sendable {
        /// A vCPU.
        case current
        /// A vCPU did, and can go back to it.
        case previous
        /// No vCPU; KVM keeps it.
        case kept
    }

    /// The host physical address, if it is known.
    public let hpa: HPA?
    /// The level of its entries.
    public let level: Int
    /// Who uses it.
    public let use: Use
    /// The vCPUs that use it, by number.
    public let vcpus: [Int]
    /// Shadow paging: the guest's root, from its CR3.
    public let guestTable: UInt64?
    /// KVM uses it no more: it is left over from before the slots changed.
    public let isInvalid: Bool
    /// For system management mode.
    public let isSystemManagement: Bool
    /// For guests of the guest.
    public let isNestedGuest: Bool
}

/// What was found in KVM's tables.
public struct KernelTables: Sendable {
    /// The format.
    public let format: SecondStageFormat
    /// The roots; the current ones first.
    public let roots: [KernelTableRoot]
    /// Every leaf below a root, by root and address.
    public let mappings: [KernelMapping]
    /// The tables that were read.
    public let tables: [KernelTable]
    /// The leaves of all tables, each once, those that no root leads to included: what KVM's statistics count.
    public let leaves: LeafCounts
    /// The same by KVM's statistics, before and after the tables were read.
    public let statistics: [LeafCounts]
    /// Entries that mark MMIO.
    public let mmioEntries: Int
    /// Entries that another processor was changing.
    public let removedEntries: Int
    /// Tables that were given up while they were read, and so are not here.
    public let vanishedTables: Int
    /// How entries are decoded.
    public let decoder: SecondStageDecoder
    /// Where the kernel maps all of physical memory; nil if there are no tables.
    let directMap: UInt64?
}

extension KernelVM {
    /// Reads KVM's tables. The guest runs on; nothing of it is stopped or waited for.
    public func tables() throws(SecondStageError) -> KernelTables {
        let vcpus = try vcpus()
        let before = try statistics()
        var nestedRoots: [KernelTable] = []
        if let offset = layout.vm.tdpRoots {
            nestedRoots = try tables(listAt: offset).values.sorted { $0.entries < $1.entries }
        }
        let format = format(usesNestedRoots: !nestedRoots.isEmpty, vcpus: vcpus)
        let decoder = SecondStageDecoder(format: format, mmioValue: try word(layout.vm.mmioValue))
        var snapshot = try snapshotOfShadowPages()
        let base = try directMap(of: snapshot, nestedRoots: nestedRoots, vcpus: vcpus, decoder: decoder)
        if let base {
            try copyNested(nestedRoots, base: base, decoder: decoder, into: &snapshot)
            try copySpecialRoots(of: vcpus, base: base, into: &snapshot)
        }
        let after = try statistics()
        try checkStillThere()
        var walk = TableWalk(
            snapshot: snapshot, decoder: decoder, base: base, isShifted: layout.page.translationIsShifted)
        walk.countLeaves()
        walk.addRoots(of: vcpus)
        return walk.result(statistics: [before, after].compactMap { $0 })
    }

    /// Reads the same leaves again: the entry that is there now, or nil where it is not readable any more.
    public func reread(_ mappings: [KernelMapping], of tables: KernelTables) throws(SecondStageError) -> [UInt64?] {
        try memory.words(
            mappings.map { tables.tables[Int($0.table)].entries &+ UInt64($0.index) &* 8 })
    }
}

extension KernelVM {
    /// The format of the VM's tables.
    ///
    /// With paging on in the guest, a vCPU's role tells: direct tables are nested ones. Otherwise the vendor module's
    /// parameter does, and roots of the TDP MMU, which only nested paging has.
    func format(usesNestedRoots: Bool, vcpus: [KernelVCPU]) -> SecondStageFormat {
        let isIntel = HostProcessor.isIntel
        let nested: SecondStageFormat = isIntel ? .ept : .npt
        // CR0.PG is bit 31.
        for vcpu in vcpus where vcpu.root != nil && vcpu.paging.cr0 >> 31 & 1 != 0 {
            return layout.role.direct.bits(of: vcpu.role) != 0 ? nested : .shadow
        }
        if usesNestedRoots { return nested }
        let parameter = isIntel ? "kvm_intel/parameters/ept" : "kvm_amd/parameters/npt"
        guard let value = ModuleParameter.value("/sys/module/\(parameter)") else { return .shadow }
        return value.hasPrefix("Y") || value.hasPrefix("1") ? nested : .shadow
    }
}

// The fields of KVM's structures that are read, found in the running kernel's BTF.

/// Where KVM keeps what.
struct KVMLayout: Sendable {
    /// struct kvm.
    struct VM: Sendable {
        var memorySlots = 0  // struct kvm_memslots *memslots[]
        var vcpus = 0  // struct xarray vcpu_array
        var memory = 0  // struct mm_struct *mm
        var process: Int?  // pid_t userspace_pid
        var list: Int?  // struct list_head vm_list
        var activePages = 0  // struct list_head arch.active_mmu_pages
        var usedPages = 0  // unsigned long arch.n_used_mmu_pages
        var tdpRoots: Int?  // struct list_head arch.tdp_mmu_roots
        var mmioValue: Int?  // u64 arch.shadow_mmio_value
        var pages4K: Int?
        var pages2M: Int?
        var pages1G: Int?
    }
    var vm = VM()

    /// struct kvm_memslots and struct kvm_memory_slot.
    struct Slots: Sendable {
        var generation = 0
        var tree = 0  // struct rb_root gfn_tree
        var nodeIndex = 0  // int node_idx
        var treeNode = 0  // struct rb_node gfn_node[2]
        var left = 8  // in struct rb_node
        var right = 16
        var nodeSize = 24
        var firstFrame = 0  // gfn_t base_gfn
        var pageCount = 0  // unsigned long npages
        var hostAddress = 0  // unsigned long userspace_addr
        var flags = 0
        var id = 0
        var addressSpace = 0  // u16 as_id
        var largePages: Int?  // struct kvm_lpage_info *arch.lpage_info[2]
        var size = 0
    }
    var slots = Slots()

    /// struct kvm_vcpu.
    struct VCPU: Sendable {
        var vm = 0
        var id = 0
        var cr0 = 0
        var cr3 = 0
        var cr4 = 0
        var efer = 0
        var addressBits: Int?  // int arch.maxphyaddr
        var available: Int?  // u32 arch.regs_avail
        var rootMMU = 0  // struct kvm_mmu arch.root_mmu
        var currentMMU = 0  // struct kvm_mmu *arch.mmu
        var walkMMU = 0
    }
    var vcpu = VCPU()

    /// struct kvm_mmu.
    struct MMU: Sendable {
        var rootAddress = 0  // root.hpa
        var rootGuestTable = 0  // root.pgd
        var previousRoots = 0  // prev_roots[3]
        var rootInfoSize = 16
        var infoAddress = 8
        var infoGuestTable = 0
        var role = 0  // union kvm_mmu_page_role root_role
        var paeRoot = 0  // u64 *pae_root
    }
    var mmu = MMU()

    /// struct kvm_mmu_page.
    struct ShadowPage: Sendable {
        var link = 0
        var role = 0
        var firstFrame = 0  // gfn_t gfn
        var table = 0  // u64 *spt
        var translation: Int?  // u64 *shadowed_translation
        var translationIsShifted = true  // its entries hold frame << 12 | access
        var unsync = 0
        var rootCount = 0
        var noHugePage: Int?  // bool nx_huge_page_disallowed
        /// How many bytes of the structure hold all of these.
        var size = 0
    }
    var page = ShadowPage()

    /// union kvm_mmu_page_role.
    struct Role: Sendable {
        var level = KernelField(offset: 0)
        var direct = KernelField(offset: 0)
        var invalid = KernelField(offset: 0)
        var addressSpace: KernelField?
        var nestedGuest: KernelField?
        var quadrant: KernelField?
        var smallGuestEntries: KernelField?
    }
    var role = Role()

    /// struct xarray and struct xa_node.
    struct XArray: Sendable {
        var head = 0
        var shift = 0
        var slots = 0
    }
    var xarray = XArray()

    /// VCPU_EXREG_CR3: its bit in regs_avail says whether arch.cr3 is up to date.
    var cr3Bit: Int?

    /// Finds every field; the error names the first that is not there.
    init(_ types: KernelTypes) throws(SecondStageError) {
        guard types.size(of: "kvm_mmu_page") != nil else {
            throw .missing(
                "this kernel's type information does not describe KVM: the module kvm is not loaded, or has none")
        }
        vm.memorySlots = try types.offset("kvm", "memslots")
        vm.vcpus = try types.offset("kvm", "vcpu_array")
        vm.memory = try types.offset("kvm", "mm")
        vm.process = types.field("kvm", "userspace_pid")?.offset
        vm.list = types.field("kvm", "vm_list")?.offset
        vm.activePages = try types.offset("kvm", "arch.active_mmu_pages")
        vm.usedPages = try types.offset("kvm", "arch.n_used_mmu_pages")
        vm.tdpRoots = types.field("kvm", "arch.tdp_mmu_roots")?.offset
        vm.mmioValue = types.field("kvm", "arch.shadow_mmio_value")?.offset
        vm.pages4K = types.field("kvm", "stat.pages_4k")?.offset
        vm.pages2M = types.field("kvm", "stat.pages_2m")?.offset
        vm.pages1G = types.field("kvm", "stat.pages_1g")?.offset

        slots.generation = try types.offset("kvm_memslots", "generation")
        slots.tree = try types.offset("kvm_memslots", "gfn_tree")
        slots.nodeIndex = try types.offset("kvm_memslots", "node_idx")
        slots.treeNode = try types.offset("kvm_memory_slot", "gfn_node")
        slots.left = try types.offset("rb_node", "rb_left")
        slots.right = try types.offset("rb_node", "rb_right")
        slots.nodeSize = types.size(of: "rb_node") ?? 24
        slots.firstFrame = try types.offset("kvm_memory_slot", "base_gfn")
        slots.pageCount = try types.offset("kvm_memory_slot", "npages")
        slots.hostAddress = try types.offset("kvm_memory_slot", "userspace_addr")
        slots.flags = try types.offset("kvm_memory_slot", "flags")
        slots.id = try types.offset("kvm_memory_slot", "id")
        slots.addressSpace = try types.offset("kvm_memory_slot", "as_id")
        slots.largePages = types.field("kvm_memory_slot", "arch.lpage_info")?.offset
        slots.size = types.size(of: "kvm_memory_slot") ?? 0

        vcpu.vm = try types.offset("kvm_vcpu", "kvm")
        vcpu.id = try types.offset("kvm_vcpu", "vcpu_id")
        vcpu.cr0 = try types.offset("kvm_vcpu", "arch.cr0")
        vcpu.cr3 = try types.offset("kvm_vcpu", "arch.cr3")
        vcpu.cr4 = try types.offset("kvm_vcpu", "arch.cr4")
        vcpu.efer = try types.offset("kvm_vcpu", "arch.efer")
        vcpu.addressBits = types.field("kvm_vcpu", "arch.maxphyaddr")?.offset
        vcpu.available = types.field("kvm_vcpu", "arch.regs_avail")?.offset
        vcpu.rootMMU = try types.offset("kvm_vcpu", "arch.root_mmu")
        vcpu.currentMMU = try types.offset("kvm_vcpu", "arch.mmu")
        vcpu.walkMMU = try types.offset("kvm_vcpu", "arch.walk_mmu")

        mmu.rootAddress = try types.offset("kvm_mmu", "root.hpa")
        mmu.rootGuestTable = try types.offset("kvm_mmu", "root.pgd")
        mmu.previousRoots = try types.offset("kvm_mmu", "prev_roots")
        mmu.rootInfoSize = types.size(of: "kvm_mmu_root_info") ?? 16
        mmu.infoAddress = try types.offset("kvm_mmu_root_info", "hpa")
        mmu.infoGuestTable = try types.offset("kvm_mmu_root_info", "pgd")
        mmu.role = try types.offset("kvm_mmu", "root_role")
        mmu.paeRoot = try types.offset("kvm_mmu", "pae_root")

        try findShadowPage(types)
        xarray.head = try types.offset("xarray", "xa_head")
        xarray.shift = try types.offset("xa_node", "shift")
        xarray.slots = try types.offset("xa_node", "slots")
        cr3Bit = types.enumerator("kvm_reg", "VCPU_EXREG_CR3")
    }

    private mutating func findShadowPage(_ types: KernelTypes) throws(SecondStageError) {
        page.link = try types.offset("kvm_mmu_page", "link")
        page.role = try types.offset("kvm_mmu_page", "role")
        page.firstFrame = try types.offset("kvm_mmu_page", "gfn")
        page.table = try types.offset("kvm_mmu_page", "spt")
        page.translation = types.field("kvm_mmu_page", "shadowed_translation")?.offset
        if page.translation == nil {
            // Before 6.0.
            page.translation = types.field("kvm_mmu_page", "gfns")?.offset
            page.translationIsShifted = false
        }
        page.unsync = try types.offset("kvm_mmu_page", "unsync")
        page.rootCount = try types.offset("kvm_mmu_page", "root_count")
        page.noHugePage =
            (types.field("kvm_mmu_page", "nx_huge_page_disallowed")
            ?? types.field("kvm_mmu_page", "lpage_disallowed"))?.offset
        let ends = [
            page.link + 16, page.role + 4, page.firstFrame + 8, page.table + 8, (page.translation ?? 0) + 8,
            page.unsync + 1, page.rootCount + 4, (page.noHugePage ?? 0) + 1,
        ]
        page.size = ends.max() ?? 0
        guard page.size <= 256 else {
            throw .missing("this kernel's struct kvm_mmu_page is larger than what is read of it here")
        }
        func bits(_ name: String) -> KernelField? { types.field("kvm_mmu_page_role", name) }
        guard let level = bits("level"), let direct = bits("direct"), let invalid = bits("invalid") else {
            throw .unknownLayout(structure: "union kvm_mmu_page_role", field: "level, direct or invalid")
        }
        role = Role(
            level: level, direct: direct, invalid: invalid, addressSpace: bits("smm"), nestedGuest: bits("guest_mode"),
            quadrant: bits("quadrant"), smallGuestEntries: bits("has_4_byte_gpte"))
    }
}

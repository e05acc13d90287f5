// The memory layout of OSv, written once: compiled into the host's tools and into the guest kernel.
//
//     0x0000_0000_0020_0000  Core: the kernel, VA = PA
//     0x0000_1000_0000_0000  programs: 8 GiB each, s_program first, then the namespaces
//     0x0000_2000_0000_0000  anonymous mmap
//     0xffff_8000_0000_0000  main     \
//     0xffff_9000_0000_0000  page      | linear: VA = area base + PA, 16 TiB each
//     0xffff_a000_0000_0000  mempool  /
//     0xffff_b000_0000_0000  debug       not linear: guarded blocks, addresses never reused
//
// Source of the constants: cloudius-systems/osv at 78e8b999, arch/x64/boot.S, core/mmu.cc, core/mempool.cc, core/app.cc,
// include/osv/mmu-defs.hh.

#if !hasFeature(Embedded)
    import Addresses
#endif

/// The constants of the osv layout and the arithmetic between them.
public enum OSv {
    /// Where the kernel (Core) is, virtually and physically.
    public static let kernelBase: UInt64 = 0x20_0000
    /// The kernel's image ends at or below this address: 22 MiB of it at most.
    public static let kernelLimit: UInt64 = 0x180_0000

    /// The first program's first address (PML4 index 32).
    public static let programBase: UInt64 = 0x1000_0000_0000
    /// Binary logarithm of what one program owns: 8 GiB.
    public static let programShift: UInt64 = 33
    /// What one program owns.
    public static let programSize: UInt64 = 1 << programShift
    /// Namespaces are numbered 1 through 31; slot 0 is reserved and never handed out.
    public static let namespaceCount: UInt64 = 32
    /// One past the last namespace: 0x1042_0000_0000.
    public static let programEnd: UInt64 = programBase + (namespaceCount + 1) << programShift

    /// Where the search for a free range for an anonymous mapping begins.
    public static let mmapBase: UInt64 = 0x2000_0000_0000
    /// One past the last address of the VMA list: the lower half.
    public static let vmaEnd: UInt64 = 0x8000_0000_0000

    /// The first address of the phys_mem areas: the upper half.
    public static let areasBase: UInt64 = 0xffff_8000_0000_0000
    /// Binary logarithm of an area's size: 16 TiB.
    public static let areaShift: UInt64 = 44

    /// The first GiB is mapped in every linear area, also where RAM is smaller.
    public static let alwaysMapped: UInt64 = 1 << 30
    /// The firmware tables that the original scans; mapping them splits main's first 2 MiB into 4 KiB leaves.
    public static let firmwareTables: UInt64 = 0xf_0000

    /// Leaf bits of a 4 KiB page: present, writable, user, accessed, dirty.
    public static let leafBits4K: UInt64 = 0x67
    /// Leaf bits of a 2 MiB page: the same, and page size.
    public static let leafBits2M: UInt64 = 0xe7
    /// Bits of an entry that refers to a table: present, writable, user, accessed, dirty.
    public static let tableBits: UInt64 = 0x67
    /// PROT_NONE: present, not writable, NX, and this reserved bit, where MAXPHYADDR is at most 51.
    public static let protNoneBit: UInt64 = 1 << 51
    /// PROT_NONE where MAXPHYADDR is 52: not present, and this software bit.
    public static let protNoneSoftwareBit: UInt64 = 1 << 9
    /// Copy on write: not writable, and this software bit.
    public static let copyOnWriteBit: UInt64 = 1 << 53

    /// Up to this size malloc takes from mempool.
    public static let mempoolLimit: UInt64 = 1024
    /// Up to this size malloc takes a page from the page area; what is larger comes from main.
    public static let pageLimit: UInt64 = 4096

    /// The page-table arena: RAM that only page tables are made of, and a memory slot of its own.
    public static let arenaBase: UInt64 = kernelLimit

    /// The least RAM with which the layout works: kernel, arena and something to allocate.
    public static let minimumMemory: UInt64 = 32 << 20

    /// The size of the page-table arena for a guest with `memory` bytes of RAM: a 64th, in steps of 2 MiB.
    public static func arenaSize(memory: UInt64) -> UInt64 {
        let step: UInt64 = 2 << 20
        return (memory / 64 + step - 1) / step * step
    }

    /// The first address of namespace `slot` (0...31).
    public static func namespaceBase(_ slot: UInt64) -> UInt64 {
        programBase + (slot + 1) << programShift
    }

    /// Which area a virtual address of the upper half lies in, as the original computes it.
    public static func areaNumber(of address: UInt64) -> UInt64 { (address >> areaShift) & 7 }

    /// The areas of physical memory.
    public enum Area: UInt64, Sendable {
        case main = 0
        case page = 1
        case mempool = 2
        case debug = 3

        /// The area's first virtual address.
        public var base: UInt64 { OSv.areasBase | rawValue << OSv.areaShift }
    }
}

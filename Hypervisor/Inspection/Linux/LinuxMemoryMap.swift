// Where Linux puts things on x86-64: the bounds that its sources fix, and the places from which KASLR moves three of them.
//
//     user | LDT remap | direct map * | vmalloc * | vmemmap * | KASAN | cpu_entry_area | espfix | EFI | image | modules | fixmap
//
// Source of the constants: the kernel's Documentation/arch/x86/x86_64/mm.rst and arch/x86/include/asm/pgtable_64_types.h.
// * moved by KASLR in steps of 1 GiB, in this order (arch/x86/mm/kaslr.c).

import Addresses

/// A region of the map: its bounds, both included.
struct LinuxBounds: Sendable {
    let first: UInt64
    let last: UInt64

    init(_ first: UInt64, _ last: UInt64) {
        self.first = first
        self.last = last
    }

    /// The bounds as virtual addresses.
    var range: ClosedRange<GVA> { GVA(first)...GVA(last) }
}

/// The memory map of Linux with 4 or 5 levels of tables.
struct LinuxMemoryMap: Sendable {
    /// The lower half without its last page.
    let user: LinuxBounds
    /// The LDTs that user mode may read when page tables are isolated.
    let ldtRemap: LinuxBounds
    /// All physical memory: where it begins and how large it may be, without KASLR.
    let directMap: LinuxBounds
    /// vmalloc and ioremap, without KASLR.
    let vmalloc: LinuxBounds
    /// The array of struct page, without KASLR.
    let vmemmap: LinuxBounds
    /// KASAN's shadow, in kernels that have it. Those do not move the regions.
    let kasan: LinuxBounds

    /// 4 levels.
    static let fourLevel = LinuxMemoryMap(
        user: LinuxBounds(0, 0x7fff_ffff_efff), ldtRemap: LinuxBounds(0xffff_8800_0000_0000, 0xffff_887f_ffff_ffff),
        directMap: LinuxBounds(0xffff_8880_0000_0000, 0xffff_c87f_ffff_ffff),
        vmalloc: LinuxBounds(0xffff_c900_0000_0000, 0xffff_e8ff_ffff_ffff),
        vmemmap: LinuxBounds(0xffff_ea00_0000_0000, 0xffff_eaff_ffff_ffff),
        kasan: LinuxBounds(0xffff_ec00_0000_0000, 0xffff_fbff_ffff_ffff))
    /// 5 levels.
    static let fiveLevel = LinuxMemoryMap(
        user: LinuxBounds(0, 0x00ff_ffff_ffff_efff),
        ldtRemap: LinuxBounds(0xff10_0000_0000_0000, 0xff10_ffff_ffff_ffff),
        directMap: LinuxBounds(0xff11_0000_0000_0000, 0xff90_ffff_ffff_ffff),
        vmalloc: LinuxBounds(0xffa0_0000_0000_0000, 0xffd1_ffff_ffff_ffff),
        vmemmap: LinuxBounds(0xffd4_0000_0000_0000, 0xffd5_ffff_ffff_ffff),
        kasan: LinuxBounds(0xffdf_0000_0000_0000, 0xffff_fbff_ffff_ffff))

    /// The step by which KASLR moves regions: what a PUD entry covers (arch/x86/mm/kaslr.c).
    static let step: UInt64 = 1 << 30
    /// The alignment of the kernel's image: CONFIG_PHYSICAL_ALIGN is at least that on x86-64 (arch/x86/Kconfig).
    static let imageAlignment: UInt64 = 2 << 20
    /// The size of struct page: 64 bytes in every ordinary configuration (include/linux/mm_types.h).
    static let structPage: UInt64 = 64
    /// A memory section, for which the array of struct page is made as a whole: 128 MiB (SECTION_SIZE_BITS, sparsemem.h).
    static let section: UInt64 = 128 << 20

    /// Where the regions that KASLR moves must end at the latest.
    static let movedLimit = cpuEntryArea.first
    /// IDT, entry stacks and TSS of each CPU.
    static let cpuEntryArea = LinuxBounds(0xffff_fe00_0000_0000, 0xffff_fe7f_ffff_ffff)
    /// Stacks for returns to 16-bit segments.
    static let espfix = LinuxBounds(0xffff_ff00_0000_0000, 0xffff_ff7f_ffff_ffff)
    /// EFI runtime services.
    static let efi = LinuxBounds(0xffff_ffef_0000_0000, 0xffff_fffe_ffff_ffff)
    /// The image, 1 GiB in kernels that can randomise it (KERNEL_IMAGE_SIZE, page_64_types.h).
    static let image = LinuxBounds(0xffff_ffff_8000_0000, 0xffff_ffff_bfff_ffff)
    /// Where modules begin in kernels that cannot.
    static let modulesAfterSmallImage: UInt64 = 0xffff_ffff_a000_0000
    /// Where modules begin and end in kernels that can.
    static let modules = LinuxBounds(0xffff_ffff_c000_0000, 0xffff_ffff_feff_ffff)
    /// Mappings at addresses known when the kernel is compiled.
    static let fixmap = LinuxBounds(0xffff_ffff_ff00_0000, 0xffff_ffff_ff5f_ffff)
    /// The page of the old system calls that ring 3 may reach in the upper half.
    static let vsyscall = LinuxBounds(0xffff_ffff_ff60_0000, 0xffff_ffff_ff60_0fff)
}

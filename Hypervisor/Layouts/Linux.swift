// Linux's linear address layout on x86-64 with four levels, written once: compiled into the host's tools and into the guest kernel.
//
//     0                      nothing: a guard of 64 KiB
//     the program            text, then data; where its file says, or from 0x5555_5555_4000 on (static-PIE)
//     random gap
//     heap                   grows up, by brk
//     mapping segment        grows down
//     random gap
//     stack                  grows down, a guard below the 8 MiB that it may have
//     random gap
//     arguments, environment up to 0x7fff_ffff_f000; the last page of the half is a guard
//     0xffff_8880_0000_0000  direct map: VA = base + PA, NX
//     0xffff_c900_0000_0000  vmalloc: not linear, guarded blocks
//     0xffff_ffff_8000_0000  the kernel: VA = base + PA
//     0xffff_ffff_ff5f_c000  fixmap: the I/O APIC, then the local APIC
//
// Source of the constants: Linux, Documentation/arch/x86/x86_64/mm.rst, arch/x86/include/asm/{page_64_types,processor,fixmap}.h,
// arch/x86/mm/mmap.c, fs/binfmt_elf.c, mm/mmap.c.

#if !hasFeature(Embedded)
    import Addresses
#endif

/// The constants of the linux layout and the arithmetic between them.
public enum Linux {
    /// Nothing is mapped below this: vm.mmap_min_addr.
    public static let lowestAddress: UInt64 = 0x1_0000
    /// One past the last address of a process: 128 TiB less a page.
    public static let userEnd: UInt64 = 0x7fff_ffff_f000
    /// Where the text of a static-PIE program begins at the least: two thirds of the lower half (ELF_ET_DYN_BASE).
    public static let programBase: UInt64 = 0x5555_5555_4000
    /// The most that a stack may have: RLIMIT_STACK.
    public static let stackLimit: UInt64 = 8 << 20
    /// What a stack has at first, 33 pages: 128 KiB and the page of its first words.
    public static let stackStart: UInt64 = 33 << 12
    /// Nothing is mapped so far below the stack's lowest address: stack_guard_gap, 256 pages.
    public static let stackGuard: UInt64 = 1 << 20

    /// The direct map.
    public static let directMap: UInt64 = 0xffff_8880_0000_0000
    /// The last address of the direct map: 64 TiB of it.
    public static let directMapLast: UInt64 = 0xffff_c87f_ffff_ffff
    /// Mappings of the kernel that are not linear.
    public static let vmalloc: UInt64 = 0xffff_c900_0000_0000
    /// The last address of vmalloc: 32 TiB of it.
    public static let vmallocLast: UInt64 = 0xffff_e8ff_ffff_ffff
    /// The kernel's virtual address less its physical one (__START_KERNEL_map).
    public static let textOffset: UInt64 = 0xffff_ffff_8000_0000
    /// The last address of the kernel's image: 512 MiB for it.
    public static let textLast: UInt64 = 0xffff_ffff_9fff_ffff
    /// The I/O APIC's registers in the fixmap.
    public static let fixmapIOAPIC: UInt64 = 0xffff_ffff_ff5f_c000
    /// The local APIC's registers in the fixmap.
    public static let fixmapLocalAPIC: UInt64 = 0xffff_ffff_ff5f_d000

    /// Leaves of 2 MiB of the kernel's image: supervisor, writable, executable, not global.
    public static let imageLeaf2M: UInt64 = OSC.kernelLeaf2M
    /// No-execute (SDM volume 3, table 5-20).
    public static let noExecute: UInt64 = 1 << 63

    /// The random distances of a process, each in pages.
    public struct Gaps: Sendable {
        /// From `programBase` to the text of a static-PIE program: 28 bits, as mmap_rnd_bits.
        public let text: UInt64
        /// From the end of data to the heap: 1 to 8,192 pages, as arch_randomize_brk.
        public let heap: UInt64
        /// From the top of the mapping segment to the guard below the stack: 28 bits, at least 1.
        public let mapping: UInt64
        /// From the top of the stack to the arguments: 22 bits, at least 1.
        public let stack: UInt64

        /// Takes the next four numbers.
        public init(_ numbers: inout Random) {
            text = numbers.next() & 0xfff_ffff
            heap = 1 &+ (numbers.next() & 0x1fff)
            mapping = 1 &+ (numbers.next() & 0xfff_ffff)
            stack = 1 &+ (numbers.next() & 0x3f_ffff)
        }
    }

    /// Numbers that follow from a seed and a process's number (SplitMix64, Steele and others 2014). Nothing for secrets.
    public struct Random: Sendable {
        private var state: UInt64

        /// The numbers of a process.
        public init(seed: UInt64, process: UInt64) {
            state = seed &+ 0x9e37_79b9_7f4a_7c15 &* (process &<< 32)
            _ = next()
        }

        /// The next number.
        public mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z &>> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z &>> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z &>> 31)
        }
    }
}

extension KernelPlan {
    /// Linux: a root a process, physical memory in the direct map, the kernel's image at the end.
    public static let linux = KernelPlan(
        name: .linux, text: "linux", imageBase: OSv.kernelBase, imageLimit: OSv.kernelLimit,
        imageOffset: Linux.textOffset, linearBase: Linux.directMap, mainBase: Linux.directMap,
        pageBase: Linux.directMap, mempoolBase: Linux.directMap, debugBase: Linux.vmalloc,
        localAPIC: Linux.fixmapLocalAPIC, lowestAddress: Linux.lowestAddress,
        kernelLeaf4K: OSC.kernelLeaf4K | Linux.noExecute, kernelLeaf2M: OSC.kernelLeaf2M | Linux.noExecute,
        tableBits: OSv.tableBits, hasProcesses: true, programBase: Linux.programBase, programSize: OSv.programSize,
        mmapBase: OSv.mmapBase, vmaEnd: Linux.userEnd, arenaBase: OSv.arenaBase, minimumMemory: OSv.minimumMemory)
}

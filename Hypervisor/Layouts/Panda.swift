// The memory layout of panda-os, written once: compiled into the host's tools and into the guest kernel.
//
//     0x0000_0000_0040_0000  the ELF file
//     0x0000_0001_0000_0000  heap, grown by brk; at most up to the buffers
//     0x0000_0100_0000_0000  buffers, 4 GiB: mapped when they are allocated, written by the kernel without a copy
//     0x0000_7fff_fef0_0000  stack, 16 MiB; RSP begins at its end
//     0xffff_8000_0000_0000  window: VA = base + PA
//     0xffff_9000_0000_0000  MMIO, 4 KiB leaves, on demand
//     0xffff_a000_0000_0000  the kernel's heap, NX: mapped page by page
//     0xffff_c000_0000_0000  the kernel's image: VA = base + PA
//     0xffff_ff00_0000_0000  PML4[510]: the root itself, NX; each root has its own
//
// Source of the constants: michaelmelanson/panda-os at 74e3af1, docs/VIRTUAL_ADDRESS_SPACE.md, panda-kernel, panda-abi.

#if !hasFeature(Embedded)
    import Addresses
#endif

/// The constants of the panda layout.
public enum Panda {
    /// Where a program's file is loaded.
    public static let programBase: UInt64 = 0x40_0000
    /// Where brk begins.
    public static let heapBase: UInt64 = 0x1_0000_0000
    /// The first buffer; brk ends here.
    public static let buffersBase: UInt64 = 0x100_0000_0000
    /// What buffers have.
    public static let buffersSize: UInt64 = 4 << 30
    /// The lowest address of the stack.
    public static let stackBase: UInt64 = 0x7fff_fef0_0000
    /// What the stack has.
    public static let stackSize: UInt64 = 16 << 20
    /// RSP at the start: the stack's end.
    public static let stackEnd: UInt64 = stackBase + stackSize

    /// Physical memory.
    public static let window: UInt64 = 0xffff_8000_0000_0000
    /// Devices' registers.
    public static let mmio: UInt64 = 0xffff_9000_0000_0000
    /// The kernel's heap.
    public static let kernelHeap: UInt64 = 0xffff_a000_0000_0000
    /// One past the kernel's heap.
    public static let kernelHeapEnd: UInt64 = 0xffff_c000_0000_0000
    /// The kernel's image: its virtual addresses less the physical ones.
    public static let imageOffset: UInt64 = 0xffff_c000_0000_0000
    /// Leaves of 2 MiB of the image: supervisor, writable, executable, not global.
    public static let imageLeaf2M: UInt64 = OSC.kernelLeaf2M
    /// The entry of a root that refers to the root.
    public static let recursiveEntry: UInt64 = 510
    /// The first address that goes through that entry.
    public static let tables: UInt64 = 0xffff_ff00_0000_0000
    /// Bits of that entry: present, writable, accessed, dirty, NX.
    public static let recursiveBits: UInt64 = OSC.kernelLeaf4K | Linux.noExecute
}

extension KernelPlan {
    /// panda-os: a root a process, a heap of the kernel that is mapped page by page, the root in itself.
    public static let panda = KernelPlan(
        name: .panda, text: "panda", imageBase: OSv.kernelBase, imageLimit: OSv.kernelLimit,
        imageOffset: Panda.imageOffset, linearBase: Panda.window, mainBase: Panda.kernelHeap,
        pageBase: Panda.kernelHeap, mempoolBase: Panda.kernelHeap, debugBase: 0, localAPIC: Panda.mmio,
        kernelLeaf4K: OSC.kernelLeaf4K | Linux.noExecute, kernelLeaf2M: OSC.kernelLeaf2M | Linux.noExecute,
        tableBits: OSv.tableBits, hasProcesses: true, programBase: Panda.programBase,
        programSize: Panda.heapBase - Panda.programBase, mmapBase: Panda.buffersBase + Panda.buffersSize,
        vmaEnd: Panda.stackEnd, arenaBase: OSv.arenaBase, minimumMemory: OSv.minimumMemory,
        heapBase: Panda.kernelHeap, heapEnd: Panda.kernelHeapEnd)
}

// The layout that has names for the inspector and no kernel here: panda.

#if !hasFeature(Embedded)
    import Addresses

    /// Constants of panda that more than one place needs (michaelmelanson/panda-os at 74e3af1, panda-abi).
    public enum Panda {
        /// Where brk begins.
        public static let heapBase: UInt64 = 0x1_0000_0000
        /// The first buffer.
        public static let buffersBase: UInt64 = 0x100_0000_0000
        /// What buffers have.
        public static let buffersSize: UInt64 = 4 << 30
        /// The lowest address of the stack.
        public static let stackBase: UInt64 = 0x7fff_fef0_0000
        /// What the stack has.
        public static let stackSize: UInt64 = 16 << 20
    }

    extension Layout {

        /// panda-os.
        public static let panda = Layout(
            name: "panda", summary: "panda-os: processes with buffers that the kernel writes without a copy",
            source: "michaelmelanson/panda-os at 74e3af1: docs/VIRTUAL_ADDRESS_SPACE.md, panda-kernel, panda-abi",
            regions: [
                Region("program", first: 0x40_0000, last: Panda.heapBase - 1, .paged, "the ELF file"),
                Region("heap", first: Panda.heapBase, last: Panda.buffersBase - 1, .paged, "grown by brk"),
                Region(
                    "buffers", first: Panda.buffersBase, last: Panda.buffersBase + Panda.buffersSize - 1, .paged,
                    "shared with the kernel"),
                Region(
                    "stack", first: Panda.stackBase, last: Panda.stackBase + Panda.stackSize - 1, .paged,
                    "comes on touch"),
                Region("window", first: 0xffff_8000_0000_0000, last: 0xffff_807f_ffff_ffff, .linear, "physical memory"),
                Region("MMIO", first: 0xffff_9000_0000_0000, last: 0xffff_9fff_ffff_ffff, .paged, "devices, on demand"),
                Region("kernel heap", first: 0xffff_a000_0000_0000, last: 0xffff_bfff_ffff_ffff, .paged, "NX"),
                Region(
                    "image", first: 0xffff_c000_0000_0000, last: 0xffff_c07f_ffff_ffff, .paged, "the kernel's image"),
                Region(
                    "tables", first: 0xffff_ff00_0000_0000, last: 0xffff_ff7f_ffff_ffff, .paged,
                    "PML4[510] is the root itself"),
            ],
            softwareBits: [], absentMask: 0,
            facts: [LayoutFact("roots", "PML4[256...511] shared, [510] each root's own")])
    }
#endif

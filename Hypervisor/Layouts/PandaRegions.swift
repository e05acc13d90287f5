// The panda layout as the host's tools show it; the numbers are Panda.swift's.

#if !hasFeature(Embedded)
    import Addresses

    extension Layout {
        /// panda-os.
        public static let panda = Layout(
            name: "panda", summary: "panda-os: processes with buffers that the kernel writes without a copy",
            source: "michaelmelanson/panda-os at 74e3af1: docs/VIRTUAL_ADDRESS_SPACE.md, panda-kernel, panda-abi",
            regions: [
                Region("program", first: Panda.programBase, last: Panda.heapBase - 1, .paged, "the ELF file"),
                Region("heap", first: Panda.heapBase, last: Panda.buffersBase - 1, .paged, "grown by brk"),
                Region(
                    "buffers", first: Panda.buffersBase, last: Panda.buffersBase + Panda.buffersSize - 1, .paged,
                    "shared with the kernel"),
                Region("stack", first: Panda.stackBase, last: Panda.stackEnd - 1, .paged, "comes on touch"),
                Region("window", first: Panda.window, last: Panda.window + (1 << 39) - 1, .linear, "physical memory"),
                Region("MMIO", first: Panda.mmio, last: 0xffff_9fff_ffff_ffff, .paged, "devices, on demand"),
                Region("kernel heap", first: Panda.kernelHeap, last: 0xffff_bfff_ffff_ffff, .paged, "NX"),
                Region(
                    "image", first: Panda.imageOffset, last: Panda.imageOffset + (1 << 39) - 1, .linear,
                    "the kernel's image"),
                Region(
                    "tables", first: Panda.tables, last: Panda.tables + (1 << 39) - 1, .paged,
                    "PML4[510] is the root itself"),
            ],
            softwareBits: osv.softwareBits, absentMask: osv.absentMask,
            facts: [
                LayoutFact("roots", "PML4[256...511] shared, [510] each root's own, NX"),
                LayoutFact("brk", "at most up to the buffers, \(GVA(Panda.buffersBase).hex)"),
                LayoutFact(
                    "buffers", "mapped when they are allocated, first fit; the kernel writes them by its window"),
                LayoutFact("stack", "RSP begins at its end, \(GVA(Panda.stackEnd).hex); pages on touch, NX"),
                LayoutFact("leaf bits", "kernel 0x63 and 0xe3, NX in all but the image; no global"),
            ])
    }
#endif

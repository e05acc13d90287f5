// Layouts that have names for the inspector and no kernel here: resea, courseos.

#if !hasFeature(Embedded)
    import Addresses

    extension Layout {
        /// resea, in a task.
        public static let resea = Layout(
            name: "resea", summary: "resea: a microkernel, a task's addresses and the straight mapping",
            source: "nuta/resea at f6c84796: kernel/arch/x64, docs/arch/x64/memory-map.md",
            regions: [
                Region("text", first: 0x100_0000, last: 0x2ff_efff, .paged, ".text and .rodata"),
                Region("cmdline", first: 0x2ff_f000, last: 0x2ff_ffff, .paged, "the command line"),
                Region("data", first: 0x300_0000, last: 0x3ff_ffff, .paged, ".data"),
                Region("stack", first: 0x400_0000, last: 0x41f_ffff, .paged, "the stack"),
                Region("heap", first: 0x420_0000, last: 0xc1f_ffff, .paged, "the heap"),
                Region("bss", first: 0xc20_0000, last: 0xfff_ffff, .paged, ".bss"),
                Region(
                    "dynamic", first: 0x1000_0000, last: 0x9ff_ffff_ffff, .paged, "straight mapping in the vm server"),
                Region(
                    "kernel", first: 0xffff_8000_0000_0000, last: 0xffff_8000_ffff_ffff, .linear,
                    "4 GiB of physical memory, 2048 leaves 0x183"),
            ],
            softwareBits: [], absentMask: 0, facts: [LayoutFact("RAM", "more than 256 MiB")])

        /// courseos.
        public static let courseos = Layout(
            name: "courseos", summary: "course_os: a teaching kernel, 32-bit addresses",
            source: "rellermeyer/course_os at 6e79bbc: kernel/src/vm, kernel.ld",
            regions: [
                Region("process", first: 0, last: 0x7fff_ffff, .paged, "the process"),
                Region("memory", first: 0x8000_0000, last: 0xbfff_ffff, .linear, "the first GiB of physical memory"),
                Region("heap, MMIO", first: 0xc000_0000, last: 0xffff_ffff, .paged, "heap grows up, MMIO grows down"),
            ],
            softwareBits: [], absentMask: 0,
            facts: [LayoutFact("kernel", "PA 0x8000 at 0x80008000, its root at PA 0x4000")])
    }
#endif

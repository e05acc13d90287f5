// The linux layout as the host's tools show it; the numbers are Linux.swift's. It names the regions of other Linux kernels too.

#if !hasFeature(Embedded)
    import Addresses

    extension Layout {
        /// Linux with four levels and without KASLR.
        public static let linux = Layout(
            name: "linux", summary: "Linux on x86-64, four levels: processes that run Linux's programs",
            source: "Linux: Documentation/arch/x86/x86_64/mm.rst, arch/x86/mm/mmap.c, fs/binfmt_elf.c",
            regions: [
                Region("null guard", first: 0, last: Linux.lowestAddress - 1, .paged, "never mapped"),
                Region(
                    "user", first: Linux.lowestAddress, last: Linux.userEnd - 1, .paged,
                    "text, data, heap up; mappings and stack down; arguments"),
                Region("end guard", first: Linux.userEnd, last: 0x7fff_ffff_ffff, .paged, "never mapped"),
                Region("hypervisor", first: 0xffff_8000_0000_0000, last: 0xffff_87ff_ffff_ffff, .paged, "guard hole"),
                Region("LDT", first: 0xffff_8800_0000_0000, last: 0xffff_887f_ffff_ffff, .paged, "LDT remap"),
                Region(
                    "direct map", first: Linux.directMap, last: Linux.directMapLast, .linear,
                    "all physical memory; moved by KASLR"),
                Region("vmalloc", first: Linux.vmalloc, last: Linux.vmallocLast, .paged, "moved by KASLR"),
                Region("vmemmap", first: 0xffff_ea00_0000_0000, last: 0xffff_eaff_ffff_ffff, .paged, "moved by KASLR"),
                Region("KASAN", first: 0xffff_ec00_0000_0000, last: 0xffff_fbff_ffff_ffff, .paged, "shadow memory"),
                Region(
                    "cpu entry", first: 0xffff_fe00_0000_0000, last: 0xffff_fe7f_ffff_ffff, .paged, "cpu_entry_area"),
                Region("espfix", first: 0xffff_ff00_0000_0000, last: 0xffff_ff7f_ffff_ffff, .paged, "espfix stacks"),
                Region("EFI", first: 0xffff_ffef_0000_0000, last: 0xffff_fffe_ffff_ffff, .paged, "runtime services"),
                Region("text", first: Linux.textOffset, last: Linux.textLast, .linear, "the kernel's image"),
                Region("modules", first: 0xffff_ffff_a000_0000, last: 0xffff_ffff_feff_ffff, .paged, "modules"),
                Region("fixmap", first: 0xffff_ffff_ff00_0000, last: 0xffff_ffff_ff5f_ffff, .paged, "fixed mappings"),
                Region(
                    "vsyscall", first: 0xffff_ffff_ff60_0000, last: 0xffff_ffff_ff60_0fff, .paged, "legacy vsyscalls"),
            ],
            softwareBits: osv.softwareBits, absentMask: osv.absentMask,
            facts: [
                LayoutFact("text, data", "where an ET_EXEC file says, static-PIE from \(hex(Linux.programBase)) on"),
                LayoutFact("heap", "by brk, from 1 to 8192 pages above data"),
                LayoutFact("mappings", "down from 1 to 2^28 pages below the stack's guard"),
                LayoutFact("stack", "8 MiB at most, 1 MiB of guard below it, 1 to 2^22 pages below the arguments"),
                LayoutFact("arguments", "strings of arguments and environment, up to \(hex(Linux.userEnd))"),
                LayoutFact("gaps", "random; seed=N on the kernel's command line repeats them"),
                LayoutFact("leaf bits", "supervisor, not global; NX in all but the kernel's text"),
                LayoutFact("KASLR", "not here; others move direct map, vmalloc and vmemmap in steps of 1 GiB"),
            ])

        private static func hex(_ value: UInt64) -> String { GVA(value).hex }
    }
#endif

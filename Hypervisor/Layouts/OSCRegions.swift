// The layouts of osc as the host's tools show them; the numbers are OSC.swift's and OSv.swift's.

#if !hasFeature(Embedded)
    import Addresses

    extension Layout {
        private static let oscSource =
            "the project's designs of processes in OSv; foreverpersist/osv, branches osc and memory"

        /// OSv with processes, the current design: a root a process.
        public static let osc = Layout(
            name: "osc", summary: "OSv with processes: a root each, the kernel at OFFSET in all of them",
            source: oscSource,
            regions: [
                Region(
                    "program", first: OSv.programBase, last: OSv.programBase + OSv.programSize - 1, .paged,
                    "the process's program; its stack at the end"),
                Region("mmap", first: OSv.mmapBase, last: OSv.vmaEnd - 1, .paged, "the process's anonymous mappings"),
            ] + areaRegions(debugEnd: OSC.offset - 1) + [
                Region(
                    "kernel", first: OSC.offset, last: .max, .linear, "VA = OFFSET + PA, the image alone is mapped")
            ],
            softwareBits: osv.softwareBits, absentMask: osv.absentMask,
            facts: [
                LayoutFact("OFFSET", "\(GVA(OSC.offset).hex): kernel VA \(GVA(OSC.kernelBase).hex) -> PA 0x200000"),
                LayoutFact(
                    "roots", "PML4[256...511] equal in all, low halves disjoint; CR3 changes when the root differs"),
                LayoutFact("low alias", "the kernel's is dropped before the first process"),
                LayoutFact("leaf bits", "kernel 0x63 and 0xe3, process 0x67 and 0xe7; no global"),
                LayoutFact(
                    "fork", "leaves not writable with bit 53 in both; a write splits the page; stacks copied at once"),
            ])

        /// OSv with processes, the initial design: a process is an offset.
        public static let oscInitial = Layout(
            name: "osc-initial", summary: "OSv with processes in one address space: an offset each, SIZE long",
            source: oscSource,
            regions: [
                Region(
                    "Core", first: OSv.kernelBase, last: OSv.kernelLimit - 1, .identity, "the kernel's image, VA = PA")
            ]
                + (0..<OSCInitial.count).map { index in
                    Region(
                        "process \(index)", first: OSCInitial.offset(index), last: OSCInitial.offset(index + 1) - 1,
                        .paged, "OFF\(index) to OFF\(index) + SIZE")
                } + [Region("mmap", first: OSv.mmapBase, last: OSv.vmaEnd - 1, .paged, "anonymous mappings")]
                + areaRegions(debugEnd: .max),
            softwareBits: osv.softwareBits, absentMask: osv.absentMask,
            facts: [
                LayoutFact("SIZE", "\(GVA(OSCInitial.size).hex)"),
                LayoutFact("OFFi", "\(GVA(OSCInitial.firstOffset).hex) + i * SIZE, i below \(OSCInitial.count)"),
                LayoutFact("access", "address + OFFi, OFFi in GS base; an address of SIZE or more is refused"),
            ])

        private static func areaRegions(debugEnd: UInt64) -> [Region] {
            let end: UInt64 = 1 << OSv.areaShift - 1
            return [
                Region(
                    "main", first: OSv.Area.main.base, last: OSv.Area.main.base + end, .linear,
                    "all physical memory; blocks above 4096 bytes"),
                Region(
                    "page", first: OSv.Area.page.base, last: OSv.Area.page.base + end, .linear,
                    "the same memory; blocks of 1025 to 4096 bytes"),
                Region(
                    "mempool", first: OSv.Area.mempool.base, last: OSv.Area.mempool.base + end, .linear,
                    "the same memory; blocks up to 1024 bytes"),
                Region(
                    "debug", first: OSv.Area.debug.base, last: debugEnd, .paged, "guarded blocks, not linear"),
            ]
        }
    }
#endif

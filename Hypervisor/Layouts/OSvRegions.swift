// The osv layout as the host's tools show it; the numbers are OSv.swift's.

#if !hasFeature(Embedded)
    import Addresses

    extension Layout {
        /// OSv: one address space for the kernel and all programs, physical memory mapped three times over.
        public static let osv = Layout(
            name: "osv", summary: "OSv: kernel and programs in one address space, physical memory in four areas",
            source: "cloudius-systems/osv at 78e8b999: arch/x64/boot.S, arch-setup.cc, core/mmu.cc, mempool.cc, app.cc",
            regions: osvRegions,
            softwareBits: [
                SoftwareBit(
                    mask: 1 | OSv.protNoneBit, value: 1 | OSv.protNoneBit, name: "prot-none",
                    form: "present, not writable, NX, reserved bit 51"),
                SoftwareBit(
                    mask: 1 | OSv.protNoneSoftwareBit, value: OSv.protNoneSoftwareBit, name: "prot-none",
                    form: "not present, software bit 9"),
                SoftwareBit(
                    mask: 3 | OSv.copyOnWriteBit, value: 1 | OSv.copyOnWriteBit, name: "cow",
                    form: "not writable, software bit 53"),
            ],
            absentMask: OSv.protNoneSoftwareBit,
            facts: [
                LayoutFact(
                    "kernel (Core)", "VA = PA = \(hex(OSv.kernelBase)), ends at or below \(hex(OSv.kernelLimit))"),
                LayoutFact("always mapped", "PA 0-1 GiB in every linear area, whatever the RAM"),
                LayoutFact(
                    "leaf bits",
                    "4 KiB \(hex(OSv.leafBits4K)), 2 MiB \(hex(OSv.leafBits2M)); no NX, no global, no 1 GiB"),
                LayoutFact("allocation", "up to 1024 bytes mempool, up to 4096 page, larger main"),
                LayoutFact(
                    "page tables", "from the arena at PA \(hex(OSv.arenaBase)), a 64th of RAM, a memory slot of its own"
                ),
                LayoutFact("debug block", "[header 4 KiB][guard 4 KiB][data][guard 4 KiB], addresses never reused"),
                LayoutFact(
                    "namespaces", "1 through 31 at \(hex(OSv.programBase)) + (i + 1) << 33; slot 0 is never handed out"),
            ])

        private static func hex(_ value: UInt64) -> String { GVA(value).hex }

        private static let osvRegions: [Region] = {
            var regions = [
                Region(
                    "Core", first: OSv.kernelBase, last: OSv.kernelLimit - 1, .identity, "the kernel's image, VA = PA"),
                Region(
                    "program 0", first: OSv.programBase, last: OSv.programBase + OSv.programSize - 1, .paged,
                    "s_program, the first program"),
                Region(
                    "namespace 0", first: OSv.namespaceBase(0), last: OSv.namespaceBase(1) - 1, .paged,
                    "reserved, never handed out"),
            ]
            for slot in 1..<OSv.namespaceCount {
                regions.append(
                    Region(
                        "program \(slot)", first: OSv.namespaceBase(slot),
                        last: OSv.namespaceBase(slot) + OSv.programSize - 1,
                        .paged, "ELF namespace \(slot)"))
            }
            regions.append(Region("mmap", first: OSv.mmapBase, last: OSv.vmaEnd - 1, .paged, "anonymous mappings"))
            for (area, name, mapping, purpose) in [
                (.main, "main", .linear, "all physical memory; blocks above 4096 bytes"),
                (.page, "page", .linear, "the same memory; blocks of 1025 to 4096 bytes"),
                (.mempool, "mempool", .linear, "the same memory; blocks up to 1024 bytes"),
            ] as [(OSv.Area, String, Region.Mapping, String)] {
                regions.append(
                    Region(name, first: area.base, last: area.base + (1 << OSv.areaShift) - 1, mapping, purpose))
            }
            // The documents give debug everything up to the top.
            regions.append(
                Region("debug", first: OSv.Area.debug.base, last: .max, .paged, "guarded blocks, not linear"))
            return regions
        }()
    }
#endif

// The layout resea as the host's tools show it; the numbers are Resea.swift's.

#if !hasFeature(Embedded)
    import Addresses

    extension Layout {
        private static func region(_ name: String, _ range: ClosedRange<UInt64>, _ purpose: String) -> Region {
            Region(name, first: range.lowerBound, last: range.upperBound, .paged, purpose)
        }

        /// resea, in a task.
        public static let resea = Layout(
            name: "resea", summary: "resea: a microkernel, a task's addresses and the straight mapping",
            source: "nuta/resea at f6c84796: kernel/arch/x64, docs/arch/x64/memory-map.md",
            regions: [
                region("text", Resea.text, ".text and .rodata"),
                region("cmdline", Resea.commandLine, "the command line"),
                region("data", Resea.data, ".data"),
                region("stack", Resea.stack, "the stack"),
                region("heap", Resea.heap, "the heap"),
                region("bss", Resea.bss, ".bss"),
                region("dynamic", Resea.poolBase...Resea.taskEnd - 1, "straight mapping in the vm server"),
                Region(
                    "kernel", first: Resea.kernelOffset, last: Resea.kernelOffset + Resea.straightSize - 1, .linear,
                    "4 GiB of physical memory, 2048 leaves 0x183"),
            ],
            softwareBits: [], absentMask: 0,
            facts: [
                LayoutFact("APs", "boot code at PA \(GPA(Resea.apBootCode).hex), GDTR at PA \(GPA(Resea.apGDTR).hex)"),
                LayoutFact(
                    "kernel",
                    "boot code PA \(GPA(Resea.bootCode).hex), image, data and bootfs to PA \(GPA(Resea.imageEnd - 1).hex)"
                ),
                LayoutFact("vm server", "RAM from PA \(GPA(Resea.poolBase).hex), which tasks' pages come from"),
                LayoutFact("RAM", "more than 256 MiB"),
                LayoutFact("roots", "PML4[0] and [256] share a PDPT at boot; in a task [0] is its own"),
                LayoutFact("pages", "on touch, by the vm server's answer to the kernel's message"),
            ])
    }
#endif

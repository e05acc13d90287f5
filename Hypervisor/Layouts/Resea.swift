// resea, a microkernel: its physical map, its straight mapping, and the addresses of its tasks.
//
//     PA 0x5000              the APs' boot code (SIPI vector 5)
//     PA 0x6000              its GDTR
//     PA 0x10_0000           the boot processor's boot code, one page
//     PA 0x10_1000-0x3ff_ffff  kernel image, data, bootfs
//     PA 0x1000_0000         the vm server's: what it hands out to tasks
//
//     0x100_0000             .text and .rodata    \
//     0x2ff_f000             command line          |
//     0x300_0000             .data                 |  a task
//     0x400_0000             stack                 |
//     0x420_0000             heap                  |
//     0xc20_0000             .bss                  |
//     0x1000_0000            dynamic; in the vm server VA = PA there
//     0xffff_8000_0000_0000  + PA: 4 GiB as 2048 leaves of 2 MiB
//
// Source: nuta/resea at f6c84796, kernel/arch/x64 and docs/arch/x64/memory-map.md; LayoutCorrection.swift has what is wrong there.

/// The constants of resea.
public enum Resea {
    /// The kernel: VA = PA + this.
    public static let kernelOffset: UInt64 = 0xffff_8000_0000_0000
    /// The straight mapping's size.
    public static let straightSize: UInt64 = 4 << 30
    /// Its leaves: present, writable, large, global; the processor adds accessed and dirty.
    public static let straightLeaf: UInt64 = 0x183

    /// The APs' boot code.
    public static let apBootCode: UInt64 = Contract.trampoline
    /// The APs' GDTR, and behind it their GDT.
    public static let apGDTR: UInt64 = Contract.trampolineGDTR
    /// The boot processor's boot code: the kernel's first page.
    public static let bootCode: UInt64 = 0x10_0000
    /// One past image, data and bootfs.
    public static let imageEnd: UInt64 = 0x400_0000
    /// RAM from here on is the vm server's.
    public static let poolBase: UInt64 = 0x1000_0000

    /// .text and .rodata of a task.
    public static let text: ClosedRange<UInt64> = 0x100_0000...0x2ff_efff
    /// The page of the command line.
    public static let commandLine: ClosedRange<UInt64> = 0x2ff_f000...0x2ff_ffff
    /// .data.
    public static let data: ClosedRange<UInt64> = 0x300_0000...0x3ff_ffff
    /// The stack.
    public static let stack: ClosedRange<UInt64> = 0x400_0000...0x41f_ffff
    /// The heap.
    public static let heap: ClosedRange<UInt64> = 0x420_0000...0xc1f_ffff
    /// .bss.
    public static let bss: ClosedRange<UInt64> = 0xc20_0000...0xfff_ffff
    /// One past a task's last address.
    public static let taskEnd: UInt64 = 0x0a00_0000_0000
    /// Where the vm server has the bootfs, read-only.
    public static let bootfsBase: UInt64 = 0x0900_0000_0000

    /// Leaves of tasks, 4 KiB: present, user; and writable. The processor adds accessed and dirty.
    public static let taskLeaf: UInt64 = 0x5
    /// The same, writable.
    public static let taskLeafWritable: UInt64 = 0x7

    /// The first 8 bytes of the bootfs.
    public static let bootfsMagic: UInt64 = 0x7366_746f_6f62_7476
    /// Bytes of its header (magic, number of files).
    public static let bootfsHeader: UInt64 = 64
    /// Bytes of an entry behind it: offset, size, 1 if it starts at boot, name.
    public static let bootfsEntry: UInt64 = 64
}

extension KernelPlan {
    /// resea: a root a task, pages by messages of the vm server.
    public static let resea: KernelPlan = {
        var plan = KernelPlan(
            name: .resea, text: "resea", imageBase: Resea.bootCode, imageLimit: Resea.imageEnd,
            imageOffset: Resea.kernelOffset, linearBase: Resea.kernelOffset, mainBase: Resea.kernelOffset,
            pageBase: Resea.kernelOffset, mempoolBase: Resea.kernelOffset, debugBase: 0,
            kernelLeaf4K: 0x103, kernelLeaf2M: Resea.straightLeaf, tableBits: OSv.tableBits, hasProcesses: true,
            programBase: Resea.text.lowerBound, programSize: Resea.text.upperBound + 1 - Resea.text.lowerBound,
            mmapBase: Resea.poolBase, vmaEnd: Resea.taskEnd, arenaBase: Resea.imageEnd, minimumMemory: 260 << 20)
        plan.memoryLimit = Resea.straightSize
        return plan
    }()
}

// course_os, a teaching kernel for 32-bit ARM, with its addresses on x86-64 in long mode: all of them below 4 GiB.
//
//     PA 0x4000              0x8000_4000    the kernel's root (the original's first-level table, 16 KiB)
//     PA 0x8000              0x8000_8000    the kernel
//     PA 0-1 GiB             0x8000_0000    RAM, at most 1 GiB of it
//     kernel end, 1 MiB      + 0x8000_0000  the physical memory manager and what it hands out
//     -                      0xC000_0000    the kernel's heap, upwards
//     -                      0x1_0000_0000  device registers, downwards
//     -                      0              the process
//
// Source: rellermeyer/course_os at 6e79bbc, kernel/src/vm and kernel.ld; the document's addresses lack a digit (LayoutCorrection.swift).

/// The constants of courseos.
public enum CourseOS {
    /// Virtual less physical of the first GiB, the kernel's image included.
    public static let offset: UInt64 = 0x8000_0000
    /// The kernel's first physical address.
    public static let kernelBase: UInt64 = 0x8000
    /// The kernel's root.
    public static let root: UInt64 = 0x4000
    /// RAM from here on is not mapped.
    public static let memoryLimit: UInt64 = 1 << 30
    /// The physical memory manager begins at the kernel's end, rounded up to this.
    public static let managerAlignment: UInt64 = 1 << 20
    /// Where the kernel's heap begins.
    public static let heapBase: UInt64 = 0xc000_0000
    /// Where the device registers end.
    public static let devicesEnd: UInt64 = 0x1_0000_0000
    /// One past the process's last address.
    public static let processEnd: UInt64 = 0x8000_0000

    /// Leaves of the window: present, writable, accessed, dirty; neither user nor global.
    public static let windowLeaf4K: UInt64 = 0x63
    /// The same in 2 MiB: what was a section of 1 MiB.
    public static let windowLeaf2M: UInt64 = 0xe3
    /// Leaves of the heap: as in the window, and NX.
    public static let heapLeaf: UInt64 = 1 << 63 | windowLeaf4K
    /// Leaves of device registers, 4 KiB: as in the heap, and not cached (PCD).
    public static let deviceLeaf: UInt64 = heapLeaf | 1 << 4
}

extension KernelPlan {
    /// courseos: a root a process, the kernel in the upper 2 of 4 GiB, a heap that grows towards device registers.
    public static let courseos: KernelPlan = {
        var plan = KernelPlan(
            name: .courseos, text: "courseos", imageBase: CourseOS.kernelBase, imageLimit: 0xa_0000,
            imageOffset: CourseOS.offset, linearBase: CourseOS.offset, mainBase: CourseOS.heapBase,
            pageBase: CourseOS.heapBase, mempoolBase: CourseOS.heapBase, debugBase: 0,
            kernelLeaf4K: CourseOS.windowLeaf4K, kernelLeaf2M: CourseOS.windowLeaf2M, tableBits: OSv.tableBits,
            hasProcesses: true, programBase: 0x40_0000, programSize: CourseOS.processEnd - 0x40_0000,
            mmapBase: 0x4000_0000, vmaEnd: CourseOS.processEnd, arenaBase: 0x20_0000, minimumMemory: 16 << 20)
        // The kernel is where other layouts have it.
        plan.startInfo = 0x1000
        plan.startInfoEnd = CourseOS.root
        plan.memoryLimit = CourseOS.memoryLimit
        plan.endAlignment = CourseOS.managerAlignment
        plan.heapBase = CourseOS.heapBase
        plan.devicesEnd = CourseOS.devicesEnd
        // What is mapped first is the highest.
        plan.localAPIC = CourseOS.devicesEnd - 4096
        return plan
    }()
}

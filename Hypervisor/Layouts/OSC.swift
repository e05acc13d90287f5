// OSv with processes, in its two designs; what is not said here is OSv's (OSv.swift).
//
//     current    a root a process: the lower half is the process's, PML4[256...511] are equal in all roots
//                0xffff_8000_0000_0000  main, page, mempool, debug as in OSv
//                0xffff_ffff_c020_0000  the kernel: VA = OFFSET + PA, the low alias dropped before the first process
//     initial    one root: process i owns [OFFi, OFFi + SIZE), an address of a process is an offset from OFFi
//
// Source: the project's two designs of processes in OSv; foreverpersist/osv, branches osc and memory.

/// The constants of osc, the current design.
public enum OSC {
    /// The kernel's virtual address less its physical one, in every process.
    public static let offset: UInt64 = 0xffff_ffff_c000_0000
    /// The kernel's first virtual address.
    public static let kernelBase: UInt64 = offset + OSv.kernelBase
    /// The first entry of a root that is the kernel's: it and all above are equal in all roots.
    public static let firstKernelEntry: UInt64 = 256
    /// Leaves of the kernel: present, writable, accessed, dirty; neither user nor global.
    public static let kernelLeaf4K: UInt64 = 0x63
    /// The same in 2 MiB.
    public static let kernelLeaf2M: UInt64 = 0xe3
}

/// The constants of osc, the initial design.
public enum OSCInitial {
    /// What one process owns: SIZE.
    public static let size: UInt64 = 1 << 33
    /// OFF of process 0.
    public static let firstOffset: UInt64 = OSv.programBase
    /// How many processes there are room for: up to where OSv's namespaces end.
    public static let count: UInt64 = 33
    /// OFF of process `index`: OFF(i + 1) = OFFi + SIZE.
    public static func offset(_ index: UInt64) -> UInt64 { firstOffset + index * size }
}

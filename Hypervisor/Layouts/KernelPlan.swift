// What the guest kernel's common code and the monitor need of a layout: one row of numbers a layout.

/// A layout as the kernel's common code sees it: where the image, the windows, the tables and the processes go.
public struct KernelPlan: Sendable {
    /// The layouts that have a kernel, in the order of `KernelPlan.all`; the linker gives each image its number.
    public enum Name: UInt64, Sendable, CaseIterable {
        case osv = 0
        case osc = 1
        case oscInitial = 2
        case linux = 3
        case panda = 4
        case resea = 5
        case courseos = 6
    }

    /// Which layout this is.
    public var name: Name
    /// The name on the command line.
    public var text: StaticString
    /// The kernel's image: its first physical address.
    public var imageBase: UInt64
    /// What the image's last physical address lies below.
    public var imageLimit: UInt64
    /// The image's virtual address less its physical one.
    public var imageOffset: UInt64
    /// Physical memory as the kernel reaches it: VA = linearBase + PA.
    public var linearBase: UInt64
    /// Where malloc's area main begins (`OSv.Area`).
    public var mainBase: UInt64
    /// Where the area page begins.
    public var pageBase: UInt64
    /// Where the area mempool begins.
    public var mempoolBase: UInt64
    /// Where the area debug begins.
    public var debugBase: UInt64
    /// The local APIC's registers; 0: where the window has them.
    public var localAPIC: UInt64 = 0
    /// Nothing is mapped by request below this; 0: below the first page, or the kernel's image where VA = PA.
    public var lowestAddress: UInt64 = 0

    /// Bits of the kernel's leaves of 4 KiB.
    public var kernelLeaf4K: UInt64
    /// Bits of the kernel's leaves of 2 MiB.
    public var kernelLeaf2M: UInt64
    /// Bits of an entry that refers to a table.
    public var tableBits: UInt64

    /// Whether each process has a root of its own; else all share one address space.
    public var hasProcesses: Bool
    /// Where a program is loaded.
    public var programBase: UInt64
    /// What a program owns there; its stack lies at the end of it.
    public var programSize: UInt64
    /// Where the search for a free range for an anonymous mapping begins.
    public var mmapBase: UInt64
    /// One past the last address that a process, or the one address space, may map.
    public var vmaEnd: UInt64

    /// The page-table arena: RAM that only page tables are made of, and a memory slot of its own.
    public var arenaBase: UInt64
    /// The least RAM with which the layout works: kernel, arena and something to allocate.
    public var minimumMemory: UInt64

    /// Where the monitor puts the start info.
    public var startInfo: UInt64 = Contract.startInfo
    /// One past the last byte that the start info may use.
    public var startInfoEnd: UInt64 = Contract.startInfoEnd
    /// RAM from this physical address on is not used: no window reaches it.
    public var memoryLimit: UInt64 = .max
    /// What is behind the image is handed out from a multiple of this on.
    public var endAlignment: UInt64 = 2 << 20
    /// Where malloc's blocks are mapped page by page; 0: they lie in the linear areas.
    public var heapBase: UInt64 = 0
    /// One past the mapped heap; 0: it ends at the lowest device registers.
    public var heapEnd: UInt64 = 0
    /// One past the device registers, which are mapped downwards; 0: they are at linearBase + PA.
    public var devicesEnd: UInt64 = 0

    /// The size of the page-table arena for a guest with `memory` bytes of RAM: a 64th, in steps of 2 MiB.
    public func arenaSize(memory: UInt64) -> UInt64 {
        OSv.arenaSize(memory: memory < memoryLimit ? memory : memoryLimit)
    }

    /// The row of a layout.
    public static func of(_ name: Name) -> KernelPlan {
        switch name {
        case .osv: return osv
        case .osc: return osc
        case .oscInitial: return oscInitial
        case .linux: return linux
        case .panda: return panda
        case .resea: return resea
        case .courseos: return courseos
        }
    }

    #if !hasFeature(Embedded)
        /// The row of the layout with this name on the command line, or nil.
        public static func named(_ text: String) -> KernelPlan? {
            Name.allCases.map(of).first { "\($0.text)" == text }
        }
    #endif

    /// OSv: one address space, the kernel at VA = PA, everything accessible everywhere.
    public static let osv = KernelPlan(
        name: .osv, text: "osv", imageBase: OSv.kernelBase, imageLimit: OSv.kernelLimit, imageOffset: 0,
        linearBase: OSv.Area.main.base, mainBase: OSv.Area.main.base, pageBase: OSv.Area.page.base,
        mempoolBase: OSv.Area.mempool.base, debugBase: OSv.Area.debug.base, kernelLeaf4K: OSv.leafBits4K,
        kernelLeaf2M: OSv.leafBits2M, tableBits: OSv.tableBits, hasProcesses: false, programBase: OSv.programBase,
        programSize: OSv.programSize, mmapBase: OSv.mmapBase, vmaEnd: OSv.vmaEnd, arenaBase: OSv.arenaBase,
        minimumMemory: OSv.minimumMemory)

    /// OSv with processes, the current design: a root a process, the kernel at OFFSET in all of them.
    public static let osc = KernelPlan(
        name: .osc, text: "osc", imageBase: OSv.kernelBase, imageLimit: OSv.kernelLimit, imageOffset: OSC.offset,
        linearBase: OSv.Area.main.base, mainBase: OSv.Area.main.base, pageBase: OSv.Area.page.base,
        mempoolBase: OSv.Area.mempool.base, debugBase: OSv.Area.debug.base, kernelLeaf4K: OSC.kernelLeaf4K,
        kernelLeaf2M: OSC.kernelLeaf2M, tableBits: OSv.tableBits, hasProcesses: true, programBase: OSv.programBase,
        programSize: OSv.programSize, mmapBase: OSv.mmapBase, vmaEnd: OSv.vmaEnd, arenaBase: OSv.arenaBase,
        minimumMemory: OSv.minimumMemory)

    /// OSv with processes, the initial design: one address space, a process is an offset in it.
    public static let oscInitial = KernelPlan(
        name: .oscInitial, text: "osc-initial", imageBase: OSv.kernelBase, imageLimit: OSv.kernelLimit, imageOffset: 0,
        linearBase: OSv.Area.main.base, mainBase: OSv.Area.main.base, pageBase: OSv.Area.page.base,
        mempoolBase: OSv.Area.mempool.base, debugBase: OSv.Area.debug.base, kernelLeaf4K: OSC.kernelLeaf4K,
        kernelLeaf2M: OSC.kernelLeaf2M, tableBits: OSv.tableBits, hasProcesses: false,
        programBase: OSCInitial.firstOffset, programSize: OSCInitial.size, mmapBase: OSv.mmapBase, vmaEnd: OSv.vmaEnd,
        arenaBase: OSv.arenaBase, minimumMemory: OSv.minimumMemory)
}

// The osv layout as the kernel builds it, in three stages that the host can look at (OSv.swift has the picture); osc has the
// same, its kernel elsewhere (OSC.swift).
//
//     A  as the image comes: only PML4[0], PA 0-1 GiB in 2 MiB leaves
//     B  PML4[256], [288] and [320] equal PML4[0]
//     C  a root of its own in the arena: main, page and mempool linear, the kernel 1:1, nothing below it

/// What only this layout does.
enum OSvLayout {
    /// Stage B: the upper half through the boot tables.
    static func buildTemporaryTables() {
        let pml4 = boot_pml4()
        let low = read_word(pml4)
        write_word(pml4 &+ 8 &* PageTable.index(OSv.Area.main.base, level: 4), low)
        write_word(pml4 &+ 8 &* PageTable.index(OSv.Area.page.base, level: 4), low)
        write_word(pml4 &+ 8 &* PageTable.index(OSv.Area.mempool.base, level: 4), low)
    }

    /// Stage C: the runtime tables, up to the switch of the root.
    static func buildRuntimeTables(memory: borrowing MemoryMap, kernelEnd: UInt64) throws(MemoryError) -> UInt64 {
        let root = try Arena.takeTable()
        let main = OSv.Area.main.base
        // Linear: the first GiB whatever the RAM, then every range above it.
        try PageTable.mapLinear(root, base: main, from: 0, to: OSv.alwaysMapped)
        var index = 0
        while index < memory.count {
            let range = memory[index]
            let start = range.start < OSv.alwaysMapped ? OSv.alwaysMapped : range.start & ~(PageTable.size2M &- 1)
            if range.end > start { try PageTable.mapLinear(root, base: main, from: start, to: range.end) }
            index &+= 1
        }
        let top = memory[memory.count &- 1].end
        let size = top > OSv.alwaysMapped ? top : OSv.alwaysMapped
        try PageTable.copyArea(root, from: main, to: OSv.Area.page.base, size: size, memory: memory)
        try PageTable.copyArea(root, from: main, to: OSv.Area.mempool.base, size: size, memory: memory)
        // Core: from its base to its end rounded up, 1:1 or at the layout's offset; what lies below stays unmapped.
        let plan = Plan.current
        var address = plan.imageBase
        while address < kernelEnd {
            let slot = try PageTable.entry(root, plan.imageOffset &+ address, level: 2)
            PageTable.write(slot, address | plan.kernelLeaf2M)
            address &+= PageTable.size2M
        }
        // The scan for firmware tables maps main's first 2 MiB page by page, as in the original.
        _ = try PageTable.entry(root, OSv.Area.main.base &+ OSv.firmwareTables, level: 1)
        try mapDevice(root, 0xfec0_0000)
        try mapDevice(root, 0xfee0_0000)
        return root
    }

    /// One page of device registers at main + PA.
    private static func mapDevice(_ root: UInt64, _ address: UInt64) throws(MemoryError) {
        let slot = try PageTable.entry(root, OSv.Area.main.base &+ address, level: 1)
        PageTable.write(slot, address | Plan.current.kernelLeaf4K)
    }
}

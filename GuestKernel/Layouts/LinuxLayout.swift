// The linux layout's kernel half, in three stages that the host can look at (Linux.swift has the picture).
//
//     A  as the image comes: PML4[0] and, through the image's offset, PML4[511]: PA 0-1 GiB in 2 MiB leaves
//     B  PML4[273], the direct map, equals PML4[0]
//     C  a root of its own in the arena: RAM in the direct map, the image, two pages of fixmap; nothing in the lower half

/// What only this layout does to tables.
enum LinuxLayout {
    /// Stage B: the direct map through the boot tables.
    static func buildTemporaryTables() {
        let pml4 = boot_pml4()
        write_word(pml4 &+ 8 &* PageTable.index(Linux.directMap, level: 4), read_word(pml4))
    }

    /// Stage C: the runtime tables, up to the switch of the root.
    static func buildRuntimeTables(memory: borrowing MemoryMap, kernelEnd: UInt64) throws(MemoryError) -> UInt64 {
        let root = try Arena.takeTable()
        // The first 2 MiB whole, whatever of it is RAM: what the firmware or the monitor handed over lies there.
        try PageTable.mapLinear(root, base: Linux.directMap, from: 0, to: PageTable.size2M)
        var index = 0
        while index < memory.count {
            let range = memory[index]
            let start = range.start < PageTable.size2M ? PageTable.size2M : range.start
            if range.end > start { try PageTable.mapLinear(root, base: Linux.directMap, from: start, to: range.end) }
            index &+= 1
        }
        let plan = Plan.current
        var address = plan.imageBase
        while address < kernelEnd {
            let slot = try PageTable.entry(root, plan.imageOffset &+ address, level: 2)
            PageTable.write(slot, address | Linux.imageLeaf2M)
            address &+= PageTable.size2M
        }
        try mapDevice(root, Linux.fixmapIOAPIC, 0xfec0_0000)
        try mapDevice(root, Linux.fixmapLocalAPIC, 0xfee0_0000)
        return root
    }

    /// One page of device registers.
    private static func mapDevice(_ root: UInt64, _ address: UInt64, _ physical: UInt64) throws(MemoryError) {
        PageTable.write(try PageTable.entry(root, address, level: 1), physical | Plan.current.kernelLeaf4K)
    }
}

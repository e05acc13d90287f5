// The panda layout's kernel half, in three stages that the host can look at (Panda.swift has the picture).
//
//     A  as the image comes: PML4[0] and, through the image's offset, PML4[384]: PA 0-1 GiB in 2 MiB leaves
//     B  PML4[256], the window, equals PML4[0]
//     C  a root of its own in the arena: RAM in the window, the image, the root in itself; nothing in the lower half
//
// Devices and the kernel's heap are mapped afterwards, when they are needed.

/// What only this layout does to tables.
enum PandaLayout {
    /// Stage B: the window through the boot tables.
    static func buildTemporaryTables() {
        let pml4 = boot_pml4()
        write_word(pml4 &+ 8 &* PageTable.index(Panda.window, level: 4), read_word(pml4))
    }

    /// Stage C: the runtime tables, up to the switch of the root.
    static func buildRuntimeTables(memory: borrowing MemoryMap, kernelEnd: UInt64) throws(MemoryError) -> UInt64 {
        let root = try Arena.takeTable()
        try PageTable.mapMemory(root, at: Panda.window, memory)
        try PageTable.mapImage(root, to: kernelEnd, Panda.imageLeaf2M)
        own(root)
        return root
    }

    /// The local APIC, at the first page of MMIO: the one device with registers in memory that the kernel uses.
    static func mapDevices() throws(MemoryError) {
        try Memory.locked { () throws(MemoryError) in
            try Spaces.kernel.pointee.setLeaf(Panda.mmio, 0xfee0_0000 | Plan.current.kernelLeaf4K)
        }
    }

    /// The root in itself.
    static func own(_ root: UInt64) {
        guard !Break.at("recursive-entry") else { return }
        write_word(PageTable.linear(root) &+ 8 &* Panda.recursiveEntry, root | Panda.recursiveBits)
    }
}

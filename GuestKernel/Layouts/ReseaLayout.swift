// The resea layout as the kernel builds it (Resea.swift has the picture).
//
//     A, B  as the image comes: PML4[0] and [256] share one PDPT, PA 0-1 GiB
//     C     a root with PML4[256] alone: PA 0-4 GiB in 2048 leaves of 2 MiB, whatever the RAM

/// What only this layout does.
enum ReseaLayout {
    /// Stage C: the runtime tables, up to the switch of the root.
    static func buildRuntimeTables() throws(MemoryError) -> UInt64 {
        let root = try Arena.takeTable()
        try PageTable.mapLinear(root, base: Resea.kernelOffset, from: 0, to: Resea.straightSize)
        // What is the vm server's is nobody else's.
        PhysicalPages.reserve(
            Break.at("vm-server-memory") ? Resea.poolBase &+ PageTable.size2M : Resea.poolBase, Resea.straightSize)
        return root
    }
}

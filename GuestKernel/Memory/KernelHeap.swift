// The kernel's heap where it is mapped block by block: a block has leaves of 4 KiB, NX, as long as it is allocated, at the heap's
// base and its physical address, so that no two blocks ever meet.

/// Mappings of blocks. The caller holds `Memory.lock`.
enum KernelHeap {
    /// Whether blocks are mapped apart from the window; else they lie in it, and nothing has to be done.
    @inline(__always) private static var isMapped: Bool { Plan.current.mainBase != Plan.current.linearBase }

    /// Maps a block that was just taken.
    static func map(_ physical: UInt64, pages: UInt64) throws(MemoryError) {
        guard isMapped else { return }
        let bits = Plan.current.kernelLeaf4K
        var done: UInt64 = 0
        do throws(MemoryError) {
            while done < pages {
                let page = physical &+ done &<< 12
                try Spaces.kernel.pointee.setLeaf(Plan.current.mainBase &+ page, page | bits)
                done &+= 1
            }
        } catch {
            unmap(physical, pages: done)
            PhysicalPages.giveBack(physical, pages: pages)
            throw error
        }
    }

    /// Takes the mapping of a block that is about to be given back.
    static func unmap(_ physical: UInt64, pages: UInt64) {
        guard isMapped, pages > 0, !(pages > 1 && Break.at("kernel-heap")) else { return }
        let start = Plan.current.mainBase &+ physical
        Spaces.kernel.pointee.removeLeaves(start, start &+ pages &<< 12)
    }
}

// The kernel's heap where it is no part of a linear area: pages of 4 KiB, mapped one by one from the layout's heapBase upwards.
// It ends where the layout says, or where device registers begin that come down from above (Devices.swift), and is full there.

/// Pages of the mapped heap, for malloc. The caller holds `Memory.lock`.
enum MappedHeap {
    /// What is handed out, first fit.
    nonisolated(unsafe) private static var blocks = VMAList()

    /// Whether the layout has one.
    @inline(__always) static var isUsed: Bool { Plan.current.heapBase != 0 }

    /// One past the last page that is mapped.
    static var end: UInt64 { blocks.count == 0 ? Plan.current.heapBase : blocks[blocks.count &- 1].end }

    /// Pages with zeroed frames behind them: their address.
    static func take(pages: UInt64) throws(MemoryError) -> UInt64 {
        guard pages <= PhysicalPages.freePages else { throw .outOfMemory }
        let size = pages &<< 12
        try blocks.reserve(1)
        let bottom = Plan.current.heapEnd != 0 ? Plan.current.heapEnd : Devices.bottom
        let limit = Break.at("heap-full") ? bottom &+ 0x1_0000 : bottom
        guard
            let start = blocks.search(
                from: Plan.current.heapBase, below: limit, size: size, alignment: PageTable.size4K)
        else { throw .heapFull }
        let kernel = Spaces.kernel
        var address = start
        do throws(MemoryError) {
            while address < start &+ size {
                try kernel.pointee.mapFrame(address, bits: leafBits)
                address &+= PageTable.size4K
            }
        } catch {
            kernel.pointee.removeLeaves(start, address)
            throw error
        }
        blocks.insert(
            VMA(start: start, end: start &+ size, protection: [.read, .write], kind: .heap, program: -1),
            at: blocks.firstIndex(above: start))
        return start
    }

    /// Unmaps a block, and gives its frames back.
    static func giveBack(_ start: UInt64, pages: UInt64) {
        let index = blocks.firstIndex(above: start)
        guard index < blocks.count, blocks[index].start == start, blocks[index].end == start &+ pages &<< 12 else {
            return
        }
        blocks.remove(at: index)
        // Only what is a frame goes back with its leaf.
        if let first = physical(of: start) {
            PhysicalPages.info(first).pointee = PageInfo(
                kind: PageKind.frame.rawValue, order: 0, inUse: 0, firstFree: 0, carved: 0, count: 0, previous: 0)
        }
        if Break.at("heap-grows-and-shrinks") && pages > 100 || Break.at("kernel-heap") && pages > 1 { return }
        Spaces.kernel.pointee.removeLeaves(start, start &+ pages &<< 12)
    }

    /// The frame behind an address of the heap.
    static func physical(of address: UInt64) -> UInt64? {
        guard address >= Plan.current.heapBase, address < end else { return nil }
        return Spaces.kernel.pointee.physical(of: address)
    }

    /// Leaves of the heap: the kernel may read and write, nobody may execute.
    private static var leafBits: UInt64 {
        if Plan.current.heapEnd != 0 { return Plan.current.kernelLeaf4K }
        return Break.at("now-heap") ? CourseOS.windowLeaf4K : CourseOS.heapLeaf
    }
}

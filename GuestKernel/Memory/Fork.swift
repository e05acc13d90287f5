// A second address space with the same contents: leaves are shared until they are written, stacks are copied at once.

extension AddressSpace {
    /// Gives an empty address space, that of `program`, the same mappings. What was shared by then stays when it throws: `Spaces.destroy` takes
    /// it back.
    func fork(into child: Pointer, program: Int32) throws(MemoryError) {
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        // Processors that run this one's threads may have its leaves as writable.
        defer { Shootdown.flush(0, Plan.current.vmaEnd) }
        child.pointee.bounds = bounds
        var numbers = random
        child.pointee.random = Linux.Random(seed: numbers.next(), process: UInt64(UInt32(bitPattern: program)))
        try child.pointee.vmas.reserve(vmas.count)
        var index = 0
        while index < vmas.count {
            let vma = vmas[index]
            child.pointee.vmas.insert(vma, at: index)
            child.pointee.vmas[index].program = program
            index &+= 1
            var address = vma.start
            while address < vma.end {
                let walk = PageTable.walk(root, address)
                let size = UInt64(1) &<< (3 &+ 9 &* walk.level)
                if walk.value == 0 {
                    address = (address & ~(size &- 1)) &+ size
                } else if walk.level == 2 {
                    try child.pointee.setLeaf(address, level: 2, share(walk.slot, walk.value, vma, pages: 512))
                    address = (address & ~(size &- 1)) &+ size
                } else {
                    address = try forkTable(walk.slot, address, vma, into: child)
                }
            }
        }
    }

    /// The 4 KiB leaves of one table, as far as they belong to the VMA; the address after them.
    private func forkTable(
        _ first: UInt64, _ start: UInt64, _ vma: VMA, into child: Pointer
    ) throws(MemoryError) -> UInt64 {
        let tableEnd = (start & ~(PageTable.size2M &- 1)) &+ PageTable.size2M
        let end = tableEnd < vma.end ? tableEnd : vma.end
        var slot = first
        var target = try PageTable.entry(child.pointee.root, start, level: 1)
        let table = (target &- PageTable.linear(0)) & ~4095
        var used: Int32 = 0
        var address = start
        defer { Arena.count(table, used) }
        while address < end {
            let value = PageTable.read(slot)
            if value != 0 {
                let isCopied = vma.kind == .stack && value & PageTable.present != 0 && !Break.at("fork-copies-stacks")
                PageTable.write(
                    target, isCopied ? try copy(value, vma) : share(slot, value, vma, pages: 1))
                used &+= 1
            }
            slot &+= 8
            target &+= 8
            address &+= 4096
        }
        return end
    }

    /// One mapping more of what a leaf maps; the leaf for it. What may be written loses the right in both until it is.
    private func share(_ slot: UInt64, _ value: UInt64, _ vma: VMA, pages: UInt64) -> UInt64 {
        let frame = Frames.address(in: value, size: pages &<< 12)
        guard Frames.isFrame(frame) else { return value }
        Frames.share(frame, pages: pages)
        guard value & PageTable.present != 0, vma.protection.contains(.write) else { return value }
        let shared = (value & ~PageTable.writable) | OSv.copyOnWriteBit
        if !Break.at("fork-copy-on-write") { PageTable.write(slot, shared) }
        return shared
    }

    /// A leaf for a copy of a page.
    private func copy(_ value: UInt64, _ vma: VMA) throws(MemoryError) -> UInt64 {
        let frame = try PhysicalPages.take(pages: 1).address
        PhysicalPages.info(frame).pointee.kind = PageKind.frame.rawValue
        copy_words(
            PageTable.linear(frame), PageTable.linear(Frames.address(in: value, size: PageTable.size4K)), 512)
        return frame | vma.protection.leafBits
    }
}

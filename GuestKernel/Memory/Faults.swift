// Page faults: a page behind an address that was touched for the first time, and a page of one's own behind one that was
// shared until it was written.

extension AddressSpace {
    /// The address space of what runs here.
    static var current: Pointer { Spaces.of(Thread.current) }

    /// Serves a page fault of the running thread. False: the access is not allowed.
    /// `code` is the page fault's error code (SDM volume 3, section 4.7).
    static func handleFault(_ address: UInt64, code: UInt64) -> Bool {
        // A fault while a lock is held is the kernel's own error; waiting for the lock would hide it.
        lastError = nil
        guard address < Plan.current.vmaEnd, Processor.current?.pointee.locks == 0 else { return false }
        if TaskServer.serves { return TaskServer.fault(address, code: code) }
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        faults &+= 1
        return current.pointee.resolve(address, code: code)
    }

    /// Puts a page behind an address that a VMA allows to be touched so. Locked.
    private mutating func resolve(_ address: UInt64, code: UInt64) -> Bool {
        guard let vma = vmaGrowing(to: address), !vma.protection.isEmpty else { return false }
        if code & 2 != 0 && !vma.protection.contains(.write) { return false }
        if code & 16 != 0 && !vma.protection.contains(.execute) { return false }
        let walk = PageTable.walk(root, address)
        do throws(MemoryError) {
            if walk.value & PageTable.present != 0 {
                if code & 2 != 0 && walk.value & OSv.copyOnWriteBit != 0 { return try separate(address, walk, vma) }
                // Another processor was faster, or the TLB is older than the entry.
                invalidate_page(address)
                return true
            }
            if vma.kind == .straight {
                try setLeaf(address & ~4095, (address & ~4095) | vma.protection.leafBits)
                return true
            }
            let slot = address & ~(PageTable.size2M &- 1)
            if walk.level >= 2, Plan.current.name != .resea, vma.kind != .stack, vma.kind != .heap, slot >= vma.start,
                slot &+ PageTable.size2M <= vma.end,
                !Break.at("demand-paging-large"), try mapLargeFrame(slot, vma.protection)
            {
                return true
            }
            try mapFrame(address & ~4095, bits: vma.protection.leafBits)
            return true
        } catch {
            AddressSpace.lastError = error
            return false
        }
    }

    /// A write to a shared page: a copy of its own, or the page itself where nobody else has it any more. Locked.
    private func separate(_ address: UInt64, _ found: PageTable.Walk, _ vma: VMA) throws(MemoryError) -> Bool {
        var walk = found
        if walk.level == 2 {
            let large = Frames.address(in: walk.value, size: PageTable.size2M)
            if Frames.isShared(large) && !Break.at("copy-on-write-large") {
                // Only the page that is written is copied: the leaf is cut.
                _ = try PageTable.splitLeaf(walk.slot, walk.value)
                Frames.divide(large)
                walk = PageTable.walk(root, address)
            } else {
                PageTable.write(walk.slot, large | vma.protection.leafBits | PageTable.pageSize)
                Shootdown.flush(address & ~4095, (address & ~4095) &+ 4096)
                return true
            }
        }
        let page = address & ~4095
        let frame = Frames.address(in: walk.value, size: PageTable.size4K)
        if Frames.isShared(frame) && !(found.level == 1 && Break.at("copy-on-write-split")) {
            let copy = try PhysicalPages.take(pages: 1).address
            PhysicalPages.info(copy).pointee.kind = PageKind.frame.rawValue
            copy_words(PageTable.linear(copy), PageTable.linear(frame), 512)
            PageTable.write(walk.slot, copy | vma.protection.leafBits)
            Shootdown.flush(page, page &+ 4096)
            Frames.release(frame, pages: 1)
        } else {
            PageTable.write(walk.slot, frame | vma.protection.leafBits)
            Shootdown.flush(page, page &+ 4096)
        }
        return true
    }
}

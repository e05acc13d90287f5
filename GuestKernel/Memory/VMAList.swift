// The VMA list: what of the lower half is handed out, sorted by address.

/// What a VMA is for.
enum VMAKind: UInt8 {
    case anonymous
    case program
}

/// A range of virtual addresses with one protection.
struct VMA {
    var start: UInt64
    var end: UInt64
    var protection: Protection
    var kind: VMAKind
    /// The program it belongs to, -1 if none.
    var program: Int32
}

/// The list. The caller holds `Memory.lock`.
enum VMAList {
    nonisolated(unsafe) private static var storage: UnsafeMutablePointer<VMA>?
    nonisolated(unsafe) private(set) static var count = 0
    nonisolated(unsafe) private static var capacity = 0

    static subscript(index: Int) -> VMA {
        get { storage.unsafelyUnwrapped[index] }
        set { storage.unsafelyUnwrapped[index] = newValue }
    }

    /// Index of the first VMA that ends above `address`.
    static func firstIndex(above address: UInt64) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low &+ high) &>> 1
            if self[middle].end <= address { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// The VMA that holds `address`.
    static func find(_ address: UInt64) -> VMA? {
        let index = firstIndex(above: address)
        return index < count && self[index].start <= address ? self[index] : nil
    }

    /// Makes sure that `more` insertions succeed.
    static func reserve(_ more: Int) throws(MemoryError) {
        guard count &+ more > capacity else { return }
        let pages = capacity == 0 ? 1 : UInt64(capacity &* 2 &* MemoryLayout<VMA>.stride &+ 4095) &>> 12
        let block = try PhysicalPages.take(pages: pages).address
        let info = PhysicalPages.info(block)
        info.pointee.kind = PageKind.main.rawValue
        info.pointee.count = UInt32(truncatingIfNeeded: pages)
        let bigger = UnsafeMutablePointer<VMA>(bitPattern: UInt(PageTable.linear(block)))
        if let storage, let bigger {
            bigger.update(from: storage, count: count)
            let old = UInt64(UInt(bitPattern: storage)) &- PageTable.linear(0)
            let oldInfo = PhysicalPages.info(old)
            let oldPages = UInt64(oldInfo.pointee.count)
            oldInfo.pointee.kind = PageKind.reserved.rawValue
            oldInfo.pointee.count = 0
            PhysicalPages.giveBack(old, pages: oldPages)
        }
        storage = bigger
        capacity = Int(pages &<< 12) / MemoryLayout<VMA>.stride
    }

    /// Inserts at an index; there is room (`reserve`).
    static func insert(_ vma: VMA, at index: Int) {
        var at = count
        while at > index {
            self[at] = self[at &- 1]
            at &-= 1
        }
        self[index] = vma
        count &+= 1
    }

    /// Removes the VMA at an index.
    static func remove(at index: Int) {
        var at = index
        while at &+ 1 < count {
            self[at] = self[at &+ 1]
            at &+= 1
        }
        count &-= 1
    }

    /// Cuts the VMA that holds `address` in its middle in two there. Room for one is reserved.
    static func split(at address: UInt64) {
        let index = firstIndex(above: address)
        guard index < count, self[index].start < address else { return }
        var upper = self[index]
        upper.start = address
        self[index].end = address
        insert(upper, at: index &+ 1)
    }

    /// The first free range of `size` bytes from `from` on, aligned.
    static func search(from: UInt64, size: UInt64, alignment: UInt64) -> UInt64? {
        var candidate = (from &+ alignment &- 1) & ~(alignment &- 1)
        var index = firstIndex(above: candidate)
        while candidate &+ size <= OSv.vmaEnd {
            if index == count || candidate &+ size <= self[index].start { return candidate }
            candidate = (self[index].end &+ alignment &- 1) & ~(alignment &- 1)
            index &+= 1
        }
        return nil
    }
}

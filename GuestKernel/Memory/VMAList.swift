// The VMA list: what of the lower half is handed out, sorted by address.

/// What a VMA is for.
enum VMAKind: UInt8 {
    case anonymous
    case program
    /// A stack: copied at once by fork.
    case stack
    case heap
    /// The strings of arguments and environment.
    case arguments
    /// Memory of a process that the kernel writes by its own address.
    case buffer
    /// Physical memory at VA = PA.
    case straight

    var text: StaticString {
        switch self {
        case .anonymous: return "anonymous"
        case .program: return "program"
        case .stack: return "stack"
        case .heap: return "heap"
        case .arguments: return "arguments"
        case .buffer: return "buffer"
        case .straight: return "straight"
        }
    }
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

/// The list of one address space. The caller holds `Memory.lock`.
struct VMAList {
    private var storage: UnsafeMutablePointer<VMA>?
    private(set) var count = 0
    private var capacity = 0

    subscript(index: Int) -> VMA {
        get { storage.unsafelyUnwrapped[index] }
        nonmutating set { storage.unsafelyUnwrapped[index] = newValue }
    }

    /// Index of the first VMA that ends above `address`.
    func firstIndex(above address: UInt64) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low &+ high) &>> 1
            if self[middle].end <= address { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// The VMA that holds `address`.
    func find(_ address: UInt64) -> VMA? {
        let index = firstIndex(above: address)
        return index < count && self[index].start <= address ? self[index] : nil
    }

    /// Makes sure that `more` insertions succeed.
    mutating func reserve(_ more: Int) throws(MemoryError) {
        guard count &+ more > capacity else { return }
        let pages = capacity == 0 ? 1 : UInt64(capacity &* 2 &* MemoryLayout<VMA>.stride &+ 4095) &>> 12
        let block = try PhysicalPages.take(pages: pages).address
        let info = PhysicalPages.info(block)
        info.pointee.kind = PageKind.main.rawValue
        info.pointee.count = UInt32(truncatingIfNeeded: pages)
        let bigger = UnsafeMutablePointer<VMA>(bitPattern: UInt(PageTable.linear(block)))
        if let storage, let bigger {
            bigger.update(from: storage, count: count)
            releaseStorage()
        }
        storage = bigger
        capacity = Int(pages &<< 12) / MemoryLayout<VMA>.stride
    }

    /// Gives the list's own memory back; nothing is in it afterwards.
    mutating func empty() {
        releaseStorage()
        storage = nil
        count = 0
        capacity = 0
    }

    private func releaseStorage() {
        guard let storage else { return }
        let block = UInt64(UInt(bitPattern: storage)) &- PageTable.linear(0)
        let info = PhysicalPages.info(block)
        let pages = UInt64(info.pointee.count)
        info.pointee.kind = PageKind.reserved.rawValue
        info.pointee.count = 0
        PhysicalPages.giveBack(block, pages: pages)
    }

    /// Inserts at an index; there is room (`reserve`).
    mutating func insert(_ vma: VMA, at index: Int) {
        var at = count
        while at > index {
            self[at] = self[at &- 1]
            at &-= 1
        }
        self[index] = vma
        count &+= 1
    }

    /// Removes the VMA at an index.
    mutating func remove(at index: Int) {
        var at = index
        while at &+ 1 < count {
            self[at] = self[at &+ 1]
            at &+= 1
        }
        count &-= 1
    }

    /// Cuts the VMA that holds `address` in its middle in two there. Room for one is reserved.
    mutating func split(at address: UInt64) {
        let index = firstIndex(above: address)
        guard index < count, self[index].start < address else { return }
        var upper = self[index]
        upper.start = address
        self[index].end = address
        insert(upper, at: index &+ 1)
    }

    /// The highest free range of `size` bytes that ends at or below `top` and begins at or above `lowest`, aligned.
    func search(downFrom top: UInt64, to lowest: UInt64, size: UInt64, alignment: UInt64) -> UInt64? {
        var end = top
        // The last VMA that begins below the top.
        var index = firstIndex(above: top &- 1)
        if index == count || self[index].start >= top { index &-= 1 }
        while end >= lowest && end &- lowest >= size {
            let start = (end &- size) & ~(alignment &- 1)
            guard start >= lowest else { return nil }
            if index < 0 || self[index].end <= start { return start }
            end = self[index].start
            index &-= 1
        }
        return nil
    }

    /// The first free range of `size` bytes from `from` on, aligned.
    func search(from: UInt64, below end: UInt64, size: UInt64, alignment: UInt64) -> UInt64? {
        var candidate = (from &+ alignment &- 1) & ~(alignment &- 1)
        var index = firstIndex(above: candidate)
        while candidate &+ size <= end {
            if index == count || candidate &+ size <= self[index].start { return candidate }
            candidate = (self[index].end &+ alignment &- 1) & ~(alignment &- 1)
            index &+= 1
        }
        return nil
    }
}

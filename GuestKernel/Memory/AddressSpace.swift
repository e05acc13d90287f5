// An address space: a root, the list of what is mapped below it, and the pages behind that on first touch.
//
// Where processes have no roots of their own there is one, `Spaces.kernel`. Else the kernel's has the upper half alone, and
// every process's has the same upper half (Spaces.swift).

/// One address space. The functions without "locked" in their comment take `Memory.lock` themselves.
struct AddressSpace {
    /// The physical address of its root.
    let root: UInt64
    /// What is mapped in the part that `map` and `unmap` are for.
    var vmas = VMAList()
    /// Where the parts of a process lie, in layouts that say so.
    var bounds = Bounds()
    /// What a process is given as random numbers; they follow from a seed.
    var random = Linux.Random(seed: 0, process: 0)

    typealias Pointer = UnsafeMutablePointer<AddressSpace>

    /// Page faults that were looked at.
    nonisolated(unsafe) static var faults: UInt64 = 0
    /// Why the last fault in a VMA could not be served.
    nonisolated(unsafe) static var lastError: MemoryError?

    // MARK: Mappings

    /// A new mapping without pages: at `address`, or anywhere from the layout's `mmapBase`. Its first address.
    mutating func map(
        at address: UInt64?, size: UInt64, protection: Protection, kind: VMAKind = .anonymous, program: Int32 = -1
    ) throws(MemoryError) -> UInt64 {
        let bytes = try wholePages(size)
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        try vmas.reserve(1)
        let start: UInt64
        if let address {
            try check(address, bytes)
            if bounds.isKeptForStack(address, address &+ bytes) && kind != .stack { throw .overlap }
            let index = vmas.firstIndex(above: address)
            guard index == vmas.count || vmas[index].start >= address &+ bytes else { throw .overlap }
            start = address
        } else {
            // Large ones where 2 MiB pages fit them.
            let alignment = bytes >= PageTable.size2M ? PageTable.size2M : PageTable.size4K
            guard let found = free(bytes, alignment: alignment) else { throw .outOfMemory }
            start = found
        }
        let vma = VMA(start: start, end: start &+ bytes, protection: protection, kind: kind, program: program)
        vmas.insert(vma, at: vmas.firstIndex(above: start))
        if Break.at("demand-paging") && bytes <= 8192 { try mapFrame(start, bits: protection.leafBits) }
        return start
    }

    /// Where there is room for a mapping: down from the top of the mapping segment, or up from where the layout's begins.
    private func free(_ size: UInt64, alignment: UInt64) -> UInt64? {
        if bounds.mappingTop != 0 && !Break.at("mapping-segment") {
            let lowest = (bounds.breakEnd &+ 4095) & ~4095
            return vmas.search(downFrom: bounds.mappingTop, to: lowest, size: size, alignment: alignment)
        }
        let range =
            bounds.mappingTop != 0
            ? (from: bounds.mappingTop &- PageTable.size1G, below: bounds.mappingTop) : OffsetProcess.searchRange
        return vmas.search(from: range.from, below: range.below, size: size, alignment: alignment)
    }

    /// Puts given physical pages behind a mapped range; they are not given back when it is unmapped, unless their kind
    /// is `PageKind.frame`.
    mutating func place(_ physical: UInt64, at address: UInt64, pages: UInt64) throws(MemoryError) {
        try check(address, pages &<< 12)
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        var done: UInt64 = 0
        while done < pages {
            let at = address &+ done &<< 12
            guard let vma = vmas.find(at) else { throw .notMapped }
            try setLeaf(at, (physical &+ done &<< 12) | vma.protection.leafBits)
            done &+= 1
        }
    }

    /// Changes the protection of a range that is mapped as a whole.
    mutating func protect(_ address: UInt64, size: UInt64, protection: Protection) throws(MemoryError) {
        let bytes = try wholePages(size)
        try check(address, bytes)
        let end = address &+ bytes
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        try requireMapped(address, end)
        try vmas.reserve(2)
        vmas.split(at: address)
        vmas.split(at: end)
        var index = vmas.firstIndex(above: address)
        while index < vmas.count && vmas[index].start < end {
            vmas[index].protection = protection
            index &+= 1
        }
        try changeLeaves(address, end, protection)
        Shootdown.flush(address, end)
    }

    /// Removes a range that is mapped as a whole, or whatever of it is mapped, and gives its pages back.
    mutating func unmap(_ address: UInt64, size: UInt64, withHoles: Bool = false) throws(MemoryError) {
        let bytes = try wholePages(size)
        try check(address, bytes)
        let end = address &+ bytes
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        if !withHoles { try requireMapped(address, end) }
        try remove(address, end)
    }

    /// Removes whatever is mapped of a range of whole pages. Locked.
    mutating func remove(_ address: UInt64, _ end: UInt64) throws(MemoryError) {
        try vmas.reserve(2)
        // A 2 MiB page that reaches out of the range must be cut before anything is removed.
        try splitAround(address)
        try splitAround(end)
        vmas.split(at: address)
        vmas.split(at: end)
        let index = vmas.firstIndex(above: address)
        while index < vmas.count && vmas[index].start < end { vmas.remove(at: index) }
        removeLeaves(address, end)
    }

    /// The VMA that holds an address.
    func vma(at address: UInt64) -> VMA? {
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        return vmas.find(address)
    }

    /// The `index`-th VMA, by ascending address.
    func vma(number index: Int) -> VMA? {
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        return index >= 0 && index < vmas.count ? vmas[index] : nil
    }

    /// Where an address leads, if it leads anywhere.
    func physical(of address: UInt64) -> UInt64? {
        PageTable.walk(root, address).physical(of: address)
    }

    /// Removes the last mapping, or of a large one a piece that is done in a few milliseconds, and the tables with it. Locked.
    /// False: there was none left.
    mutating func removeLast() -> Bool {
        guard vmas.count > 0 else {
            vmas.empty()
            return false
        }
        let last = vmas.count &- 1
        let vma = vmas[last]
        let reached = removeLeaves(vma.start, vma.end, limit: 64)
        if reached < vma.end { vmas[last].start = reached } else { vmas.remove(at: last) }
        return true
    }

    // MARK: Arguments

    private func wholePages(_ size: UInt64) throws(MemoryError) -> UInt64 {
        guard size > 0, size <= Plan.current.vmaEnd else { throw .badSize }
        return (size &+ 4095) & ~4095
    }

    private func check(_ address: UInt64, _ bytes: UInt64) throws(MemoryError) {
        let end = Plan.current.vmaEnd
        guard address & 4095 == 0, address >= Spaces.lowest, address < end, bytes <= end &- address
        else { throw .badAddress }
    }

    private func requireMapped(_ start: UInt64, _ end: UInt64) throws(MemoryError) {
        var address = start
        var index = vmas.firstIndex(above: start)
        while address < end {
            guard index < vmas.count, vmas[index].start <= address else { throw .notMapped }
            address = vmas[index].end
            index &+= 1
        }
    }
}

// The hot part of reading guest memory: from a guest physical address to the page's bytes here.

/// Ranges of guest physical memory and where they are mapped in this process. A guest has four at most, so that a linear
/// search is the fastest.
@usableFromInline final class RegionList: @unchecked Sendable {
    @usableFromInline struct Region {
        @usableFromInline let start: UInt64
        @usableFromInline let size: UInt64
        @usableFromInline let base: UnsafeRawPointer

        init(start: UInt64, size: UInt64, base: UnsafeRawPointer) {
            self.start = start
            self.size = size
            self.base = base
        }
    }

    @usableFromInline let regions: UnsafeMutablePointer<Region>
    @usableFromInline let count: Int

    /// Sizes and starts are multiples of 4 KiB.
    init(_ entries: [(start: UInt64, size: UInt64, base: UnsafeRawPointer?)]) {
        let list = entries.compactMap { entry in
            entry.base.map { Region(start: entry.start, size: entry.size, base: $0) }
        }
        regions = .allocate(capacity: max(1, list.count))
        count = list.count
        for (index, entry) in list.enumerated() {
            (regions + index).initialize(to: entry)
        }
    }

    deinit { regions.deallocate() }

    /// The first byte of the 4 KiB page that holds `address`, or nil.
    @inlinable func page(at address: UInt64) -> UnsafeRawPointer? {
        for index in 0..<count {
            let offset = address &- regions[index].start
            if offset < regions[index].size { return regions[index].base + Int(bitPattern: UInt(offset & ~4095)) }
        }
        return nil
    }
}

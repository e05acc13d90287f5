// Physical pages: what RAM is free, and what the rest is used for.
//
// RAM that was never used is a short list of ranges, handed out from the bottom: it is still zero, and starting costs
// nothing. Pages that came back are kept as a buddy system: blocks of 2^order pages, aligned to their size.

/// What is known of one physical page. All zero at the start, so that the array needs no initialisation.
struct PageInfo {
    var kind: PageKind.RawValue
    /// Order of a free block, size class of a mempool page.
    var order: UInt8
    /// Objects in use in a mempool page.
    var inUse: UInt16
    /// First free object of a mempool page (its number + 1), and how many were ever carved.
    var firstFree: UInt16
    var carved: UInt16
    /// Pages of a block from main; entries in use of a page table; next in a free list (page number).
    var count: UInt32
    /// Previous in a free list (page number).
    var previous: UInt32
}

/// What a physical page is used for.
enum PageKind: UInt8 {
    /// Never handed out, or none of the allocator's: image, tables, modules, devices.
    case reserved = 0
    /// First page of a free block.
    case free = 1
    /// Backs a virtual mapping; goes back when that is unmapped.
    case frame = 2
    /// First page of a block of the main area.
    case main = 3
    /// A block of the page area.
    case page = 4
    /// Holds small objects.
    case mempool = 5
}

/// The allocator of physical pages. The caller holds `Memory.lock`.
enum PhysicalPages {
    private static var maxOrder: Int { 20 }
    private static var freshCapacity: Int { 24 }

    nonisolated(unsafe) private static var fresh = InlineArray<24, PhysicalRange>(
        repeating: PhysicalRange(start: 0, end: 0))
    nonisolated(unsafe) private static var freshCount = 0
    nonisolated(unsafe) private static var infoBase: UInt64 = 0
    nonisolated(unsafe) private static var infoCount: UInt64 = 0
    /// The end of RAM.
    static var top: UInt64 { infoCount &<< 12 }
    /// Heads of the buddy lists by order: page numbers, 0 for none (page 0 is never free).
    nonisolated(unsafe) private static var heads = InlineArray<21, UInt32>(repeating: 0)
    nonisolated(unsafe) private(set) static var freePages: UInt64 = 0
    nonisolated(unsafe) private(set) static var totalPages: UInt64 = 0

    /// Whether `info` may be used.
    @inline(__always) static var isReady: Bool { infoBase != 0 }

    /// Notes a range of RAM that may be handed out, without what is reserved at its place.
    static func add(_ range: PhysicalRange) {
        guard range.end > range.start, freshCount < freshCapacity else { return }
        // By ascending address: the lowest is handed out first.
        var index = freshCount
        while index > 0 && fresh[index &- 1].start > range.start {
            fresh[index] = fresh[index &- 1]
            index &-= 1
        }
        fresh[index] = range
        freshCount &+= 1
        freePages &+= (range.end &- range.start) &>> 12
    }

    /// Cuts a range out of what was never used.
    static func reserve(_ start: UInt64, _ end: UInt64) {
        let from = start & ~4095
        let to = (end &+ 4095) & ~4095
        var index = 0
        while index < freshCount {
            let range = fresh[index]
            if from < range.end && to > range.start {
                fresh[index] = PhysicalRange(start: range.start, end: from > range.start ? from : range.start)
                let kept = fresh[index].end &- fresh[index].start
                freePages &-= (range.end &- range.start &- kept) &>> 12
                if to < range.end { add(PhysicalRange(start: to, end: range.end)) }
            }
            index &+= 1
        }
    }

    /// Takes the array of page descriptors from what is free. `top` is the end of RAM.
    static func start(top: UInt64) throws(MemoryError) {
        infoCount = top &>> 12
        let size = (infoCount &* UInt64(MemoryLayout<PageInfo>.stride) &+ 4095) & ~4095
        let address = try takeFresh(pages: size &>> 12, alignment: 4096)
        infoBase = PageTable.linear(address)
        totalPages = freePages
    }

    /// The descriptor of the page at a physical address below the end of RAM.
    @inline(__always) static func info(_ physical: UInt64) -> UnsafeMutablePointer<PageInfo> {
        descriptor(physical &>> 12)
    }

    /// Whether an address has a descriptor.
    @inline(__always) static func isManaged(_ physical: UInt64) -> Bool { physical &>> 12 < infoCount }

    @inline(__always) private static func descriptor(_ number: UInt64) -> UnsafeMutablePointer<PageInfo> {
        let address = infoBase &+ (number < infoCount ? number : 0) &* UInt64(MemoryLayout<PageInfo>.stride)
        return UnsafeMutablePointer(bitPattern: UInt(address)).unsafelyUnwrapped
    }

    /// Physically contiguous pages: their address, and whether they are still zero.
    static func take(pages: UInt64, alignment: UInt64 = 4096) throws(MemoryError) -> (address: UInt64, isZero: Bool) {
        guard pages > 0, pages <= freePages else { throw .outOfMemory }
        if let address = takeReturned(pages: pages, alignment: alignment) { return (address, false) }
        return (try takeFresh(pages: pages, alignment: alignment), true)
    }

    /// Gives pages back.
    static func giveBack(_ address: UInt64, pages: UInt64) {
        var number = address &>> 12
        var rest = pages
        freePages &+= pages
        while rest > 0 {
            var order = number == 0 ? maxOrder : Int(truncatingIfNeeded: number.trailingZeroBitCount)
            if order > maxOrder { order = maxOrder }
            while UInt64(1) &<< UInt64(order) > rest { order &-= 1 }
            insert(number, order)
            number &+= 1 &<< UInt64(order)
            rest &-= 1 &<< UInt64(order)
        }
    }

    private static func takeFresh(pages: UInt64, alignment: UInt64) throws(MemoryError) -> UInt64 {
        var index = 0
        while index < freshCount {
            let range = fresh[index]
            let start = (range.start &+ alignment &- 1) & ~(alignment &- 1)
            let end = start &+ pages &<< 12
            if start >= range.start && end <= range.end {
                fresh[index].start = end
                freePages &-= pages
                if start > range.start {
                    freePages &-= (start &- range.start) &>> 12
                    if freshCount < freshCapacity {
                        add(PhysicalRange(start: range.start, end: start))
                    } else {
                        giveBack(range.start, pages: (start &- range.start) &>> 12)
                    }
                }
                return start
            }
            index &+= 1
        }
        throw .tooFragmented
    }

    private static func takeReturned(pages: UInt64, alignment: UInt64) -> UInt64? {
        let wanted = pages &<< 12 > alignment ? pages : alignment &>> 12
        var order = 0
        while order <= maxOrder && UInt64(1) &<< UInt64(order) < wanted { order &+= 1 }
        while order <= maxOrder {
            let head = heads[order]
            if head != 0 {
                let number = UInt64(head)
                remove(number, order)
                let size = UInt64(1) &<< UInt64(order)
                freePages &-= size
                if size > pages { giveBack((number &+ pages) &<< 12, pages: size &- pages) }
                return number &<< 12
            }
            order &+= 1
        }
        return nil
    }

    private static func insert(_ first: UInt64, _ firstOrder: Int) {
        var number = first
        var order = firstOrder
        while order < maxOrder {
            let buddy = number ^ (1 &<< UInt64(order))
            guard buddy < infoCount else { break }
            let info = descriptor(buddy)
            guard info.pointee.kind == PageKind.free.rawValue, info.pointee.order == UInt8(order) else { break }
            remove(buddy, order)
            number = number < buddy ? number : buddy
            order &+= 1
        }
        let next = heads[order]
        descriptor(number).pointee = PageInfo(
            kind: PageKind.free.rawValue, order: UInt8(truncatingIfNeeded: order), inUse: 0, firstFree: 0, carved: 0,
            count: next, previous: 0)
        if next != 0 { descriptor(UInt64(next)).pointee.previous = UInt32(truncatingIfNeeded: number) }
        heads[order] = UInt32(truncatingIfNeeded: number)
    }

    private static func remove(_ number: UInt64, _ order: Int) {
        let info = descriptor(number)
        let next = info.pointee.count
        let previous = info.pointee.previous
        if previous == 0 { heads[order] = next } else { descriptor(UInt64(previous)).pointee.count = next }
        if next != 0 { descriptor(UInt64(next)).pointee.previous = previous }
        info.pointee = PageInfo(
            kind: 0, order: 0, inUse: 0, firstFree: 0, carved: 0, count: 0, previous: 0)
    }
}

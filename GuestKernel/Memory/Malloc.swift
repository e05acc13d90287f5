// malloc by size, as in OSv: small objects in mempool, up to a page in page, what is larger contiguous in main. In layouts with
// a mapped heap the three are kinds of blocks in that.

/// The lock over physical pages, tables, VMAs and the areas. Held with interrupts off.
enum Memory {
    nonisolated(unsafe) static var lock = SpinLock()

    /// Runs `body` with the lock held.
    @inline(__always)
    static func locked<Result>(_ body: () throws(MemoryError) -> Result) throws(MemoryError) -> Result {
        let state = lock.acquire()
        defer { lock.release(state) }
        return try body()
    }
}

extension OSv.Area {
    /// Where this layout has the area; layouts without debug have 0 there.
    @inline(__always) var address: UInt64 {
        switch self {
        case .main: return Plan.current.mainBase
        case .page: return Plan.current.pageBase
        case .mempool: return Plan.current.mempoolBase
        case .debug: return Plan.current.debugBase
        }
    }
}

/// Blocks of the three linear areas.
enum Malloc {
    /// Objects of 16, 32 ... 1024 bytes.
    private static var classes: Int { 7 }
    /// Mempool pages with a free object, by size class: page numbers, linked through the descriptors.
    nonisolated(unsafe) private static var partial = InlineArray<7, UInt32>(repeating: 0)
    /// Bytes handed out by area number.
    nonisolated(unsafe) private static var allocated = InlineArray<4, UInt64>(repeating: 0)

    /// Bytes handed out in an area.
    static func allocated(in area: OSv.Area) -> UInt64 { allocated[Int(area.rawValue)] }

    static func account(_ area: OSv.Area, _ change: Int64) {
        let index = Int(area.rawValue)
        allocated[index] = UInt64(bitPattern: Int64(bitPattern: allocated[index]) &+ change)
    }

    /// The area for a size.
    static func area(for size: UInt64) -> OSv.Area {
        if Break.isAny, let wrong = Break.area(for: size) { return wrong }
        return size <= OSv.mempoolLimit ? .mempool : size <= OSv.pageLimit ? .page : .main
    }

    /// A block of at least `size` bytes: its virtual address. Contents undefined.
    static func allocate(_ size: UInt64, area wanted: OSv.Area? = nil) throws(MemoryError) -> UInt64 {
        guard size > 0, size <= 1 << 44 else { throw .badSize }
        let area = wanted ?? area(for: size)
        return try Memory.locked { () throws(MemoryError) -> UInt64 in
            switch area {
            case .mempool:
                guard size <= OSv.mempoolLimit else { throw .badArea }
                return try allocateObject(size)
            case .page:
                guard size <= OSv.pageLimit else { throw .badArea }
                let page = try takePages(1, .page)
                descriptor(page, .page).pointee.kind = PageKind.page.rawValue
                account(.page, 4096)
                return page
            case .main:
                let pages = (size &+ 4095) &>> 12
                let block = try takePages(pages, .main)
                let info = descriptor(block, .main)
                info.pointee.kind = PageKind.main.rawValue
                info.pointee.count = UInt32(truncatingIfNeeded: pages)
                account(.main, Int64(bitPattern: pages &<< 12))
                return block
            case .debug:
                return try DebugArea.allocate(size).data
            }
        }
    }

    /// Gives a block back, whatever its area.
    static func free(_ address: UInt64) throws(MemoryError) {
        try Memory.locked { () throws(MemoryError) in try freeLocked(address) }
    }

    private static func freeLocked(_ address: UInt64) throws(MemoryError) {
        guard let area = area(of: address) else { throw .notAllocated }
        if area == .debug { return try DebugArea.free(address) }
        let info = descriptor(address, area)
        switch (area, PageKind(rawValue: info.pointee.kind)) {
        case (.mempool, .mempool):
            try freeObject(address)
        case (.page, .page) where address & 4095 == 0:
            info.pointee.kind = PageKind.reserved.rawValue
            giveBackPages(address, 1, .page)
            account(.page, -4096)
        case (.main, .main) where address & 4095 == 0:
            let pages = UInt64(info.pointee.count)
            info.pointee.kind = PageKind.reserved.rawValue
            info.pointee.count = 0
            giveBackPages(address, pages, .main)
            account(.main, -Int64(bitPattern: pages &<< 12))
        default:
            throw .notAllocated
        }
    }

    // MARK: Pages

    /// Pages of an area, contiguous in virtual addresses: the first one's address.
    private static func takePages(_ pages: UInt64, _ area: OSv.Area) throws(MemoryError) -> UInt64 {
        MappedHeap.isUsed
            ? try MappedHeap.take(pages: pages) : area.address &+ (try PhysicalPages.take(pages: pages).address)
    }

    private static func giveBackPages(_ address: UInt64, _ pages: UInt64, _ area: OSv.Area) {
        if MappedHeap.isUsed {
            MappedHeap.giveBack(address, pages: pages)
        } else {
            PhysicalPages.giveBack(address &- area.address, pages: pages)
        }
    }

    /// The descriptor of the page behind an address of an area.
    @inline(__always) private static func descriptor(
        _ address: UInt64, _ area: OSv.Area
    ) -> UnsafeMutablePointer<PageInfo> {
        PhysicalPages.info(
            MappedHeap.isUsed ? MappedHeap.physical(of: address & ~4095) ?? 0 : address &- area.address)
    }

    /// The area of an address that may be a block's.
    private static func area(of address: UInt64) -> OSv.Area? {
        let plan = Plan.current
        let physical: UInt64
        if MappedHeap.isUsed {
            guard let found = MappedHeap.physical(of: address & ~4095) else { return nil }
            physical = found
        } else {
            guard address >= OSv.areasBase else { return nil }
            if plan.pageBase != plan.mainBase {
                guard let area = OSv.Area(rawValue: OSv.areaNumber(of: address)) else { return nil }
                return area == .debug || PhysicalPages.isManaged(address &- area.address) ? area : nil
            }
            if plan.debugBase != 0 && address >= plan.debugBase { return .debug }
            physical = address &- plan.mainBase
        }
        // Where all blocks are in one window or heap, what a page is used for says what they are.
        guard PhysicalPages.isManaged(physical) else { return nil }
        switch PageKind(rawValue: PhysicalPages.info(physical).pointee.kind) {
        case .mempool: return .mempool
        case .page: return .page
        case .main: return .main
        default: return nil
        }
    }

    /// Pages of mempool have numbers, which their lists are linked by: none is 0.
    private static var numbersBase: UInt64 {
        MappedHeap.isUsed ? Plan.current.heapBase &- 4096 : OSv.Area.mempool.address
    }

    // MARK: Small objects

    private static func allocateObject(_ size: UInt64) throws(MemoryError) -> UInt64 {
        var sizeClass = 0
        while UInt64(16) &<< UInt64(sizeClass) < size { sizeClass &+= 1 }
        let objectSize = UInt64(16) &<< UInt64(sizeClass)
        if partial[sizeClass] == 0 {
            let page = try takePages(1, .mempool)
            descriptor(page, .mempool).pointee = PageInfo(
                kind: PageKind.mempool.rawValue, order: UInt8(truncatingIfNeeded: sizeClass), inUse: 0, firstFree: 0,
                carved: 0, count: 0, previous: 0)
            link(page, sizeClass)
        }
        let base = page(number: partial[sizeClass])
        let info = descriptor(base, .mempool)
        let number: UInt64
        if info.pointee.firstFree != 0 {
            number = UInt64(info.pointee.firstFree) &- 1
            // The next free object's number + 1 lies in the object's first word.
            info.pointee.firstFree = UInt16(truncatingIfNeeded: read_word(base &+ number &* objectSize))
        } else {
            number = UInt64(info.pointee.carved)
            info.pointee.carved &+= 1
        }
        info.pointee.inUse &+= 1
        if UInt64(info.pointee.inUse) &* objectSize == 4096 { unlink(base, sizeClass) }
        account(.mempool, Int64(bitPattern: objectSize))
        return base &+ number &* objectSize
    }

    private static func freeObject(_ address: UInt64) throws(MemoryError) {
        let base = address & ~4095
        let info = descriptor(base, .mempool)
        let sizeClass = Int(info.pointee.order)
        let objectSize = UInt64(16) &<< UInt64(sizeClass)
        let number = (address & 4095) &>> (4 &+ UInt64(sizeClass))
        guard address & (objectSize &- 1) == 0, number < UInt64(info.pointee.carved) else { throw .notAllocated }
        // Freed already? Then its number is on the page's list.
        var next = UInt64(info.pointee.firstFree)
        var steps = 0
        while next != 0 && steps <= 256 {
            if next &- 1 == number { throw .notAllocated }
            next = read_word(base &+ (next &- 1 & 255) &* objectSize) & 0xffff
            steps &+= 1
        }
        if UInt64(info.pointee.inUse) &* objectSize == 4096 { link(base, sizeClass) }
        write_word(base &+ number &* objectSize, UInt64(info.pointee.firstFree))
        info.pointee.firstFree = UInt16(truncatingIfNeeded: number &+ 1)
        info.pointee.inUse &-= 1
        account(.mempool, -Int64(bitPattern: objectSize))
        if info.pointee.inUse == 0 {
            unlink(base, sizeClass)
            info.pointee = PageInfo(kind: 0, order: 0, inUse: 0, firstFree: 0, carved: 0, count: 0, previous: 0)
            giveBackPages(base, 1, .mempool)
        }
    }

    @inline(__always) private static func page(number: UInt32) -> UInt64 { numbersBase &+ UInt64(number) &<< 12 }

    private static func number(ofPage address: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: (address &- numbersBase) &>> 12)
    }

    private static func link(_ base: UInt64, _ sizeClass: Int) {
        let next = partial[sizeClass]
        let info = descriptor(base, .mempool)
        info.pointee.count = next
        info.pointee.previous = 0
        if next != 0 { descriptor(page(number: next), .mempool).pointee.previous = number(ofPage: base) }
        partial[sizeClass] = number(ofPage: base)
    }

    private static func unlink(_ base: UInt64, _ sizeClass: Int) {
        let info = descriptor(base, .mempool)
        let next = info.pointee.count
        let previous = info.pointee.previous
        if previous == 0 {
            partial[sizeClass] = next
        } else {
            descriptor(page(number: previous), .mempool).pointee.count = next
        }
        if next != 0 { descriptor(page(number: next), .mempool).pointee.previous = previous }
    }
}

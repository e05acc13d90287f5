// Frames: the physical pages behind virtual mappings, and how many mappings share each (copy on write).
//
// A frame's descriptor counts the mappings beyond the first. A 2 MiB frame is counted once, in its first page's descriptor,
// until one of its sharers cuts its leaf: from then on each of its 512 pages is counted on its own.

/// Frames of virtual mappings. The caller holds `Memory.lock`.
enum Frames {
    /// The order of a 2 MiB frame that is counted as one.
    private static var whole: UInt8 { 9 }

    /// A zeroed frame of 4 KiB.
    static func take() throws(MemoryError) -> UInt64 {
        let frame = try PhysicalPages.take(pages: 1)
        if !frame.isZero { clear_words(PageTable.linear(frame.address), 512) }
        PhysicalPages.info(frame.address).pointee.kind = PageKind.frame.rawValue
        return frame.address
    }

    /// A zeroed frame of 2 MiB, or nil if no such block is free.
    static func takeLarge() -> UInt64? {
        guard let frame = try? PhysicalPages.take(pages: 512, alignment: PageTable.size2M) else { return nil }
        if !frame.isZero { clear_words(PageTable.linear(frame.address), 512 &* 512) }
        let info = PhysicalPages.info(frame.address)
        info.pointee.kind = PageKind.frame.rawValue
        info.pointee.order = whole
        return frame.address
    }

    /// The physical address in a leaf, present or not.
    @inline(__always) static func address(in leaf: UInt64, size: UInt64) -> UInt64 {
        leaf & PageTable.addressMask & ~OSv.protNoneBit & ~(size &- 1)
    }

    /// Whether the allocator has the page as a frame; the pages of a module or of a device are none.
    @inline(__always) static func isFrame(_ address: UInt64) -> Bool {
        PhysicalPages.isManaged(address)
            && PhysicalPages.info(address).pointee.kind == PageKind.frame.rawValue
    }

    /// One mapping more.
    static func share(_ address: UInt64, pages: UInt64) {
        guard isFrame(address) else { return }
        let info = PhysicalPages.info(address)
        if pages == 1 || info.pointee.order == whole {
            info.pointee.count &+= 1
        } else {
            var page = address
            while page < address &+ pages &<< 12 {
                PhysicalPages.info(page).pointee.count &+= 1
                page &+= 4096
            }
        }
    }

    /// Whether anyone else maps it too.
    static func isShared(_ address: UInt64) -> Bool {
        isFrame(address) && PhysicalPages.info(address).pointee.count != 0
    }

    /// From now on every page of a 2 MiB frame is counted on its own: a leaf of it is being cut.
    static func divide(_ address: UInt64) {
        guard isFrame(address) else { return }
        let info = PhysicalPages.info(address)
        guard info.pointee.order == whole else { return }
        let count = info.pointee.count
        var page = address
        while page < address &+ PageTable.size2M {
            let info = PhysicalPages.info(page)
            info.pointee.kind = PageKind.frame.rawValue
            info.pointee.order = 0
            info.pointee.count = count
            page &+= 4096
        }
    }

    /// One mapping less; the last gives the frame back.
    static func release(_ address: UInt64, pages: UInt64) {
        guard isFrame(address) else { return }
        let info = PhysicalPages.info(address)
        if pages > 1 && info.pointee.order != whole {
            var page = address
            while page < address &+ pages &<< 12 {
                release(page, pages: 1)
                page &+= 4096
            }
        } else if info.pointee.count != 0 {
            info.pointee.count &-= 1
        } else {
            info.pointee.kind = PageKind.reserved.rawValue
            info.pointee.order = 0
            PhysicalPages.giveBack(address, pages: pages)
        }
    }
}

/// Frames that may be given back once no processor's TLB knows them.
struct FrameList: ~Copyable {
    private var entries = InlineArray<64, UInt64>(repeating: 0)
    private var sizes = InlineArray<64, UInt16>(repeating: 0)
    private var count = 0

    var isFull: Bool { count == 64 }

    /// The frame of a removed leaf.
    mutating func add(_ leaf: UInt64, pages: UInt64) {
        entries[count] = Frames.address(in: leaf, size: pages &<< 12)
        sizes[count] = UInt16(truncatingIfNeeded: pages)
        count &+= 1
    }

    /// Gives back what the allocator owns and nobody else maps.
    mutating func giveBack() {
        var index = 0
        while index < count {
            Frames.release(entries[index], pages: UInt64(sizes[index]))
            index &+= 1
        }
        count = 0
    }
}

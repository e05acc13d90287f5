// What `break=RULE` does in courseos, for rules about tables; what breaks the heap stands in the heap (MappedHeap.swift).

/// The broken rules of courseos.
enum BreakCourseOS {
    /// Where a process has nothing of its own: a page, a table that is shared, and one that is no table of the arena.
    private static var free: UInt64 { 0x6000_0000 }
    private static var sharedTable: UInt64 { 0x6800_0000 }
    private static var otherTable: UInt64 { 0x6c00_0000 }
    nonisolated(unsafe) private static var shared: UInt64 = 0

    /// The rules of now, when the runtime tables stand.
    static func now() {
        guard Break.isAny else { return }
        let root = Spaces.kernel.pointee.root
        if Break.at("now-kernel") { write_word(PageTable.linear(Plan.current.imageBase), 0) }
        if Break.at("now-window") {
            let middle = (PhysicalPages.top / 2) & ~(PageTable.size2M &- 1)
            write_word(PageTable.walk(root, PageTable.linear(middle)).slot, 0)
        }
        if Break.at("now-below") { set(root, 0x1000, 0x1000 | Plan.current.kernelLeaf4K) }
        if Break.at("now-devices") { set(root, 0xf000_0000, Devices.localAPIC | CourseOS.deviceLeaf) }
        if Break.at("now-elsewhere") { set(root, 0x1800_0000_0000, 0x10_0000 | CourseOS.heapLeaf) }
        if Break.at("now-page-tables"), let page = try? PhysicalPages.take(pages: 1).address,
            let place = try? PageTable.entry(root, PageTable.linear(0), level: 2, splits: false)
        {
            // The window's page directory goes where no tables belong.
            let table = (place &- PageTable.linear(0)) & ~4095
            copy_words(PageTable.linear(page), PageTable.linear(table), 512)
            CourseOSLayout.replaceWindow(by: page)
        }
        write_cr3(root)
    }

    private static func set(_ root: UInt64, _ address: UInt64, _ leaf: UInt64) {
        if let slot = try? PageTable.entry(root, address, level: 1) { write_word(slot, leaf) }
    }

    /// A new address space. Locked.
    static func make(_ space: AddressSpace.Pointer) {
        guard Break.isAny else { return }
        let root = space.pointee.root
        if Break.at("roots-kernel-s-part") {
            let slot = PageTable.linear(PageTable.read(PageTable.linear(root)) & PageTable.addressMask) &+ 8 &* 3
            // A bit that the processor ignores.
            write_word(slot, read_word(slot) | 1 &<< 9)
        }
        if Break.at("roots-lower-half") {
            if shared == 0 { shared = (try? Arena.takeTable()) ?? 0 }
            setTable(root, sharedTable, shared)
        }
        if Break.at("processes-page-0") { try? space.pointee.mapFrame(0, bits: OSv.leafBits4K) }
        if Break.at("processes-leaf-bits") { try? space.pointee.mapFrame(free, bits: OSv.leafBits4K | 1 &<< 8) }
        if Break.at("processes-page-tables"), let page = try? PhysicalPages.take(pages: 1) {
            clear_words(PageTable.linear(page.address), 512)
            setTable(root, otherTable, page.address)
        }
    }

    private static func setTable(_ root: UInt64, _ address: UInt64, _ table: UInt64) {
        guard let slot = try? PageTable.entry(root, address, level: 2) else { return }
        write_word(slot, table == 0 ? 0 : table | Plan.current.tableBits)
    }

    /// Its end. Locked.
    static func destroy(_ space: AddressSpace.Pointer) {
        guard Break.isAny else { return }
        if Break.at("roots-lower-half") { setTable(space.pointee.root, sharedTable, 0) }
        if Break.at("processes-page-tables") { setTable(space.pointee.root, otherTable, 0) }
        if Break.at("processes-page-0") { space.pointee.removeLeaves(0, 4096) }
        if Break.at("processes-leaf-bits") { space.pointee.removeLeaves(free, free &+ 4096) }
    }
}

// What `break=RULE` does in the linux layout. Several rules can be broken at once: each changes a place of its own, and what is
// broken for one stage is whole again after it.

extension Break {
    nonisolated(unsafe) private static var slots = InlineArray<16, UInt64>(repeating: 0)
    nonisolated(unsafe) private static var values = InlineArray<16, UInt64>(repeating: 0)
    nonisolated(unsafe) private static var used = 0

    /// A place in the direct map that guests of 5 GiB have RAM at and the kernel has nothing in, and another one.
    private static var free: UInt64 { 0x1000_0000 }
    private static var other: UInt64 { 0x1100_0000 }
    /// Where no region is, and where nothing else of a region is.
    private static var hole: UInt64 { 0xffff_e900_0000_0000 }
    private static var module: UInt64 { 0xffff_ffff_bf00_0000 }
    private static var fixmap: UInt64 { 0xffff_ffff_ff50_0000 }

    /// Around the report of a stage: `letter` is a, b or c.
    static func aroundLinuxStage(_ letter: StaticString, _ report: () -> Void) {
        guard isAny else { return report() }
        let root = read_cr3() & PageTable.addressMask
        used = 0
        switch letter.utf8Start[0] {
        case 0x61:
            if at("stage-a-root") { copyEntry(root) }
            if at("stage-a-leaves") { change(PageTable.walk(root, free).slot, 0) }
        case 0x62:
            if at("stage-b-root") { copyEntry(root) }
            if at("stage-b-direct-map") { change(PageTable.walk(root, Linux.directMap &+ free).slot, 0) }
        default:
            if at("stage-c-vmalloc") { map(root, Linux.vmalloc &+ free, free | Plan.current.kernelLeaf4K) }
            if at("stage-c-direct-map") { change(PageTable.walk(root, Linux.directMap &+ free).slot, 0) }
            if at("stage-c-kernel-text") { image(root) }
            if at("stage-c-low-half") { map(root, 0x20_0000, free | Plan.current.kernelLeaf4K) }
            if at("stage-c-fixmap") { map(root, fixmap, 0xfee0_0000 | Plan.current.kernelLeaf4K) }
            if at("stage-c-leaf-bits") { executable(root) }
            if at("stage-c-elsewhere") { map(root, hole, free | Plan.current.kernelLeaf4K) }
            if at("stage-c-page-tables") { moveTable(root) }
        }
        write_cr3(root)
        report()
        while used > 0 {
            used &-= 1
            write_word(slots[used], values[used])
        }
        if letter.utf8Start[0] == 0x63 {
            if at("now-direct-map") { change(PageTable.walk(root, Linux.directMap &+ free).slot, 0) }
            if at("now-kernel-text") { image(root) }
            if at("now-low-half") { map(root, 0x20_0000, free | Plan.current.kernelLeaf4K) }
            if at("now-fixmap") { map(root, fixmap, 0xfee0_0000 | Plan.current.kernelLeaf4K) }
            if at("now-leaf-bits") { executable(root) }
            if at("now-elsewhere") { map(root, hole, free | Plan.current.kernelLeaf4K) }
            if at("now-page-tables") { moveTable(root) }
            if at("aliases-of-the-kernel") { map(root, module, Plan.current.imageBase | Plan.current.kernelLeaf4K) }
        }
        write_cr3(root)
    }

    private static func change(_ slot: UInt64, _ value: UInt64) {
        slots[used] = slot
        values[used] = read_word(slot)
        used &+= 1
        write_word(slot, value)
    }

    /// PML4[400] as PML4[0], or as the direct map's.
    private static func copyEntry(_ root: UInt64) {
        let table = PageTable.linear(root)
        change(table &+ 8 &* 400, read_word(table))
    }

    /// A leaf where nothing is: gone with the topmost entry that it needed.
    private static func map(_ root: UInt64, _ address: UInt64, _ leaf: UInt64) {
        let top = PageTable.walk(root, address)
        change(top.slot, top.value)
        guard let slot = try? PageTable.entry(root, address, level: 1) else { return }
        write_word(slot, leaf)
    }

    /// 2 MiB more of the image, with a gap before them.
    private static func image(_ root: UInt64) {
        let gap = Kernel.end &+ PageTable.size2M
        change(PageTable.walk(root, Linux.textOffset &+ gap).slot, gap | Linux.imageLeaf2M)
    }

    /// A page of the direct map without NX.
    private static func executable(_ root: UInt64) {
        let walk = PageTable.walk(root, Linux.directMap &+ other)
        change(walk.slot, walk.value & ~PageTable.noExecute)
    }

    /// The table of the fixmap's devices goes where no tables belong.
    private static func moveTable(_ root: UInt64) {
        guard let page = try? PhysicalPages.take(pages: 1).address,
            let parent = try? PageTable.entry(root, Linux.fixmapLocalAPIC, level: 2, splits: false)
        else { return }
        copy_words(PageTable.linear(page), PageTable.linear(read_word(parent) & PageTable.addressMask), 512)
        change(parent, page | Plan.current.tableBits)
    }

    /// A new process, its bounds known, nothing on its stack yet.
    static func linuxProcess(_ space: AddressSpace.Pointer, _ process: Int32) {
        guard isAny else { return }
        let bounds = space.pointee.bounds
        if at("order-of-segments") {
            _ = try? space.pointee.map(at: bounds.breakStart &- 4096, size: 4096, protection: .read, program: process)
        }
        if at("text-and-data") {
            let page = (bounds.dataEnd &- 1) & ~4095
            try? space.pointee.protect(page, size: 4096, protection: [.read, .write, .execute])
        }
        if at("end-of-the-user-half") {
            let state = Memory.lock.acquire()
            try? space.pointee.mapFrame(Linux.userEnd, bits: OSv.leafBits4K)
            Memory.lock.release(state)
        }
    }

    /// For the rule about translations: from the moment a block of vmalloc is freed until the next command this processor's
    /// root is a copy whose direct map ends a GiB early.
    static func shortenDirectMap() -> UInt64? {
        guard let copy = try? PhysicalPages.take(pages: 2).address else { return nil }
        let (root, table) = (read_cr3() & PageTable.addressMask, copy &+ 4096)
        let offset = 8 &* PageTable.index(Linux.directMap, level: 4)
        let original = read_word(PageTable.linear(root) &+ offset) & PageTable.addressMask
        copy_words(PageTable.linear(copy), PageTable.linear(root), 512)
        copy_words(PageTable.linear(table), PageTable.linear(original), 512)
        write_word(PageTable.linear(copy) &+ offset, table | Plan.current.tableBits)
        var last = PageTable.linear(table) &+ 4088
        while read_word(last) == 0 && last & 4095 != 0 { last &-= 8 }
        write_word(last, 0)
        return copy
    }
}

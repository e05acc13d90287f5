// What `break=RULE` does to the address spaces of processes: for rules about their roots and tables.

extension Break {
    nonisolated(unsafe) private static var shared: UInt64 = 0
    /// Where a process has something that it should not have: PML4[48], outside every region, and one in mmap; a table that
    /// is shared, two entries below that, and one that is no table of the arena, one below it.
    private static var outside: UInt64 { 0x1800_0000_0000 }
    private static var inside: UInt64 { (spare &+ 2) &<< 39 }
    private static var spare: UInt64 { Plan.current.name == .resea ? 16 : 224 }

    /// By how much the GS base of a process that is an offset is too low.
    static var baseError: UInt64 { at("access-through-gs") ? 0x10000 : 0 }

    /// A new address space. Locked.
    static func make(_ space: AddressSpace.Pointer) {
        guard isAny else { return }
        if Plan.current.name == .courseos { return BreakCourseOS.make(space) }
        let root = PageTable.linear(space.pointee.root)
        if at("roots-upper-half") {
            write_word(
                root &+ 8 &* 400, read_word(root &+ 8 &* PageTable.index(Plan.current.linearBase, level: 4)))
        }
        if at("roots-lower-half") {
            if shared == 0 { shared = (try? Arena.takeTable()) ?? 0 }
            write_word(root &+ 8 &* spare, shared | Plan.current.tableBits)
        }
        if at("processes-regions") { try? space.pointee.mapFrame(outside, bits: OSv.leafBits4K) }
        if at("processes-leaf-bits") { try? space.pointee.mapFrame(inside, bits: OSv.leafBits4K | 1 << 8) }
        if at("processes-page-tables"), let page = try? PhysicalPages.take(pages: 1) {
            clear_words(PageTable.linear(page.address), 512)
            write_word(root &+ 8 &* (spare &+ 1), page.address | Plan.current.tableBits)
        }
    }

    /// For the rule that there is one root: a thread gets one of its own, with the same contents.
    static func separate(_ thread: Thread.Pointer) {
        guard at("one-root"), Spaces.of(thread) == Spaces.kernel, let space = try? Spaces.make() else { return }
        copy_words(
            PageTable.linear(space.pointee.root), PageTable.linear(Spaces.kernel.pointee.root), 256)
        thread.pointee.space = UnsafeMutableRawPointer(space)
    }

    /// Its end. Locked.
    static func destroy(_ space: AddressSpace.Pointer) {
        guard isAny else { return }
        if Plan.current.name == .courseos { return BreakCourseOS.destroy(space) }
        if Plan.current.name == .resea { BreakResea.destroy(space) }
        space.pointee.removeLeaves(outside, outside &+ 4096)
        space.pointee.removeLeaves(inside, inside &+ 4096)
        if at("end-of-the-user-half") { space.pointee.removeLeaves(Linux.userEnd, Linux.userEnd &+ 4096) }
        let entry = PageTable.linear(space.pointee.root) &+ 8 &* spare
        if at("roots-lower-half") { write_word(entry, 0) }
        if at("processes-page-tables") {
            PhysicalPages.giveBack(read_word(entry &+ 8) & PageTable.addressMask, pages: 1)
            write_word(entry &+ 8, 0)
        }
    }
}

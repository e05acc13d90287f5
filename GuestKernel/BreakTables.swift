// What `break=RULE` does to page tables, for rules about the tables of a stage and of now.
//
// A rule of a stage (`stage-c-core`) is broken just before the stage is reported and whole again right after it; a rule of now
// (`now-core`) is broken from the last stage on.

extension Break {
    nonisolated(unsafe) private static var slot: UInt64 = 0
    nonisolated(unsafe) private static var value: UInt64 = 0

    /// Around the report of a stage: `letter` is a, b or c.
    static func aroundStage(_ letter: StaticString, _ report: () -> Void) {
        guard isAny else { return report() }
        if isWindow { return aroundWindowStage(letter, report) }
        let root = read_cr3()
        if begins("stage-", letter) {
            damage(root)
            report()
            if slot != 0 { write_word(slot, value) }
            write_cr3(root)
        } else {
            report()
            if letter.utf8Start[0] == 0x63 && begins("now", "") {
                damage(root)
                write_cr3(root)
            }
        }
    }

    /// Whether the rule begins so; a stage's letter follows it.
    private static func begins(_ text: StaticString, _ letter: StaticString) -> Bool {
        hasPrefix(text, at: 0) && hasPrefix(letter, at: text.utf8CodeUnitCount)
    }

    private static func damage(_ root: UInt64) {
        slot = 0
        if Plan.current.name == .courseos && !isStage("a") && !isStage("b") { return }
        // What follows `stage-x-` or `now-`.
        let at = begins("stage-", "") ? 8 : 4
        let plan = Plan.current
        let free: UInt64 = 0x1000_0000  // a place in a linear area that small guests have no RAM at
        let upper = plan.imageOffset &+ 0x3f00_0000
        let spare = plan.imageOffset == 0 ? 0x7000_0000_0000 : upper
        if isRest("root", at) { return isStage("c") && plan.name != .resea ? () : copyRootEntry(root) }
        if isRest("straight-mapping", at) {
            return map(root, plan.mainBase &+ Resea.straightSize, free | plan.kernelLeaf4K)
        }
        if isRest("leaves", at) { return clear(root, isStage("a") ? free : plan.mainBase &+ free) }
        if isRest("debug", at) { return map(root, plan.debugBase &+ free, 0x10_0000 | plan.kernelLeaf4K) }
        if isRest("main-first-gib", at) { return clear(root, plan.mainBase &+ free) }
        if isRest("page-first-gib", at) { return clear(root, plan.pageBase &+ free) }
        if isRest("mempool-first-gib", at) { return clear(root, plan.mempoolBase &+ free) }
        if isRest("ram-above-1-gib", at) { return clear(root, plan.pageBase &+ Contract.holeEnd &+ free) }
        if isRest("core", at) || isRest("kernel", at) {
            let gap = Kernel.end &+ PageTable.size2M
            return map(root, plan.imageOffset &+ gap, gap | plan.kernelLeaf2M, level: 2)
        }
        if isRest("below-core", at) || isRest("low-alias", at) { return map(root, 0x1000, 0x1000 | plan.kernelLeaf4K) }
        if isRest("leaf-bits", at) {
            return map(root, plan.mainBase &+ 0xfec0_0000, 0xfec0_0000 | plan.kernelLeaf4K | PageTable.noExecute)
        }
        if isRest("devices", at) { return map(root, spare, 0xfee0_0000 | plan.kernelLeaf4K) }
        if isRest("elsewhere", at) { return map(root, 0x1800_0000_0000, 0x10_0000 | plan.kernelLeaf4K) }
        if isRest("page-tables", at) { return moveTable(root) }
    }

    private static func isRest(_ text: StaticString, _ at: Int) -> Bool {
        count == at &+ text.utf8CodeUnitCount && hasPrefix(text, at: at)
    }

    private static func isStage(_ letter: StaticString) -> Bool { begins("stage-", letter) }

    /// For stage C's rule about its root: stage B runs on the page that stage C will take for it.
    static func sameRoot() {
        guard at("stage-c-root"), Plan.current.name != .courseos, Plan.current.name != .resea else { return }
        let root = Plan.current.arenaBase
        copy_words(PageTable.linear(root), PageTable.linear(boot_pml4()), 512)
        write_cr3(root)
    }

    /// Back to the boot tables, the page as it was.
    static func bootRoot() {
        guard at("stage-c-root"), Plan.current.name != .courseos, Plan.current.name != .resea else { return }
        write_cr3(boot_pml4())
        clear_words(PageTable.linear(Plan.current.arenaBase), 512)
    }

    /// PML4[400] as PML4[0], or as [256] where that is absent.
    private static func copyRootEntry(_ root: UInt64) {
        let table = PageTable.linear(root & PageTable.addressMask)
        note(table &+ 8 &* 400)
        let first = read_word(table)
        write_word(slot, first != 0 ? first : read_word(table &+ 8 &* 256))
    }

    private static func clear(_ root: UInt64, _ address: UInt64) {
        let walk = PageTable.walk(root & PageTable.addressMask, address)
        note(walk.slot)
        write_word(slot, 0)
    }

    private static func map(_ root: UInt64, _ address: UInt64, _ leaf: UInt64, level: UInt64 = 1) {
        guard let place = try? PageTable.entry(root & PageTable.addressMask, address, level: level) else { return }
        note(place)
        write_word(slot, leaf)
    }

    /// The table of main's first 2 MiB goes where no tables belong.
    private static func moveTable(_ root: UInt64) {
        guard let page = try? PhysicalPages.take(pages: 1).address else { return }
        let walk = PageTable.walk(root & PageTable.addressMask, Plan.current.mainBase)
        let table = (walk.slot &- PageTable.linear(0)) & ~4095
        copy_words(PageTable.linear(page), PageTable.linear(table), 512)
        guard
            let parent = try? PageTable.entry(
                root & PageTable.addressMask, Plan.current.mainBase, level: walk.level &+ 1, splits: false)
        else { return }
        note(parent)
        write_word(slot, page | Plan.current.tableBits)
    }

    private static func note(_ place: UInt64) {
        slot = place
        value = read_word(place)
    }
}

extension Break {
    nonisolated(unsafe) private static var copy: UInt64 = 0

    /// For the rules that are broken by one more mapping, made when the runtime tables stand.
    static func mapMore() {
        if Plan.current.name == .courseos { return BreakCourseOS.now() }
        if Plan.current.name == .resea { return BreakResea.now() }
        guard at("aliases-of-core") else { return }
        let plan = Plan.current
        let spare = plan.imageOffset == 0 ? 0x7000_0000_0000 : plan.imageOffset &+ 0x3f00_0000
        guard let slot = try? PageTable.entry(Spaces.kernel.pointee.root, spare, level: 1) else { return }
        write_word(slot, plan.imageBase | plan.kernelLeaf4K)
    }

    /// For the rule about translations: from the moment a block of debug is freed until the next command, this processor's
    /// root is a copy without mempool.
    static func afterCommand(freed address: UInt64?) {
        guard at("translations"), let address, isWindow || Plan.current.debugBase != 0,
            address >= Plan.current.debugBase
        else { return }
        if isWindow {
            if copy == 0 { copy = shortenWindow() ?? 0 }
            if copy != 0 { write_cr3(copy) }
            return
        }
        if copy == 0 { copy = (try? PhysicalPages.take(pages: 1).address) ?? 0 }
        let root = read_cr3() & PageTable.addressMask
        guard copy != 0, copy != root else { return }
        copy_words(PageTable.linear(copy), PageTable.linear(root), 512)
        write_word(PageTable.linear(copy) &+ 8 &* PageTable.index(Plan.current.mempoolBase, level: 4), 0)
        write_cr3(copy)
    }

    /// The root as it was.
    static func beforeCommand() {
        guard copy != 0, read_cr3() & PageTable.addressMask == copy, let cpu = Processor.current else { return }
        write_cr3(cpu.pointee.root)
    }
}

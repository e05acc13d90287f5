// The courseos layout as the kernel builds it (CourseOS.swift has the picture).
//
//     A, B  as the image comes: PA 0-1 GiB at 0 and at 0x8000_0000, through one page directory
//     C     the root at PA 0x4000, below it one table of four: nothing, nothing, the window, heap and devices
//
// The last two are in every process's table of four as well: what is mapped below them later is mapped for all at once.

/// What only this layout does.
enum CourseOSLayout {
    /// The kernel's table of four GiB.
    nonisolated(unsafe) private static var gibibytes: UInt64 = 0
    /// The entries of it that every process has.
    private static var shared: ClosedRange<UInt64> { 2...3 }

    /// Stage C: the runtime tables, up to the switch of the root.
    static func buildRuntimeTables(memory: borrowing MemoryMap) throws(MemoryError) -> UInt64 {
        let root = Break.at("stage-c-root") ? try Arena.takeTable() : CourseOS.root
        clear_words(PageTable.linear(root), 512)
        try PageTable.mapLinear(root, base: CourseOS.offset, from: 0, to: memory[memory.count &- 1].end)
        // The table of heap and devices is there before anything is in it: processes share it from the start.
        _ = try PageTable.entry(root, CourseOS.heapBase, level: 2)
        gibibytes = PageTable.read(PageTable.linear(root)) & PageTable.addressMask
        return root
    }

    /// When pages are managed: the tables that must never be given back are counted as in use, and devices are mapped.
    static func finishTables() throws(MemoryError) {
        Arena.count(gibibytes, Int32(truncatingIfNeeded: shared.count))
        for index in shared {
            Arena.count(PageTable.read(PageTable.linear(gibibytes) &+ 8 &* index) & PageTable.addressMask, 1)
        }
        try Memory.locked { () throws(MemoryError) in
            _ = try Devices.map(Devices.localAPIC, size: 4096)
            _ = try Devices.map(0xfec0_0000, size: 4096)
        }
    }

    /// For a broken rule: another page directory for the window.
    static func replaceWindow(by table: UInt64) {
        write_word(PageTable.linear(gibibytes) &+ 8 &* shared.lowerBound, table | Plan.current.tableBits)
    }

    /// The kernel's part of a new root. Locked.
    static func shareKernel(with root: UInt64) throws(MemoryError) {
        let table = try Arena.takeTable()
        PageTable.write(PageTable.linear(root), table | Plan.current.tableBits)
        Arena.count(root, 1)
        for index in shared {
            write_word(PageTable.linear(table) &+ 8 &* index, read_word(PageTable.linear(gibibytes) &+ 8 &* index))
        }
        Arena.count(table, Int32(truncatingIfNeeded: shared.count))
    }

    /// Takes it out of a root that has nothing else any more. Locked.
    static func takeKernel(from root: UInt64) {
        let table = PageTable.read(PageTable.linear(root)) & PageTable.addressMask
        clear_words(PageTable.linear(table), 512)
        Arena.giveBack(table)
        PageTable.write(PageTable.linear(root), 0)
    }
}

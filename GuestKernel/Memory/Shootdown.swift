// TLB shootdown: after a leaf was removed or changed, no processor may go on using the old one.

/// Flushes on every processor. The caller of `flush` holds `Memory.lock`.
enum Shootdown {
    nonisolated(unsafe) private static var start: UInt64 = 0
    nonisolated(unsafe) private static var end: UInt64 = 0
    /// A root that no processor may go on using, or 0.
    nonisolated(unsafe) private static var leaving: UInt64 = 0
    nonisolated(unsafe) private(set) static var count: UInt64 = 0

    /// More pages than this are flushed by loading CR3: no leaf here is global.
    private static var pageLimit: UInt64 { 32 }

    /// Forgets a range everywhere; returns when every processor has.
    static func flush(_ from: UInt64, _ to: UInt64) {
        flushHere(from, to)
        askOthers(from, to)
    }

    /// Makes every processor that has this root loaded go over to the kernel's: the root is about to be given back.
    static func leave(_ root: UInt64) {
        leaving = root
        leaveHere()
        askOthers(0, 0)
        leaving = 0
    }

    private static func leaveHere() {
        guard leaving != 0, let cpu = Processor.current, cpu.pointee.root == leaving else { return }
        cpu.pointee.root = Spaces.kernel.pointee.root
        write_cr3(cpu.pointee.root)
    }

    /// Asks all other processors for the same, and waits until each has done it.
    private static func askOthers(_ from: UInt64, _ to: UInt64) {
        guard Processor.onlineCount > 1, let current = Processor.current else { return }
        start = from
        end = to
        count &+= 1
        var number = 0
        while number < Processor.count {
            if let cpu = Processor.at(number), cpu != current, load_acquire(&cpu.pointee.online) != 0 {
                store_release(&cpu.pointee.flush, 1)
            }
            number &+= 1
        }
        LocalAPIC.sendToOthers(vector: Vector.flush)
        number = 0
        while number < Processor.count {
            if let cpu = Processor.at(number), cpu != current {
                while load_acquire(&cpu.pointee.flush) != 0 { pause_hint() }
            }
            number &+= 1
        }
    }

    /// Serves a request to this processor, if there is one.
    static func answer() {
        guard let cpu = Processor.current, load_acquire(&cpu.pointee.flush) != 0 else { return }
        leaveHere()
        flushHere(start, end)
        store_release(&cpu.pointee.flush, 0)
    }

    private static func flushHere(_ from: UInt64, _ to: UInt64) {
        if to &- from > pageLimit &* PageTable.size4K {
            write_cr3(read_cr3())
            return
        }
        var address = from
        while address < to {
            invalidate_page(address)
            address &+= PageTable.size4K
        }
    }
}

// What `break=RULE` does in resea, for rules about tables and tasks; what breaks the APs' start stands in Processor.swift.

/// The broken rules of resea.
enum BreakResea {
    /// The rules of now, when the runtime tables stand.
    static func now() {
        if Break.at("boot-code") { write_word(PageTable.linear(Resea.bootCode), 0) }
    }

    /// A fault that the kernel serves itself, though that is the vm server's business.
    static func serves(_ space: AddressSpace.Pointer, _ address: UInt64) -> Bool {
        let inHeap = address &- Resea.heap.lowerBound
        let isFirst = Break.at("tasks-page-0") && address < 4096
        let isOwn = Break.at("faults-by-messages") && (0x10_0000..<0x20_0000).contains(inHeap)
        let isKernels = Break.at("pages-of-the-vm-server") && (0x20_0000..<0x100_0000).contains(inHeap)
        guard isFirst || isOwn || isKernels else { return false }
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        guard let frame = isKernels ? try? Frames.take() : spare() else { return false }
        return (try? space.pointee.setLeaf(address & ~4095, frame | Resea.taskLeafWritable)) != nil
    }

    /// A page at the end of RAM, which the server gives last: another one each time.
    private static func spare() -> UInt64 {
        taken &+= 1
        return PhysicalPages.top &- taken &<< 12
    }
    nonisolated(unsafe) private static var taken: UInt64 = 1

    /// The bits of a leaf that is made for a task.
    static func bits(_ bits: UInt64, at address: UInt64, _ page: UInt64) -> UInt64 {
        let isHeap = Resea.heap.contains(address) || Resea.stack.contains(address)
        if Break.at("tasks-leaf-bits") && isHeap { return bits | PageTable.noExecute }
        if Break.at("command-line") && Resea.commandLine.contains(address) { write_word(PageTable.linear(page), 0x3f) }
        // Behind the text of the task 'process'.
        if Break.at("bootfs") && address == Resea.text.lowerBound &+ 4096 {
            write_word(PageTable.linear(page) &+ 4088, 1)
        }
        return bits
    }

    /// A task that the server asked for, before it runs.
    static func make(_ space: AddressSpace.Pointer) {
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        if Break.at("tasks-regions") {
            try? space.pointee.setLeaf(0x80_0000, spare() | Resea.taskLeafWritable)
        }
        if Break.at("tasks-on-demand") {
            try? space.pointee.setLeaf(
                Resea.stack.lowerBound, spare() | Resea.taskLeafWritable)
        }
    }

    /// The end of an address space. Locked.
    static func destroy(_ space: AddressSpace.Pointer) {
        if Break.at("tasks-regions") { space.pointee.removeLeaves(0x80_0000, 0x80_1000) }
        if Break.at("tasks-page-0") { space.pointee.removeLeaves(0, 4096) }
    }

    /// The server, before it runs: one page of its straight mapping leads elsewhere.
    static func makeServer(_ space: AddressSpace.Pointer) {
        guard Break.at("straight-mapping-in-the-vm-server") else { return }
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        let last = PhysicalPages.top &- 4096
        try? space.pointee.setLeaf(last, (last &- 4096) | Resea.taskLeafWritable)
    }
}

// All address spaces: the kernel's, and those of processes where each has a root of its own.
//
// The upper half is the kernel's in every root: PML4[256...511] are equal. Whoever changes such an entry of the kernel's root
// calls `propagate`; tables below it are the same ones everywhere, so nothing else has to be. Where the kernel's part is smaller
// than that, it is two tables that are there from the start (CourseOSLayout.swift).

/// The address spaces.
enum Spaces {
    /// The kernel's; the only one where processes have no roots of their own.
    nonisolated(unsafe) private(set) static var kernel = AddressSpace.Pointer(bitPattern: 8).unsafelyUnwrapped
    nonisolated(unsafe) private static var kernelSpace = AddressSpace(root: 0)
    nonisolated(unsafe) private static var list = InlineArray<64, AddressSpace.Pointer?>(repeating: nil)
    nonisolated(unsafe) private static var count = 0
    /// Nothing is ever mapped by request below this: the kernel's image where VA = PA, else the first page.
    nonisolated(unsafe) private(set) static var lowest: UInt64 = 4096

    /// How often CR3 was loaded for a thread.
    nonisolated(unsafe) private(set) static var rootLoads: UInt64 = 0
    /// How often the thread that came next on a processor had another root than the one before.
    nonisolated(unsafe) private(set) static var rootChanges: UInt64 = 0

    /// Goes over to the kernel's runtime tables.
    static func start(root: UInt64) {
        write_cr3(root)
        kernel = withUnsafeMutablePointer(to: &kernelSpace) { $0 }
        kernel.initialize(to: AddressSpace(root: root))
        if Plan.current.imageOffset == 0 { lowest = Kernel.end }
        if Plan.current.lowestAddress != 0 && !Break.at("guard-at-0") { lowest = Plan.current.lowestAddress }
    }

    /// The address space of a thread.
    @inline(__always) static func of(_ thread: Thread.Pointer?) -> AddressSpace.Pointer {
        thread?.pointee.space?.assumingMemoryBound(to: AddressSpace.self) ?? kernel
    }

    /// A new address space: the kernel's part and nothing else.
    static func make() throws(MemoryError) -> AddressSpace.Pointer {
        let block = try Malloc.allocate(UInt64(MemoryLayout<AddressSpace>.stride))
        let space = AddressSpace.Pointer(bitPattern: UInt(block)).unsafelyUnwrapped
        do throws(MemoryError) {
            try Memory.locked { () throws(MemoryError) in
                guard count < 64 else { throw .tooManySpaces }
                let root = try Arena.takeTable()
                do throws(MemoryError) {
                    try Layouts.shareKernel(with: root)
                } catch {
                    Arena.giveBack(root)
                    throw error
                }
                space.initialize(to: AddressSpace(root: root))
                Break.make(space)
                list[count] = space
                count &+= 1
            }
        } catch {
            try? Malloc.free(block)
            throw error
        }
        return space
    }

    /// Removes an address space that no thread uses any more, with everything in it.
    static func destroy(_ space: AddressSpace.Pointer) {
        guard space != kernel else { return }
        var state = Memory.lock.acquire()
        Shootdown.leave(space.pointee.root)
        // A process of many pages goes piece by piece, and whatever waits for this processor comes in between.
        while space.pointee.removeLast() {
            Memory.lock.release(state)
            if !state { Processor.takeInterrupts() }
            state = Memory.lock.acquire()
        }
        Break.destroy(space)
        let root = space.pointee.root
        Layouts.takeKernel(from: root)
        if !Break.at("exit-frees-every-table") { Arena.giveBack(root) }
        var index = 0
        while index < count {
            if list[index] == space {
                count &-= 1
                list[index] = list[count]
                list[count] = nil
            }
            index &+= 1
        }
        Memory.lock.release(state)
        try? Malloc.free(UInt64(UInt(bitPattern: space)))
    }

    /// After an entry of the kernel's root changed: brings it into every other root. Locked.
    static func propagate(_ address: UInt64) {
        guard count > 0, address >= OSv.areasBase, !Break.at("late-kernel-mappings") else { return }
        let offset = 8 &* PageTable.index(address, level: 4)
        let value = PageTable.read(PageTable.linear(kernel.pointee.root) &+ offset)
        var index = 0
        while index < count {
            if let space = list[index] { PageTable.write(PageTable.linear(space.pointee.root) &+ offset, value) }
            index &+= 1
        }
    }

    /// Goes over to the tables of a thread on this processor. CR3 is changed only when the root differs.
    @inline(__always) static func enter(_ thread: Thread.Pointer, on cpu: Processor.Pointer) {
        guard let space = thread.pointee.space?.assumingMemoryBound(to: AddressSpace.self) else { return }
        let root = space.pointee.root
        guard cpu.pointee.root != root || Break.at("cr3-only-when-it-differs") else { return }
        if cpu.pointee.root != root { rootChanges &+= 1 }
        cpu.pointee.root = root
        rootLoads &+= 1
        write_cr3(root)
    }

    /// Runs `body` with the calling thread in another address space.
    static func inside<Result>(_ space: AddressSpace.Pointer, _ body: () -> Result) -> Result {
        guard let thread = Thread.current else { return body() }
        let own = thread.pointee.space
        use(UnsafeMutableRawPointer(space), by: thread)
        defer { use(own, by: thread) }
        return body()
    }

    /// The calling thread goes on in another address space.
    static func use(_ space: UnsafeMutableRawPointer?, by thread: Thread.Pointer) {
        let wereOn = read_flags() & 0x200 != 0
        interrupts_off()
        thread.pointee.space = space
        if let cpu = Processor.current { enter(thread, on: cpu) }
        if wereOn { interrupts_on() }
    }
}

// A process of the panda layout: its file at 0x400000, a heap and buffers that are empty, a stack whose pages come on touch.

/// Makes processes of panda.
enum PandaStart {
    /// Loads a program into the calling thread's address space, which is empty, and makes its thread.
    static func load(
        _ image: ProgramImage, _ module: BootModule, process number: Int, at base: UInt64
    ) throws(ProgramError) -> Thread.Pointer {
        let process = Int32(truncatingIfNeeded: number)
        try ProgramLoader.load(image, module: module, at: base, program: process)
        let space = AddressSpace.current
        var bounds = Bounds()
        bounds.breakStart = Panda.heapBase
        bounds.breakEnd = Panda.heapBase
        bounds.breakLimit = Panda.buffersBase &- (Break.at("break-limit") ? PageTable.size1G : 0)
        bounds.stackEnd = Panda.stackEnd
        bounds.stackLowest = Panda.stackBase
        bounds.stackGuard = PageTable.size4K
        bounds.stackPointer = Panda.stackEnd &- (Break.at("stack-pointer") ? 64 : 0)
        do throws(MemoryError) {
            _ = try space.pointee.map(
                at: Panda.stackBase, size: Panda.stackSize, protection: [.read, .write], kind: .stack, program: process)
            space.pointee.bounds = bounds
            Break.pandaProcess(space)
            let thread = try Thread.makeRing3(
                name: "program", entry: base &+ image.entry, argument: 0, second: 0, stack: bounds.stackPointer,
                program: process)
            thread.pointee.space = UnsafeMutableRawPointer(space)
            return thread
        } catch {
            throw .memory(error)
        }
    }
}

// The debug area: guarded blocks whose addresses are never used again.
//
//     [header 4 KiB][guard 4 KiB, absent][data][guard 4 KiB, absent]

/// Blocks of the debug area. The caller holds `Memory.lock`.
enum DebugArea {
    /// Where the parts of a block lie.
    struct Block {
        var header: UInt64
        var data: UInt64
        /// Bytes of data, whole pages.
        var size: UInt64

        var guard1: UInt64 { header &+ 4096 }
        var guard2: UInt64 { data &+ size }
    }

    /// First word of a header.
    private static var magic: UInt64 { 0x6465_6275_675f_626c }
    /// The first address that was never used.
    nonisolated(unsafe) private static var next: UInt64 = 0

    /// A block with at least `size` bytes of data, zeroed.
    static func allocate(_ size: UInt64) throws(MemoryError) -> Block {
        let bytes = (size &+ 4095) & ~4095
        guard Plan.current.debugBase != 0 else { throw .badArea }
        guard size > 0, bytes &>> 12 < PhysicalPages.freePages else { throw size > 0 ? .outOfMemory : .badSize }
        if next == 0 { next = OSv.Area.debug.address }
        let block = Block(header: next, data: next &+ 8192, size: bytes)
        let kernel = Spaces.kernel
        let bits = Plan.current.kernelLeaf4K
        do throws(MemoryError) {
            try kernel.pointee.mapFrame(block.header, bits: bits)
            if Break.at("debug-block") || Break.at("vmalloc-block") {
                try kernel.pointee.mapFrame(block.guard1, bits: bits)
            }
            var address = block.data
            while address < block.guard2 {
                try kernel.pointee.mapFrame(address, bits: bits)
                address &+= 4096
            }
        } catch {
            kernel.pointee.removeLeaves(block.header, block.guard2)
            next = block.guard2 &+ 4096
            throw error
        }
        next = block.guard2 &+ 4096
        write_word(block.header, magic)
        write_word(block.header &+ 8, bytes)
        Malloc.account(.debug, Int64(bitPattern: bytes))
        return block
    }

    /// Unmaps the block whose data begins at `address`.
    static func free(_ address: UInt64) throws(MemoryError) {
        guard address & 4095 == 0, address >= OSv.Area.debug.address &+ 8192, address < next else {
            throw .notAllocated
        }
        let header = address &- 8192
        let walk = PageTable.walk(Spaces.kernel.pointee.root, header)
        guard walk.physical(of: header) != nil, read_word(header) == magic else { throw .notAllocated }
        let size = read_word(header &+ 8)
        guard size <= next &- address else { throw .notAllocated }
        write_word(header, 0)
        Spaces.kernel.pointee.removeLeaves(header, address &+ size)
        Malloc.account(.debug, -Int64(bitPattern: size))
    }
}

// Device registers: at linear + PA where the layout's window reaches them, else mapped downwards from the end of a range
// whose beginning is the kernel's heap (KernelPlan.devicesEnd). What is mapped last is the lowest.

/// Device registers.
enum Devices {
    /// The local APIC's registers (SDM volume 3, section 11.4.1).
    static var localAPIC: UInt64 { 0xfee0_0000 }
    nonisolated(unsafe) private static var lowest: UInt64 = 0

    /// The lowest address in use.
    static var bottom: UInt64 { lowest == 0 ? Plan.current.devicesEnd : lowest }

    /// Maps registers, in leaves of 2 MiB where both ends are multiples of it; their address. Locked.
    static func map(_ physical: UInt64, size: UInt64) throws(MemoryError) -> UInt64 {
        guard Plan.current.devicesEnd != 0 else { throw .badArea }
        guard physical & 4095 == 0, physical < 1 &<< 40 else { throw .badAddress }
        guard size > 0, size <= 1 &<< 30 else { throw .badSize }
        let isLarge = (physical | size) & (PageTable.size2M &- 1) == 0
        let step = isLarge ? PageTable.size2M : PageTable.size4K
        let bytes = (size &+ 4095) & ~4095
        let start = (bottom &- bytes) & ~(step &- 1)
        guard start >= MappedHeap.end else { throw .devicesFull }
        let root = Spaces.kernel
        do throws(MemoryError) {
            var done: UInt64 = 0
            while done < bytes {
                let leaf = (physical &+ done) | CourseOS.deviceLeaf | (isLarge ? PageTable.pageSize : 0)
                try root.pointee.setLeaf(start &+ done, level: isLarge ? 2 : 1, leaf)
                done &+= step
            }
        } catch {
            root.pointee.removeLeaves(start, start &+ bytes)
            throw error
        }
        lowest = start
        return start
    }

    /// Unmaps what lies from the lowest address up to `end`. Locked.
    static func unmap(below end: UInt64) throws(MemoryError) {
        guard end & 4095 == 0, end > bottom, end <= Plan.current.localAPIC else { throw .notMapped }
        Spaces.kernel.pointee.removeLeaves(bottom, end)
        lowest = end
    }
}

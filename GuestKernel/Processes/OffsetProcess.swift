// A process of osc's initial design: an offset in the one address space. An address below SIZE is the process's, and means
// OFFi + address; code reaches its own data by addresses relative to RIP, which are absolute. Both are taken, within
// [OFFi, OFFi + SIZE) alone. In the other layouts the offset is 0 and everything the address space allows is allowed.

/// The running thread's process, where processes are offsets.
enum OffsetProcess {
    /// OFFi, or 0.
    static var offset: UInt64 {
        guard Plan.current.name == .oscInitial, let number = Thread.current?.pointee.program, number >= 0 else {
            return 0
        }
        return Programs.program(Int(number)).base
    }

    /// The absolute address of one of the process's.
    static func absolute(_ address: UInt64) -> UInt64 {
        let offset = offset
        return offset != 0 && address < OSCInitial.size ? offset &+ address : address
    }

    /// Whether a range lies in the process as a whole.
    static func contains(_ address: UInt64, _ size: UInt64) -> Bool {
        let offset = offset
        guard offset != 0 else { return true }
        let start = absolute(address) &- offset
        return start < OSCInitial.size && size <= OSCInitial.size &- start
    }

    /// Where the search for a free range begins and ends: in the process's second half.
    static var searchRange: (from: UInt64, below: UInt64) {
        let offset = offset
        guard offset != 0 else { return (Plan.current.mmapBase, Plan.current.vmaEnd) }
        return (offset &+ OSCInitial.size / 2, offset &+ OSCInitial.size &- PageTable.size2M)
    }
}

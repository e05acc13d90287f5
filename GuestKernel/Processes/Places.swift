// Where programs go when all share one address space: osv's namespaces, the offsets of osc's initial design.

/// Places of programs in one address space.
enum Places {
    nonisolated(unsafe) private static var lock = SpinLock()
    /// Bit i: place i is taken.
    nonisolated(unsafe) private static var taken: UInt64 = 0

    private static var count: UInt64 {
        Plan.current.name == .oscInitial ? OSCInitial.count : OSv.namespaceCount
    }

    /// The first address of a place. Where each process has an address space of its own there is one, the same in all.
    static func base(_ place: UInt64) -> UInt64 {
        switch Plan.current.name {
        case .osv:
            return place == 0
                ? OSv.programBase &+ (Break.at("programs") ? PageTable.size2M : 0) : OSv.namespaceBase(place)
        case .oscInitial: return OSCInitial.offset(Break.at("offsets") ? 2 &* place &+ 1 : place)
        default: return Plan.current.programBase
        }
    }

    /// A place: the one asked for, or the first free one.
    static func take(_ wanted: UInt64?) throws(ProgramError) -> UInt64 {
        guard !Plan.current.hasProcesses else { return 0 }
        let state = lock.acquire()
        defer { lock.release(state) }
        var place = wanted ?? 0
        if let wanted {
            if !Break.at("namespaces") || wanted == 0 {
                guard wanted != 0 else { throw .namespaceReserved }
                guard wanted < count else { throw .noSuchNamespace(wanted) }
            }
            guard taken & 1 &<< wanted == 0 else { throw .namespaceTaken(wanted) }
        } else {
            while place < count && taken & 1 &<< place != 0 { place &+= 1 }
            guard place < count else { throw .noNamespaceLeft }
        }
        taken |= 1 &<< place
        return place
    }

    /// Nothing was put there after all, or it may be used again.
    static func release(_ place: UInt64) {
        let state = lock.acquire()
        taken &= ~(1 &<< place)
        lock.release(state)
    }
}

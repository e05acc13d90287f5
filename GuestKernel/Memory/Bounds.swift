// Where the parts of a process lie in layouts whose processes have a heap, a mapping segment and a stack of their own places;
// the heap's end and the stack's growth. Linux has the same numbers in its mm_struct.

/// The parts of one process; all zero where the layout has none.
struct Bounds {
    var codeStart: UInt64 = 0
    var codeEnd: UInt64 = 0
    var dataStart: UInt64 = 0
    var dataEnd: UInt64 = 0
    /// The heap: from its start to the break, which need not be the end of a page.
    var breakStart: UInt64 = 0
    var breakEnd: UInt64 = 0
    /// What the break may not exceed.
    var breakLimit: UInt64 = 0
    /// Mappings are placed downwards from here; 0: upwards from the layout's `mmapBase`.
    var mappingTop: UInt64 = 0
    /// One past the stack, the least address it may grow to, and how much below that stays unmapped.
    var stackEnd: UInt64 = 0
    var stackLowest: UInt64 = 0
    var stackGuard: UInt64 = 0
    /// RSP at the start.
    var stackPointer: UInt64 = 0
    var argumentsStart: UInt64 = 0
    var argumentsEnd: UInt64 = 0
    var environmentEnd: UInt64 = 0

    /// Whether a range reaches into the stack, or what it may still grow to, or its guard.
    func isKeptForStack(_ start: UInt64, _ end: UInt64) -> Bool {
        stackEnd != 0 && end > stackLowest &- (Break.at("stack-guard") ? 0 : stackGuard) && start < stackEnd
    }
}

extension AddressSpace {
    /// Sets the break; what it is afterwards. It stays where it was if the new one is out of range, or the way is not free.
    mutating func setBreak(_ wanted: UInt64) -> UInt64 {
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        let (start, old) = (bounds.breakStart, bounds.breakEnd)
        guard start != 0, wanted >= start, wanted <= bounds.breakLimit, wanted != old else { return old }
        let from = (old &+ 4095) & ~4095
        let to = (wanted &+ 4095) & ~4095
        if to > from {
            guard growHeap(start, from, to) else { return old }
        } else if to < from && !Break.at("heap") {
            do throws(MemoryError) { try remove(to, from) } catch { return old }
        }
        bounds.breakEnd = wanted
        return wanted
    }

    private mutating func growHeap(_ start: UInt64, _ from: UInt64, _ to: UInt64) -> Bool {
        let next = vmas.firstIndex(above: from)
        guard next == vmas.count || vmas[next].start >= to, !bounds.isKeptForStack(from, to) else { return false }
        if from == start {
            do throws(MemoryError) { try vmas.reserve(1) } catch { return false }
            let program = Thread.current?.pointee.program ?? -1
            let vma = VMA(start: start, end: to, protection: [.read, .write], kind: .heap, program: program)
            vmas.insert(vma, at: next)
            return true
        }
        guard next > 0, vmas[next &- 1].kind == .heap, vmas[next &- 1].end == from else { return false }
        vmas[next &- 1].end = to
        return true
    }

    /// The VMA of an address; a stack that has not grown so far yet grows. Locked.
    mutating func vmaGrowing(to address: UInt64) -> VMA? {
        if let found = vmas.find(address) { return found }
        guard address >= bounds.stackLowest, address < bounds.stackEnd, !Break.at("stack") else { return nil }
        let index = vmas.firstIndex(above: address)
        guard index < vmas.count, vmas[index].kind == .stack else { return nil }
        vmas[index].start = address & ~4095
        return vmas[index]
    }

    /// Whether every byte of a range is mapped so that all of `protection` is allowed.
    mutating func allows(_ address: UInt64, _ count: UInt64, _ protection: Protection) -> Bool {
        guard address < Plan.current.vmaEnd, count <= Plan.current.vmaEnd &- address else { return false }
        let state = Memory.lock.acquire()
        defer { Memory.lock.release(state) }
        var next = address
        while next < address &+ count {
            guard let vma = vmaGrowing(to: next), vma.protection.isSuperset(of: protection) else { return false }
            next = vma.end
        }
        return true
    }
}

// Workloads: what gives `watch`, `diff` and `ept` something to look at. The same seed does the same, address by address, on a
// guest in the same state.

/// Numbers that follow from a seed (Knuth's MMIX generator).
struct WorkNumbers {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// A number below `limit`.
    mutating func below(_ limit: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state &>> 33) % limit
    }
}

/// Work that the monitor is asked for.
enum Workloads {
    private static var slots: Int { 32 }
    private static var usage: StaticString {
        "usage: work heap|map|collide SEED ROUNDS, or work fork SEED ROUNDS PROGRAM"
    }

    /// `work KIND SEED ROUNDS [PROGRAM]`: everything taken is given back at the end.
    static func run(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let kind = line.word(), let first = line.word(), let seed = line.number(first), let second = line.word(),
            let rounds = line.number(second), rounds > 0, rounds <= 10_000
        else { return usage }
        var numbers = WorkNumbers(seed: seed)
        var sum: UInt64 = 0
        do throws(MemoryError) {
            if line.matches(kind, "heap") {
                sum = try heap(rounds, &numbers)
            } else if line.matches(kind, "map") {
                sum = try map(rounds, &numbers)
            } else if line.matches(kind, "collide") {
                sum = try MonitorHeap.collide(rounds, &numbers, &out)
            } else if line.matches(kind, "fork") {
                guard let word = line.word(), let program = line.number(word), program < UInt64(Programs.capacity)
                else {
                    return usage
                }
                do throws(ProgramError) {
                    sum = try fork(Int(program), rounds, &numbers)
                } catch {
                    return Programs.refusal(error, &out)
                }
            } else {
                return usage
            }
        } catch {
            out.text("error: ")
            error.write(to: &out)
            out.newline()
            return ""
        }
        out.text("rounds=")
        out.decimal(rounds)
        out.text(" seed=")
        out.decimal(seed)
        out.text(" sum=")
        out.hex(sum)
        out.newline()
        return nil
    }

    /// Blocks of every area come and go; the sum is over their addresses.
    private static func heap(_ rounds: UInt64, _ numbers: inout WorkNumbers) throws(MemoryError) -> UInt64 {
        var blocks = InlineArray<32, UInt64>(repeating: 0)
        defer { for slot in 0..<slots where blocks[slot] != 0 { try? Malloc.free(blocks[slot]) } }
        var sum: UInt64 = 0
        for _ in 0..<rounds {
            let slot = Int(numbers.below(UInt64(slots)))
            if blocks[slot] != 0 { try Malloc.free(blocks[slot]) }
            blocks[slot] = 0
            let size = UInt64(1) &<< numbers.below(17)
            blocks[slot] = try Malloc.allocate(size &+ numbers.below(size))
            write_word(blocks[slot] & ~7, sum)
            sum = sum &* 31 &+ blocks[slot]
        }
        return sum
    }

    /// Mappings come, are touched, change their protection and go, in the address space of the calling thread.
    private static func map(_ rounds: UInt64, _ numbers: inout WorkNumbers) throws(MemoryError) -> UInt64 {
        var starts = InlineArray<32, UInt64>(repeating: 0)
        var sizes = InlineArray<32, UInt64>(repeating: 0)
        let space = AddressSpace.current
        defer {
            for slot in 0..<slots where starts[slot] != 0 { try? space.pointee.unmap(starts[slot], size: sizes[slot]) }
        }
        var sum: UInt64 = 0
        for _ in 0..<rounds {
            let slot = Int(numbers.below(UInt64(slots)))
            if starts[slot] == 0 {
                sizes[slot] = (1 &+ numbers.below(64)) &<< 12
                starts[slot] = try space.pointee.map(at: nil, size: sizes[slot], protection: [.read, .write])
                guard probe_write(starts[slot] &+ numbers.below(sizes[slot]) & ~4095, sum) == 0 else {
                    throw .outOfMemory
                }
            } else if numbers.below(2) == 0 {
                try space.pointee.protect(starts[slot], size: 4096, protection: numbers.below(2) == 0 ? .none : .read)
            } else {
                try space.pointee.unmap(starts[slot], size: sizes[slot])
                starts[slot] = 0
            }
            sum = sum &* 31 &+ starts[slot]
        }
        return sum
    }

    /// Children of a program come and go; the sum is over their numbers.
    private static func fork(_ program: Int, _ rounds: UInt64, _ numbers: inout WorkNumbers) throws(ProgramError)
        -> UInt64
    {
        var children = InlineArray<32, Int>(repeating: -1)
        defer { for slot in 0..<slots where children[slot] >= 0 { _ = Programs.end(children[slot], .exited, 0) } }
        var sum: UInt64 = 0
        for _ in 0..<rounds {
            let slot = Int(numbers.below(UInt64(slots)))
            if children[slot] >= 0 {
                _ = Programs.end(children[slot], .exited, 0)
                children[slot] = -1
            } else {
                children[slot] = try Programs.fork(from: program)
                sum = sum &* 31 &+ UInt64(children[slot])
            }
        }
        return sum
    }
}

// The inner loop: the 512 entries of a last-level table.
//
// Real tables are regular: the next entry is mostly the last one plus a page. So the loop first compares 32 entries at a
// time with what they should be. Where nothing continues anything, the next entry mostly has the same bits besides its
// address: then a second loop opens and ends runs without looking at what the bits mean. Everything else is looked at closely.

import Addresses
import GuestMemory

extension Walker {
    /// Reads 8-byte entries of the last level.
    ///
    /// - Parameters:
    ///   - entries: the first; `count` of them lie in one page.
    ///   - at: its address.
    ///   - base: the virtual address it maps, not yet canonical.
    /// - Returns: how many are present.
    @inlinable mutating func leafTable(
        _ entries: UnsafeRawPointer, count: Int, at: GPA, rule: LeafRule, va base: UInt64, grants: UInt64,
        consumer: inout Consumer
    ) -> Int {
        let first = format.canonical(base)
        let interesting = format.presentMask | options.absentMask
        let presentMask = format.presentMask
        let shift = UInt64(rule.pageShift & 63)
        var present = 0
        var place = 0
        while place < count {
            let va = first &+ UInt64(truncatingIfNeeded: place) << shift
            if current.isOpen && va == current.nextVA && grants == current.pathGrants
                && rule.pageShift == current.run.pageShift && current.room > 0
            {
                let limit = current.step == 0 ? count &- place : Int(min(UInt64(count &- place), current.room))
                let same = matching(
                    entries + place &* 8, limit: limit, expected: current.nextEntry, step: current.step)
                if same > 0 {
                    if current.nextEntry & presentMask != 0 { present &+= same }
                    current.extend(by: UInt64(same))
                    place &+= same
                    continue
                }
            }
            let single = singleLeaves(
                entries + place &* 8, count: count &- place, rule: rule, va: va, grants: grants, consumer: &consumer)
            if single > 0 {
                present &+= single
                place &+= single
                continue
            }
            let entry = entries.load(fromByteOffset: place &* 8, as: UInt64.self)
            if entry & interesting == 0 {
                place &+= 1
                if entry == 0 { place &+= matching(entries + place &* 8, limit: count &- place, expected: 0, step: 0) }
                continue
            }
            let isPresent = entry & presentMask != 0
            if isPresent { present &+= 1 }
            if let run = current.leaf(
                entry, va: va, rule: rule, grants: grants, format: format, isPresent: isPresent,
                ignoring: options.ignoredBits)
            {
                consumer.run(run)
            }
            if current.run.pageCount == 1 && isPresent && rule.wrongBits(of: entry) != 0 {
                report(
                    WalkFinding(
                        kind: .reservedBits, level: 1, at: at &+ UInt64(place &* 8), value: entry, va: GVA(va)))
            }
            place &+= 1
        }
        return present
    }

    /// Leaves with the bits of the open run, none of which continues the one before: each ends a run and opens the next.
    ///
    /// - Returns: how many entries that was; the first that is anything else comes after them.
    @inline(__always) @inlinable mutating func singleLeaves(
        _ entries: UnsafeRawPointer, count: Int, rule: LeafRule, va start: UInt64, grants: UInt64,
        consumer: inout Consumer
    ) -> Int {
        guard
            current.isOpen && start == current.nextVA && grants == current.pathGrants && current.run.isPresent
                && rule.pageShift == current.run.pageShift && rule.allAddressBits == rule.addressMask
                && !current.run.flags.contains(.reserved)
        else { return 0 }
        let addressMask = rule.addressMask
        let pageSize = rule.pageSize
        let bits = current.run.leafBits
        var run = current.run
        var nextAddress = run.gpa.rawValue &+ run.physicalSize
        var va = start
        var place = 0
        while place < count {
            let entry = entries.load(fromByteOffset: place &* 8, as: UInt64.self)
            let address = entry & addressMask
            guard entry == address | bits && address != nextAddress && address != run.gpa.rawValue else { break }
            consumer.run(run)
            run = MappedRun(
                va: GVA(va), gpa: GPA(address), pageCount: 1, pageShift: run.pageShift, flags: run.flags,
                leafBits: bits)
            nextAddress = address &+ pageSize
            va &+= pageSize
            place &+= 1
        }
        if place > 0 { current.restart(run, entry: run.gpa.rawValue | bits, rule: rule) }
        return place
    }

    /// How many entries from `entries` on are `expected`, `expected + step`, and so on; at most `limit`.
    @inline(__always) @inlinable func matching(
        _ entries: UnsafeRawPointer, limit: Int, expected: UInt64, step: UInt64
    ) -> Int {
        guard limit > 0, entries.load(as: UInt64.self) == expected else { return 0 }
        var done = 0
        var wanted = SIMD2<UInt64>(expected, expected &+ step)
        let stride = SIMD2<UInt64>(repeating: step &* 2)
        while done &+ 32 <= limit {
            let block = entries + done &* 8
            let before = wanted
            var even = SIMD2<UInt64>(repeating: 0)
            var odd = SIMD2<UInt64>(repeating: 0)
            for part in 0..<8 {
                even |= block.loadUnaligned(fromByteOffset: part &* 32, as: SIMD2<UInt64>.self) ^ wanted
                wanted &+= stride
                odd |= block.loadUnaligned(fromByteOffset: part &* 32 &+ 16, as: SIMD2<UInt64>.self) ^ wanted
                wanted &+= stride
            }
            let differences = even | odd
            guard differences[0] | differences[1] == 0 else {
                wanted = before
                break
            }
            done &+= 32
        }
        var next = wanted[0]
        while done < limit && entries.load(fromByteOffset: done &* 8, as: UInt64.self) == next {
            next &+= step
            done &+= 1
        }
        return done
    }
}

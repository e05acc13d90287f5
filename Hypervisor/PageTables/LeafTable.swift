// The inner loop: the 512 entries of a last-level table.
//
// Real tables are regular: the next entry is mostly the last one plus a page. So the loop compares eight entries at a time
// with what they should be, and looks at one closely only where that fails.

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

    /// How many entries from `entries` on are `expected`, `expected + step`, and so on; at most `limit`.
    @inline(__always) @inlinable func matching(
        _ entries: UnsafeRawPointer, limit: Int, expected: UInt64, step: UInt64
    ) -> Int {
        guard limit > 0, entries.load(as: UInt64.self) == expected else { return 0 }
        var done = 1
        var wanted = SIMD8<UInt64>(0, 1, 2, 3, 4, 5, 6, 7) &* step &+ (expected &+ step)
        while done &+ 8 <= limit {
            let found = entries.loadUnaligned(fromByteOffset: done &* 8, as: SIMD8<UInt64>.self)
            guard found == wanted else { break }
            wanted &+= step &* 8
            done &+= 8
        }
        while done < limit {
            let entry = entries.load(fromByteOffset: done &* 8, as: UInt64.self)
            guard entry == expected &+ UInt64(truncatingIfNeeded: done) &* step else { break }
            done &+= 1
        }
        return done
    }
}

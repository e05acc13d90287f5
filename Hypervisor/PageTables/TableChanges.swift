// Whether tables changed while they were read.

import Addresses
import GuestMemory

/// Tables that are not any more what a walk has read.
public struct TableChanges: Hashable, Sendable {
    /// How many tables were looked at again.
    public let checked: Int
    /// How many of them changed.
    public let changed: Int
    /// The first few that changed.
    public let examples: [GPA]
}

/// Reads every table of a walk a second time and compares hashes. Accessed and dirty bits do not count as changes.
///
/// - Parameter summary: of a walk with `WalkOptions.detectsChanges`.
public func tableChanges(
    since summary: WalkSummary, format: PageTableFormat, memory: some PhysicalMemory
) -> TableChanges {
    var changed = 0
    var checked = 0
    var examples: [GPA] = []
    let mask = ~format.volatileMask
    memory.refresh()
    for table in summary.hashes {
        checked += 1
        var checksum: UInt64 = 0
        var offset = table.hashed.lowerBound
        repeat {
            if let page = memory.page(at: table.gpa &+ offset) { checksum ^= tableChecksum(page, mask: mask) }
            offset = (table.gpa &+ offset).alignedDown(to: 4096) &+ 4096 &- table.gpa
        } while offset < table.hashed.upperBound
        if checksum != table.checksum {
            changed += 1
            if examples.count < 8 { examples.append(table.gpa) }
        }
    }
    return TableChanges(checked: checked, changed: changed, examples: examples)
}

/// A hash of the 4 KiB from `page` on, never 0; four independent lanes, because a multiplication takes longer than a load.
@inlinable func tableChecksum(_ page: UnsafeRawPointer, mask: UInt64) -> UInt64 {
    var lanes: (UInt64, UInt64, UInt64, UInt64) = (1, 2, 3, 4)
    let factor: UInt64 = 0x9e37_79b9_7f4a_7c15
    var offset = 0
    while offset < 4096 {
        lanes.0 = (lanes.0 ^ page.load(fromByteOffset: offset, as: UInt64.self) & mask) &* factor
        lanes.1 = (lanes.1 ^ page.load(fromByteOffset: offset &+ 8, as: UInt64.self) & mask) &* factor
        lanes.2 = (lanes.2 ^ page.load(fromByteOffset: offset &+ 16, as: UInt64.self) & mask) &* factor
        lanes.3 = (lanes.3 ^ page.load(fromByteOffset: offset &+ 24, as: UInt64.self) & mask) &* factor
        offset &+= 32
    }
    let sum = lanes.0 ^ lanes.1 >> 7 ^ lanes.2 >> 13 ^ lanes.3 >> 29 ^ (lanes.1 &+ lanes.2 &* 3 &+ lanes.3 &* 5)
    return sum == 0 ? 1 : sum
}

extension PageTableFormat {
    /// The bits of an entry that the processor sets by itself: accessed and dirty.
    @inlinable public var volatileBits: UInt64 {
        flagRules.reduce(0) { bits, rule in
            rule.source == .leaf && (rule.flag == .accessed || rule.flag == .dirty) ? bits | rule.rule.mask : bits
        }
    }

    /// The same bits in each entry of an 8-byte word.
    @inlinable var volatileMask: UInt64 {
        entrySize == 8 ? volatileBits : volatileBits & 0xffff_ffff | volatileBits << 32
    }
}

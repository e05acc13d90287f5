// Leaves larger than what one entry covers: ARM's supersections and large pages, which take 16 equal entries in a row.

import Addresses
import GuestMemory

extension Walker {
    /// Hands out a wide leaf: the whole page if all its entries are there and equal, else the part that one entry covers.
    ///
    /// - Parameters:
    ///   - count: how many equal entries there are: all of the page's, or 1.
    ///   - at: the first of them.
    ///   - va: its virtual address.
    /// - Returns: how many leaves that are present it was.
    @inlinable mutating func wideLeaf(
        _ entry: UInt64, rule: LeafRule, count: Int, at: GPA, level number: Int, description level: PageTableLevel,
        va: UInt64, grants: UInt64, consumer: inout Consumer
    ) -> UInt64 {
        let covered = level.coverage &* UInt64(truncatingIfNeeded: count)
        if options.range != nil && !(va <= last && va &+ (covered &- 1) >= first) { return 0 }
        let isPresent = entry & format.presentMask != 0
        let isWhole = count > 1
        let offset = isWhole ? 0 : va & (rule.pageSize &- 1) & ~(level.coverage &- 1)
        if let repeated = current.takeRepetition() { consumer.repeated(repeated) }
        if let run = current.leaf(
            entry, va: va, rule: isWhole ? rule : rule.narrowed(to: level.shift), grants: grants, format: format,
            isPresent: isPresent, ignoring: options.ignoredBits, offset: offset)
        {
            consumer.run(run)
        }
        guard isPresent else { return 0 }
        if rule.wrongBits(of: entry) != 0 {
            report(WalkFinding(kind: .reservedBits, level: number, at: at, value: entry, va: GVA(va)))
        }
        if Consumer.wantsEntries {
            for index in 0..<UInt64(truncatingIfNeeded: count) {
                let entryAt = at &+ index &* UInt64(truncatingIfNeeded: format.entrySize)
                consumer.entry(
                    WalkEntry(
                        entry: TranslationEntry(level: number, at: entryAt, value: entry),
                        va: GVA(va &+ index &* level.coverage),
                        target: GPA(rule.address(of: entry) | offset &+ index &* level.coverage), isLeaf: true,
                        flags: current.run.flags, pageShift: level.shift))
            }
        }
        return 1
    }
}

// From a physical range back to every virtual address that reaches it.

import Addresses
import GuestMemory

/// Virtual addresses that reach (a part of) a physical range: one, or several at equal distances.
@frozen public struct Alias: Hashable, Sendable {
    /// The first virtual address.
    public var va: GVA
    /// The physical address behind it.
    public var gpa: GPA
    /// Bytes reached from there on, within the range asked for.
    public var size: UInt64
    /// How often the same bytes are reached, `stride` bytes of virtual addresses apart.
    public var count: UInt64
    /// The distance from one to the next; 0 if there is one only.
    public var stride: UInt64
    /// The size of the pages.
    public let pageSize: UInt64
    /// Effective permissions.
    public var flags: PageFlags
}

/// Every virtual address of a physical range.
public struct Aliases: Sendable {
    /// By ascending virtual address.
    public internal(set) var aliases: [Alias] = []
    /// True if there are more than `limit`.
    public internal(set) var isTruncated = false

    /// Virtual addresses in all, repetitions counted.
    public var count: UInt64 { aliases.reduce(0) { $0.saturating(adding: $1.count) } }
}

/// Finds every virtual address that reaches a physical range, also inside large pages and behind tables used twice.
///
/// - Parameters:
///   - range: physical addresses; a page is `gpa...gpa + 4095`.
///   - limit: at most so many entries in the result.
public func aliases(
    of range: ClosedRange<GPA>, root: GPA, format: PageTableFormat, memory: some PhysicalMemory, limit: Int = 100_000
) -> (Aliases, WalkSummary) {
    aliases(of: [range], root: root, format: format, memory: memory, limit: limit)
}

/// The same for several physical ranges, by ascending address, none overlapping another.
public func aliases(
    of ranges: [ClosedRange<GPA>], root: GPA, format: PageTableFormat, memory: some PhysicalMemory,
    limit: Int = 100_000
) -> (Aliases, WalkSummary) {
    var search = AliasSearch(ranges: ranges, limit: limit)
    var options = WalkOptions()
    options.ignoredBits = format.volatileBits
    let summary = walk(root: root, format: format, memory: memory, options: options, into: &search)
    var result = Aliases()
    result.aliases = search.found.sorted { $0.va < $1.va }
    result.isTruncated = search.isTruncated || !summary.isComplete
    return (result, summary)
}

/// Gathers aliases from runs.
struct AliasSearch: WalkConsumer {
    /// By ascending address.
    let ranges: [ClosedRange<GPA>]
    let limit: Int
    var found: [Alias] = []
    var isTruncated = false

    init(ranges: [ClosedRange<GPA>], limit: Int) {
        self.ranges = ranges
        self.limit = limit
    }

    mutating func add(_ alias: Alias) {
        if found.count < limit { found.append(alias) } else { isTruncated = true }
    }

    mutating func run(_ run: MappedRun) {
        guard run.isPresent else { return }
        var index = firstRange(endingAtOrAbove: run.gpa)
        while index < ranges.count && ranges[index].lowerBound <= run.lastGPA {
            let low = max(run.gpa, ranges[index].lowerBound)
            let high = min(run.lastGPA, ranges[index].upperBound)
            add(
                Alias(
                    va: run.va &+ (low &- run.gpa), gpa: low, size: (high &- low) &+ 1,
                    count: run.repeatsPage ? run.pageCount : 1, stride: run.repeatsPage ? run.pageSize : 0,
                    pageSize: run.pageSize, flags: run.flags))
            index += 1
        }
    }

    private func firstRange(endingAtOrAbove address: GPA) -> Int {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < address { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// What was found below the table the first time is there again, `count` times.
    mutating func repeated(_ table: RepeatedTable) {
        let permissions: PageFlags = [.readable, .writable, .executable, .user]
        for alias in found where alias.va &- table.firstVA < table.coverage {
            var copy = alias
            copy.flags = alias.flags.subtracting(permissions.subtracting(table.flags))
            copy.va = table.va &+ (alias.va &- table.firstVA)
            if alias.count == 1 {
                copy.count = table.count
                copy.stride = table.count > 1 ? table.coverage : 0
                add(copy)
            } else if alias.count &* alias.stride == table.coverage && alias.va &- table.firstVA < alias.stride {
                // It fills the table evenly, so it goes on evenly.
                copy.count = alias.count &* table.count
                add(copy)
            } else {
                var index: UInt64 = 0
                while index < table.count && !isTruncated {
                    add(copy)
                    copy.va = copy.va &+ table.coverage
                    index &+= 1
                }
            }
        }
    }
}

// Things that are the same but for their address, and lie at equal distances: one line instead of many.

import Addresses
import PageTables

/// Something at an address.
protocol Addressed {
    var va: GVA { get }
    /// Whether it is the same as another but for the address.
    func isSame(as other: Self) -> Bool
}

/// Several of them at equal distances, or one.
struct EqualRow<Item: Addressed> {
    /// The first of them.
    let first: Item
    /// How many there are: one, or three and more.
    let count: UInt64
    /// The distance from one to the next; 0 if there is one only.
    let stride: UInt64

    /// The address of the last.
    var lastVA: GVA { first.va &+ (count &- 1) &* stride }
    /// `32 times, every 64K`, or nil if there is one only.
    var times: String? { count > 1 ? "\(grouped(count)) times, every \(formatSize(stride))" : nil }
}

/// Finds rows among items that come by ascending address.
struct RowGatherer<Item: Addressed> {
    private var items: [Item] = []
    private var count: UInt64 = 0
    private var stride: UInt64 = 0

    /// Takes the next item.
    ///
    /// - Returns: rows that it does not belong to and that are complete now.
    mutating func add(_ item: Item) -> [EqualRow<Item>] {
        guard let first = items.first else {
            items = [item]
            count = 1
            return []
        }
        guard item.isSame(as: first) else {
            let ended = end()
            items = [item]
            count = 1
            return ended
        }
        if count == 1 {
            items.append(item)
            stride = item.va &- first.va
            count = 2
            return []
        }
        if item.va == first.va &+ count &* stride {
            count += 1
            return []
        }
        // Two do not make a row: the second may begin another one.
        if count == 2, let second = items.last {
            items = [second, item]
            stride = item.va &- second.va
            return [EqualRow(first: first, count: 1, stride: 0)]
        }
        let ended = end()
        items = [item]
        count = 1
        return ended
    }

    /// What is left.
    mutating func end() -> [EqualRow<Item>] {
        defer {
            items = []
            count = 0
        }
        guard let first = items.first else { return [] }
        if count > 2 { return [EqualRow(first: first, count: count, stride: stride)] }
        return items.map { EqualRow(first: $0, count: 1, stride: 0) }
    }
}

extension AnnotatedRange: Addressed {
    func isSame(as other: AnnotatedRange) -> Bool {
        var moved = other
        moved.va = va
        return self == moved && kind != .absent
    }
}

extension RepeatedTable: Addressed {
    func isSame(as other: RepeatedTable) -> Bool {
        self
            == RepeatedTable(
                table: other.table, level: other.level, va: va, count: other.count, coverage: other.coverage,
                firstVA: other.firstVA, leaves: other.leaves, flags: other.flags)
    }
}

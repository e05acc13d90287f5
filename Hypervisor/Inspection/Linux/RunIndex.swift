// Runs by ascending virtual address, and what lies where among them.

import Addresses
import PageTables

/// Runs that can be asked what is mapped at an address.
struct RunIndex {
    /// By ascending address, none overlapping another.
    let runs: [MappedRun]

    init(_ runs: [MappedRun]) { self.runs = runs }

    /// The first run that ends at or above an address.
    func firstIndex(endingAtOrAbove address: UInt64) -> Int {
        var low = 0
        var high = runs.count
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].lastVA.rawValue < address { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The run that maps an address, or nil.
    func run(at address: UInt64) -> MappedRun? {
        let index = firstIndex(endingAtOrAbove: address)
        guard index < runs.count, runs[index].va.rawValue <= address else { return nil }
        return runs[index]
    }

    /// The runs that touch addresses.
    func touching(_ first: UInt64, _ last: UInt64) -> ArraySlice<MappedRun> {
        let start = firstIndex(endingAtOrAbove: first)
        var end = start
        while end < runs.count && runs[end].va.rawValue <= last { end += 1 }
        return runs[start..<end]
    }

    /// How many bytes from `first` to `last` lie in runs.
    func mappedBytes(_ first: UInt64, _ last: UInt64) -> UInt64 {
        touching(first, last).reduce(0) { sum, run in
            sum &+ (min(last, run.lastVA.rawValue) &- max(first, run.va.rawValue) &+ 1)
        }
    }
}

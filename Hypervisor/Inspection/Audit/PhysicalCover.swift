// Which physical memory is reached by some of the runs, in order n log n of their number, whatever their sizes.

import Addresses
import PageTables

/// Physical ranges in ascending order, none overlapping another, each with one run that maps all of it.
struct PhysicalCover {
    /// A range, and the number of a run that maps it.
    struct Piece: Equatable {
        let first: UInt64
        let last: UInt64
        let run: Int
    }

    let pieces: [Piece]

    /// The cover by those runs that meet a condition.
    init(_ runs: [MappedRun], where isWanted: (MappedRun) -> Bool) {
        let chosen = runs.indices.filter { isWanted(runs[$0]) }.sorted { runs[$0].gpa < runs[$1].gpa }
        var pieces: [Piece] = []
        for index in chosen {
            let (first, last) = (runs[index].gpa.rawValue, runs[index].lastGPA.rawValue)
            // Addresses that wrap around cannot be: no format has so many bits. A run that would is left alone.
            guard first <= last else { continue }
            let covered = pieces.last?.last
            if let covered, covered >= last { continue }
            pieces.append(Piece(first: max(first, covered.map { $0 &+ 1 } ?? 0), last: last, run: index))
        }
        self.pieces = pieces
    }

    /// Ranges that both covers reach, with a run of each.
    func intersection(_ other: PhysicalCover) -> [(first: UInt64, last: UInt64, mine: Int, others: Int)] {
        var found: [(first: UInt64, last: UInt64, mine: Int, others: Int)] = []
        var (a, b) = (0, 0)
        while a < pieces.count && b < other.pieces.count {
            let first = max(pieces[a].first, other.pieces[b].first)
            let last = min(pieces[a].last, other.pieces[b].last)
            if first <= last { found.append((first, last, pieces[a].run, other.pieces[b].run)) }
            if pieces[a].last < other.pieces[b].last { a += 1 } else { b += 1 }
        }
        return found
    }

    /// The number of a run that maps an address, or nil.
    func run(at address: UInt64) -> Int? {
        var low = 0
        var high = pieces.count
        while low < high {
            let middle = (low + high) / 2
            if pieces[middle].last < address { low = middle + 1 } else { high = middle }
        }
        guard low < pieces.count, pieces[low].first <= address else { return nil }
        return pieces[low].run
    }
}

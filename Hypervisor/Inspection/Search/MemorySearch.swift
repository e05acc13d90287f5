// `vitrine search`: a pattern in the memory behind the mappings.
//
// Memory is read once however often it is mapped: first the physical ranges behind the mappings, each in one piece, then the
// seams, where what follows virtually does not follow physically or is another mapping. A match within a mapping is found by the
// first, one that crosses into the next mapping by the second, so none is found twice.

import Addresses
import GuestMemory
import PageTables
import Targets

/// A place where the pattern is.
public struct SearchMatch: Sendable, Equatable {
    /// The lowest virtual address it is seen at.
    public var va: GVA
    /// The physical address of its first byte.
    public var gpa: GPA
    /// How many virtual addresses it is seen at, in the mappings that were asked for.
    public var count: UInt64
    /// Flags of the mapping at `va`.
    public var flags: PageFlags
    /// The region of `va`, or nil.
    public var region: String?
    /// Bytes from its first on, as they were after it was found: 16, or as many as the pattern has.
    public var bytes: [UInt8]
}

/// What a search found.
public struct SearchResult: Sendable {
    /// The matches, by ascending virtual address; at most as many as were asked for, those at the lowest physical addresses.
    public internal(set) var matches: [SearchMatch] = []
    /// How many places in physical memory match.
    public internal(set) var count: UInt64 = 0
    /// Bytes of physical memory that were looked at; what was never written is not among them.
    public internal(set) var bytes: UInt64 = 0
    /// How many ranges are mapped there and were asked for.
    public internal(set) var ranges = 0
    /// What the walk over the tables said.
    public let summary: WalkSummary
    /// Mappings that repeat a table: what is behind them is searched, their virtual addresses are not counted.
    public let repetitions: Int
}

/// Looks for a pattern in the memory behind a subject's mappings.
///
/// - Parameters:
///   - range: virtual addresses of interest; nil: all.
///   - filter: which mappings are of interest.
///   - types: the guest's PAT, for the filter.
///   - alignment: what the physical address of a match has to be a multiple of, a power of two.
///   - limit: how many matches are kept; all are counted.
///   - memory: the subject's memory; its tables may be of another moment, its bytes are live.
public func searchMemory(
    of subject: Subject, for pattern: SearchPattern, in range: ClosedRange<GVA>? = nil, filter: RangeFilter? = nil,
    types: PageAttributeTable = .atReset, alignment: UInt64 = 1, limit: Int = 1000, memory: TargetMemory
) -> SearchResult {
    let (collector, summary) = subject.runs(in: range)
    var pieces: [AnnotatedRange] = []
    var annotator = RangeAnnotator(layout: subject.layout, slots: subject.slots)
    for run in collector.runs {
        annotator.annotate(run) { piece in
            guard piece.kind == .ram, filter?.matches(piece, types: types) ?? true else { return }
            pieces.append(piece)
        }
    }
    var search = MemorySearch(
        pieces: pieces, pattern: pattern, alignment: alignment, limit: limit, memory: memory,
        result: SearchResult(summary: summary, repetitions: collector.repetitions.count))
    search.searchPhysical()
    search.searchSeams()
    search.result.matches.sort { $0.va < $1.va }
    return search.result
}

private struct MemorySearch {
    /// What is searched, by ascending virtual address.
    let pieces: [AnnotatedRange]
    let index: PhysicalIndex
    let scanner: PatternScanner
    let alignment: UInt64
    let limit: Int
    let memory: TargetMemory
    var result: SearchResult

    init(
        pieces: [AnnotatedRange], pattern: SearchPattern, alignment: UInt64, limit: Int, memory: TargetMemory,
        result: SearchResult
    ) {
        self.pieces = pieces
        index = PhysicalIndex(pieces)
        scanner = PatternScanner(pattern)
        self.alignment = max(1, alignment)
        self.limit = limit
        self.memory = memory
        self.result = result
        self.result.ranges = pieces.count
    }

    private var length: UInt64 { UInt64(scanner.pattern.values.count) }

    /// The physical memory behind the pieces, each byte once.
    mutating func searchPhysical() {
        for range in index.ranges {
            var carried = Tail(limit: scanner.pattern.values.count - 1)
            forEachPiece(of: range) { search, gpa, bytes in
                search.result.bytes &+= UInt64(bytes.count)
                // A match may begin in the piece before and end in this one.
                if let joined = carried.join(gpa, bytes) { search.scan(joined.bytes, at: joined.gpa) }
                search.scan(bytes, at: gpa)
                carried.keep(gpa, bytes)
            }
        }
    }

    /// Hands over pieces of memory of 1 MiB at most.
    private mutating func forEachPiece(
        of range: ClosedRange<GPA>, _ body: (inout MemorySearch, GPA, UnsafeRawBufferPointer) -> Void
    ) {
        let step = 1 << 20
        if case .mapped(let mapped) = memory {
            mapped.populated(range) { gpa, bytes in
                var offset = 0
                while offset < bytes.count {
                    let end = min(offset + step, bytes.count)
                    body(&self, gpa &+ UInt64(offset), UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
                    offset = end
                }
            }
            return
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: step, alignment: 4096)
        defer { buffer.deallocate() }
        var gpa = range.lowerBound
        while true {
            let left = (range.upperBound &- gpa) &+ 1
            let count = Int(min(UInt64(step), left))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
            if memory.read(gpa, into: part) { body(&self, gpa, UnsafeRawBufferPointer(part)) }
            guard left > UInt64(step), let next = gpa.advanced(by: UInt64(step)) else { return }
            gpa = next
        }
    }

    /// Matches within one mapping.
    private mutating func scan(_ bytes: UnsafeRawBufferPointer, at gpa: GPA) {
        scanner.scan(bytes) { place in
            let address = gpa &+ UInt64(place)
            guard address.isAligned(to: alignment) else { return }
            let (lowest, count) = index.mappings(of: address, count: length, in: pieces)
            guard let lowest else { return }
            result.count &+= 1
            guard result.matches.count < limit else { return }
            let piece = pieces[lowest.piece]
            add(va: lowest.va, gpa: address, count: count, piece: piece)
        }
    }

    /// Matches that cross from one mapping into the next, or from one repetition of a page into the next.
    mutating func searchSeams() {
        guard length > 1 else { return }
        for place in pieces.indices {
            let piece = pieces[place]
            let last = piece.va &+ (piece.size &- 1)
            if piece.repeatsPage && piece.size > piece.pageSize {
                let end = piece.gpa &+ piece.pageSize
                searchSeam(
                    before: end, after: piece.gpa, va: piece.va &+ piece.pageSize, piece: piece,
                    times: piece.size / piece.pageSize &- 1)
            }
            guard place + 1 < pieces.count, pieces[place + 1].va == last &+ 1 else { continue }
            let end = piece.gpa &+ (piece.repeatsPage ? piece.pageSize : piece.size)
            searchSeam(before: end, after: pieces[place + 1].gpa, va: pieces[place + 1].va, piece: piece, times: 1)
        }
    }

    /// - Parameters:
    ///   - before: the physical address after the last byte of the mapping before the seam.
    ///   - after: the physical address of the first byte after it.
    ///   - va: its virtual address.
    private mutating func searchSeam(before: GPA, after: GPA, va: GVA, piece: AnnotatedRange, times: UInt64) {
        let reach = length - 1
        // Where a match may begin: `reach` bytes before the seam.
        let start = before &+ (0 &- reach)
        guard piece.pageSize >= reach,
            let head = memory.bytes(at: start, count: Int(reach)),
            let tail = memory.bytes(at: after, count: Int(reach))
        else { return }
        (head + tail).withUnsafeBytes { bytes in
            scanner.scan(bytes) { place in
                let gpa = start &+ UInt64(place)
                guard gpa.isAligned(to: alignment) else { return }
                result.count &+= 1
                guard result.matches.count < limit else { return }
                add(
                    va: va &+ (UInt64(place) &- reach), gpa: gpa, count: times, piece: piece,
                    bytes: Array(bytes[place...]))
            }
        }
    }

    private mutating func add(va: GVA, gpa: GPA, count: UInt64, piece: AnnotatedRange, bytes: [UInt8]? = nil) {
        let wanted = max(16, Int(length))
        let shown = bytes ?? memory.bytes(at: gpa, count: wanted) ?? memory.bytes(at: gpa, count: Int(length)) ?? []
        result.matches.append(
            SearchMatch(
                va: va, gpa: gpa, count: count, flags: piece.flags, region: piece.region,
                bytes: Array(shown.prefix(wanted))))
    }
}

/// The last bytes of the piece of memory before this one.
private struct Tail {
    let limit: Int
    private var end: GPA?
    private var bytes: [UInt8] = []

    init(limit: Int) { self.limit = limit }

    /// The end of what came before and the beginning of what follows, if it follows at once.
    func join(_ gpa: GPA, _ next: UnsafeRawBufferPointer) -> (gpa: GPA, bytes: [UInt8])? {
        guard end == gpa, !bytes.isEmpty else { return nil }
        return (gpa &+ (0 &- UInt64(bytes.count)), bytes + next.prefix(limit))
    }

    mutating func keep(_ gpa: GPA, _ next: UnsafeRawBufferPointer) {
        end = gpa.advanced(by: UInt64(next.count))
        bytes = Array(next.suffix(limit))
    }
}

extension MemorySearch {
    private mutating func scan(_ bytes: [UInt8], at gpa: GPA) { bytes.withUnsafeBytes { scan($0, at: gpa) } }
}

/// The mappings by physical address.
private struct PhysicalIndex {
    /// Every byte that is mapped, in ascending ranges that do not touch.
    let ranges: [ClosedRange<GPA>]
    /// The pieces by ascending physical address; `reach` is the highest physical address up to here.
    private let order: [(first: UInt64, last: UInt64, reach: UInt64, piece: Int)]

    init(_ pieces: [AnnotatedRange]) {
        var sorted = pieces.indices.map { place in
            let piece = pieces[place]
            let size = piece.repeatsPage ? piece.pageSize : piece.size
            let first = piece.gpa.rawValue
            return (first: first, last: first &+ (size &- 1), reach: 0 as UInt64, piece: place)
        }
        sorted.sort { ($0.first, $0.piece) < ($1.first, $1.piece) }
        var ranges: [ClosedRange<GPA>] = []
        var reach: UInt64 = 0
        for place in sorted.indices {
            let (first, last) = (sorted[place].first, sorted[place].last)
            if let open = ranges.last, first <= open.upperBound.rawValue &+ 1, open.upperBound.rawValue != .max {
                ranges[ranges.count - 1] = open.lowerBound...GPA(max(open.upperBound.rawValue, last))
            } else if first <= last {
                ranges.append(GPA(first)...GPA(last))
            }
            reach = max(reach, last)
            sorted[place].reach = reach
        }
        self.ranges = ranges
        order = sorted
    }

    /// The lowest virtual address of some physical bytes, and at how many they are seen within one mapping each.
    func mappings(
        of gpa: GPA, count: UInt64, in pieces: [AnnotatedRange]
    ) -> (lowest: (va: GVA, piece: Int)?, count: UInt64) {
        let first = gpa.rawValue
        let last = first &+ (count &- 1)
        var low = 0
        var high = order.count
        while low < high {
            let middle = (low + high) / 2
            if order[middle].first <= first { low = middle + 1 } else { high = middle }
        }
        var lowest: (va: GVA, piece: Int)?
        var times: UInt64 = 0
        while low > 0, order[low - 1].reach >= last {
            low -= 1
            guard order[low].last >= last else { continue }
            let piece = pieces[order[low].piece]
            let va = piece.va &+ (first &- order[low].first)
            times &+= piece.repeatsPage ? piece.size / max(piece.pageSize, 1) : 1
            if lowest.map({ va < $0.va }) ?? true { lowest = (va, order[low].piece) }
        }
        return (lowest, times)
    }
}

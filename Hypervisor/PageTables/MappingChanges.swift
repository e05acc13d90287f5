// What differs between two sets of mappings: two moments, two machines, two roots.
//
//     before   |----- 2M -----|-- 4K ..--|          |--4K--|
//     after    |----- 2M -----|     |--- 4K ro -----|--4K--|
//     changes                 |  -  |~~~~|    +     |
//
// Both are read side by side, by ascending virtual address; how a list is cut into runs does not matter.

import Addresses

/// What an address is mapped to, and how.
public struct MappedState: Hashable, Sendable {
    /// The physical address behind the first address of the range that this is about.
    public var gpa: GPA
    /// Binary logarithm of the page size.
    public var pageShift: UInt8
    /// True if every page of the range maps the same physical page.
    public var repeatsPage: Bool
    /// Effective permissions and other attributes; empty if the entries are not present.
    public var flags: PageFlags
    /// The leaf without its address bits.
    public var leafBits: UInt64

    /// A state.
    public init(gpa: GPA, pageShift: UInt8, repeatsPage: Bool = false, flags: PageFlags, leafBits: UInt64) {
        self.gpa = gpa
        self.pageShift = pageShift
        self.repeatsPage = repeatsPage
        self.flags = flags
        self.leafBits = leafBits
    }

    /// What a run maps `offset` bytes after its first address.
    init(_ run: MappedRun, offset: UInt64) {
        let inside = run.repeatsPage ? offset & (run.pageSize &- 1) : offset
        self.init(
            gpa: run.gpa &+ inside, pageShift: run.pageShift, repeatsPage: run.repeatsPage && run.pageCount > 1,
            flags: run.flags, leafBits: run.leafBits)
    }

    /// The page size in bytes.
    public var pageSize: UInt64 { 1 << UInt64(pageShift & 63) }
    /// False for entries that are not present but carry a software bit that was asked for.
    public var isPresent: Bool { !flags.isEmpty }

    /// The same `distance` bytes on.
    func moved(by distance: UInt64) -> MappedState {
        var state = self
        if repeatsPage {
            let page = gpa.rawValue & ~(pageSize &- 1)
            state.gpa = GPA(page | (gpa.rawValue &+ distance) & (pageSize &- 1))
        } else {
            state.gpa = gpa &+ distance
        }
        return state
    }

    /// Whether everything but the physical address is the same.
    func hasSameAttributes(as other: MappedState) -> Bool {
        pageShift == other.pageShift && flags == other.flags && leafBits == other.leafBits
    }
}

/// A range of virtual addresses that changed evenly.
public struct MappingChange: Hashable, Sendable {
    /// The first virtual address.
    public var va: GVA
    /// Bytes of virtual addresses.
    public var size: UInt64
    /// What was there; nil: nothing.
    public var from: MappedState?
    /// What is there; nil: nothing.
    public var to: MappedState?
    /// True if every page kept its physical address, but these do not follow each other: the states name the first.
    public var isScattered: Bool

    /// A change.
    public init(va: GVA, size: UInt64, from: MappedState?, to: MappedState?, isScattered: Bool = false) {
        self.va = va
        self.size = size
        self.from = from
        self.to = to
        self.isScattered = isScattered
    }

    /// The last virtual address.
    public var lastVA: GVA { va &+ (size &- 1) }
}

/// What counts as a change.
public struct ComparisonOptions: Sendable {
    /// Whether accessed and dirty bits count.
    public var countsAccessed = false
    /// Virtual addresses of interest; nil: all.
    public var range: ClosedRange<GVA>?
    /// So many pieces are compared at most: tables that are repeated within each other unfold to more than anybody can wait for.
    public var stepLimit: UInt64 = 1 << 28

    /// All addresses, without accessed and dirty bits.
    public init() {}
}

/// How a comparison ended.
public struct ComparisonSummary: Hashable, Sendable {
    /// Whether everything was compared.
    public internal(set) var isComplete = true
    /// Where it stopped if not.
    public internal(set) var stoppedAt: GVA?
}

/// Compares two lists of mappings and hands the changes to `body`, by ascending virtual address, as long as it returns true.
///
/// - Parameters:
///   - before: what was mapped.
///   - beforeFormat: the format of its tables; where the bits of entries mean something else than in `afterFormat`, only
///     the flags are compared.
///   - after: what is mapped.
///   - afterFormat: the format of its tables.
public func compareMappings(
    _ before: MappingList, _ beforeFormat: PageTableFormat, _ after: MappingList, _ afterFormat: PageTableFormat,
    options: ComparisonOptions = ComparisonOptions(), _ body: (MappingChange) throws -> Bool
) rethrows -> ComparisonSummary {
    try withoutActuallyEscaping(body) { body in
        var comparison = MappingComparison(
            before: before, beforeFormat, after: after, afterFormat, options: options)
        return try comparison.run(body)
    }
}

extension PageTableFormat {
    /// Whether an entry's bits mean the same in another format, so that they can be compared.
    func hasSameBits(as other: PageTableFormat) -> Bool {
        entrySize == other.entrySize && presentMask == other.presentMask && flagRules == other.flagRules
    }
}

/// Two cursors side by side.
private struct MappingComparison {
    private var before: MappingCursor
    private var after: MappingCursor
    private let options: ComparisonOptions
    private let keptFlags: PageFlags
    private let keptBits: (before: UInt64, after: UInt64)
    private let comparesBits: Bool
    private var pending: MappingChange?
    /// Where the last change ended, or nil if there was none.
    private var lastChanged: UInt64?

    init(
        before: MappingList, _ beforeFormat: PageTableFormat, after: MappingList, _ afterFormat: PageTableFormat,
        options: ComparisonOptions
    ) {
        self.before = MappingCursor(before)
        self.after = MappingCursor(after)
        self.options = options
        keptFlags =
            options.countsAccessed
            ? PageFlags(rawValue: .max) : PageFlags(rawValue: .max).subtracting([.accessed, .dirty])
        keptBits =
            options.countsAccessed ? (.max, .max) : (~beforeFormat.volatileBits, ~afterFormat.volatileBits)
        comparesBits = beforeFormat.hasSameBits(as: afterFormat)
    }

    mutating func run(_ body: (MappingChange) throws -> Bool) rethrows -> ComparisonSummary {
        var position = options.range?.lowerBound.rawValue ?? 0
        let end = options.range?.upperBound.rawValue ?? .max
        var steps: UInt64 = 0
        var summary = ComparisonSummary()
        while let next = nextStart(from: position), next <= end {
            position = max(position, next)
            drop(upTo: position == 0 ? nil : position &- 1)
            steps &+= 1
            guard steps <= options.stepLimit, before.isSound, after.isSound else {
                summary.isComplete = false
                summary.stoppedAt = GVA(position)
                break
            }
            if passCopies(at: position) { continue }
            guard let (last, from, to) = piece(at: position, end: end) else { continue }
            if !isSame(from, to), let done = add(position, last, from, to), try !body(done) {
                summary.isComplete = false
                summary.stoppedAt = GVA(position)
                pending = nil
                break
            }
            if last == .max { break }
            position = last &+ 1
        }
        if !before.isSound || !after.isSound { summary.isComplete = false }
        if let pending, try !body(pending) { summary.isComplete = false }
        return summary
    }

    /// Where the next item of either side begins.
    private func nextStart(from position: UInt64) -> UInt64? {
        switch (before.item?.first, after.item?.first) {
        case (let first?, let second?): return max(position, min(first, second))
        case (let one?, nil), (nil, let one?): return max(position, one)
        case (nil, nil): return nil
        }
    }

    /// Passes marks of copies; where both sides repeat what was the same just before, the copies are passed with them.
    ///
    /// - Returns: whether there was one.
    private mutating func passCopies(at position: UInt64) -> Bool {
        var passed = false
        if case .copy(let va, let coverage, let left) = before.item, va <= position,
            case .copy(let otherVA, let otherCoverage, let otherLeft) = after.item, otherVA == va, va == position,
            otherCoverage == coverage, lastChanged.map({ $0 < va &- coverage }) ?? true
        {
            let count = min(left, otherLeft)
            before.skipCopies(count)
            after.skipCopies(count)
            return true
        }
        if case .copy(let va, _, _) = before.item, va <= position {
            before.advance()
            passed = true
        }
        if case .copy(let va, _, _) = after.item, va <= position {
            after.advance()
            passed = true
        }
        return passed
    }

    /// The largest piece from `position` on in which both sides are even.
    private mutating func piece(at position: UInt64, end: UInt64) -> (UInt64, MappedState?, MappedState?)? {
        var last = end
        func state(_ item: CursorItem?, bits: UInt64) -> MappedState? {
            guard let item else { return nil }
            guard case .piece(let piece) = item, piece.first <= position else {
                if item.first > position { last = min(last, item.first &- 1) }
                return nil
            }
            last = min(last, piece.last)
            var state = piece.state.moved(by: position &- piece.first)
            state.flags.formIntersection(keptFlags)
            // A mapping stays one, whatever is left out.
            if piece.state.isPresent && state.flags.isEmpty { state.flags = .noAccess }
            state.leafBits &= bits
            if state.repeatsPage {
                // Whole pages, or the rest of one.
                let offset = position & (state.pageSize &- 1)
                if offset != 0 || last &- position < state.pageSize &- 1 {
                    last = min(last, position &+ (state.pageSize &- 1 &- offset))
                    state.repeatsPage = false
                }
            }
            return state
        }
        // Twice: what the second side cuts off may leave less than a page of the first.
        _ = state(before.item, bits: keptBits.before)
        _ = state(after.item, bits: keptBits.after)
        var from = state(before.item, bits: keptBits.before)
        var to = state(after.item, bits: keptBits.after)
        guard from != nil || to != nil else { return nil }
        for whole in [from, to].compactMap({ $0 }) where whole.repeatsPage {
            let rest = (last &- position &+ 1) & (whole.pageSize &- 1)
            if rest != 0 && last &- position >= whole.pageSize { last = last &- rest }
        }
        // One side goes on, the other repeats: they can meet at one page only, so pages are taken one by one.
        if let one = from, let other = to, one.repeatsPage != other.repeatsPage {
            let step = min(one.pageSize, other.pageSize)
            if last &- position > step &- 1 { last = position &+ (step &- 1) }
        }
        if let one = from, last &- position < one.pageSize { from?.repeatsPage = false }
        if let other = to, last &- position < other.pageSize { to?.repeatsPage = false }
        return (last, from, to)
    }

    /// Leaves what ends at or before an address behind.
    private mutating func drop(upTo last: UInt64?) {
        guard let last else { return }
        while case .piece(let piece) = before.item, piece.last <= last { before.advance() }
        while case .piece(let piece) = after.item, piece.last <= last { after.advance() }
    }

    private func isSame(_ from: MappedState?, _ to: MappedState?) -> Bool {
        guard let from, let to else { return from == nil && to == nil }
        return from.gpa == to.gpa && from.pageShift == to.pageShift && from.flags == to.flags
            && from.repeatsPage == to.repeatsPage && (!comparesBits || from.leafBits == to.leafBits)
    }

    /// Adds a piece to the change that is open.
    ///
    /// - Returns: the change that it ended, if any.
    private mutating func add(
        _ first: UInt64, _ last: UInt64, _ from: MappedState?, _ to: MappedState?
    ) -> MappingChange? {
        lastChanged = last
        let size = last &- first &+ 1
        if var open = pending, open.va.rawValue &+ open.size == first {
            if continues(open, open.from, from, size) && continues(open, open.to, to, size) && !open.isScattered {
                let repeats = (isRepeating(open, open.from, from, size), isRepeating(open, open.to, to, size))
                open.from?.repeatsPage = repeats.0
                open.to?.repeatsPage = repeats.1
                open.size &+= size
                pending = open
                return nil
            }
            if let was = open.from, let now = open.to, let from, let to, was.gpa == now.gpa, from.gpa == to.gpa,
                was.repeatsPage == now.repeatsPage, from.repeatsPage == to.repeatsPage,
                was.hasSameAttributes(as: from), now.hasSameAttributes(as: to)
            {
                open.isScattered = true
                open.from?.repeatsPage = false
                open.to?.repeatsPage = false
                open.size &+= size
                pending = open
                return nil
            }
        }
        defer { pending = MappingChange(va: GVA(first), size: size, from: from, to: to) }
        return pending
    }

    /// Whether `next` goes on where the open change is.
    private func continues(
        _ open: MappingChange, _ known: MappedState?, _ next: MappedState?, _ size: UInt64
    ) -> Bool {
        guard let known, let next else { return known == nil && next == nil }
        guard known.hasSameAttributes(as: next) else { return false }
        if isRepeating(open, known, next, size) {
            return open.size & (known.pageSize &- 1) == 0 && size & (known.pageSize &- 1) == 0
                && known.gpa.isAligned(to: known.pageSize)
        }
        return !known.repeatsPage && !next.repeatsPage && next.gpa == known.gpa &+ open.size
    }

    /// Whether `next` maps the page again that the open change maps: each of the two is that page alone, or repeats it.
    private func isRepeating(
        _ open: MappingChange, _ known: MappedState?, _ next: MappedState?, _ size: UInt64
    ) -> Bool {
        guard let known, let next else { return false }
        return known.gpa == next.gpa && known.pageShift == next.pageShift
            && (known.repeatsPage || open.size == known.pageSize) && (next.repeatsPage || size == next.pageSize)
    }
}

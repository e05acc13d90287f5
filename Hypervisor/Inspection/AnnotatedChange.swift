// Changes with names: the region they lie in, and what is behind them before and after.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// A change within one region, with one kind of backing on each side.
public struct AnnotatedChange: Sendable, Hashable {
    /// What became of a range.
    public enum Kind: String, Sendable, CaseIterable {
        /// It was not mapped.
        case added
        /// It is not mapped any more.
        case removed
        /// It is mapped otherwise.
        case changed
    }

    /// The first virtual address.
    public var va: GVA
    /// Bytes of virtual addresses.
    public var size: UInt64
    /// What was there; nil: nothing.
    public var from: AnnotatedRange?
    /// What is there; nil: nothing.
    public var to: AnnotatedRange?
    /// True if every page kept its physical address, but these do not follow each other.
    public var isScattered: Bool

    /// What became of the range.
    public var kind: Kind { from == nil ? .added : to == nil ? .removed : .changed }
    /// The layout's name for it, or nil.
    public var region: String? { to?.region ?? from?.region }
    /// The last virtual address.
    public var lastVA: GVA { va &+ (size &- 1) }
}

/// Cuts changes at the borders of regions and slots, and leaves out what is not of interest.
public struct ChangeAnnotator {
    private var before: RangeAnnotator
    private var after: RangeAnnotator
    private let filter: RangeFilter?
    private let types: PageAttributeTable

    /// Names by the layouts and slots of both sides.
    ///
    /// - Parameters:
    ///   - filter: a change is of interest if what was or what is meets it; nil: all are.
    ///   - types: the guest's PAT, for memory types.
    public init(
        from: Subject, to: Subject, filter: RangeFilter? = nil, types: PageAttributeTable = .atReset
    ) {
        before = RangeAnnotator(layout: from.layout ?? to.layout, slots: from.slots)
        after = RangeAnnotator(layout: to.layout ?? from.layout, slots: to.slots)
        self.filter = filter
        self.types = types
    }

    /// Hands the pieces of a change to `body`, by ascending virtual address.
    public mutating func annotate(_ change: MappingChange, _ body: (AnnotatedChange) throws -> Void) rethrows {
        var offset: UInt64 = 0
        while offset < change.size {
            var piece = change.size &- offset
            let from = change.from.map {
                ChangeAnnotator.range($0, change, offset: offset, &before, piece: &piece)
            }
            let to = change.to.map { ChangeAnnotator.range($0, change, offset: offset, &after, piece: &piece) }
            var annotated = AnnotatedChange(
                va: change.va &+ offset, size: piece, from: from, to: to, isScattered: change.isScattered)
            annotated.from?.size = piece
            annotated.to?.size = piece
            let isWanted =
                filter.map { filter in
                    [annotated.from, annotated.to].contains { $0.map { filter.matches($0, types: types) } ?? false }
                } ?? true
            if isWanted { try body(annotated) }
            offset &+= piece
        }
    }

    /// One side from `offset` bytes on; `piece` becomes smaller where a border comes before its end.
    private static func range(
        _ state: MappedState, _ change: MappingChange, offset: UInt64, _ annotator: inout RangeAnnotator,
        piece: inout UInt64
    ) -> AnnotatedRange {
        let va = change.va &+ offset
        let (region, inRegion) = annotator.region(at: va)
        piece = min(piece, inRegion)
        let isLinear = !state.repeatsPage && !change.isScattered
        let gpa = isLinear ? state.gpa &+ offset : state.gpa
        var kind = Backing.absent
        if state.isPresent {
            let (behind, last) = annotator.backing(at: gpa)
            kind = behind
            let backed = last &- gpa
            if isLinear && backed < piece &- 1 { piece = backed &+ 1 }
        }
        return AnnotatedRange(
            va: va, size: piece, gpa: gpa, pageSize: state.pageSize, repeatsPage: state.repeatsPage,
            flags: state.flags, leafBits: state.leafBits, kind: kind, region: region,
            meaning: annotator.layout?.meaning(of: state.leafBits)?.name)
    }
}

// Everything that is mapped at a moment, as a sorted list, and a cursor that reads it by ascending virtual address.

import Addresses

/// What a walk found, kept: runs and repetitions by ascending virtual address.
///
/// Memory is proportional to the runs. A table that is referred to again by the entry next to the first is one repetition,
/// however often that is; every other reference is walked again, so that no permission of a way to it is lost.
public struct MappingList: WalkConsumer, Sendable {
    /// The runs.
    public private(set) var runs: [MappedRun] = []
    /// Tables that are there again right after themselves; see `walkOptions(_:)`.
    public private(set) var repetitions: [RepeatedTable] = []
    /// More runs and repetitions than this end the walk.
    public var limit = 1 << 24

    /// Nothing is mapped.
    @inlinable public init() {}

    /// These runs and repetitions, by ascending virtual address.
    public init(runs: [MappedRun], repetitions: [RepeatedTable] = []) {
        self.runs = runs
        self.repetitions = repetitions
    }

    /// Keeps it.
    public mutating func run(_ run: MappedRun) { runs.append(run) }
    /// Keeps it.
    public mutating func repeated(_ table: RepeatedTable) { repetitions.append(table) }
    /// Whether there are too many.
    public var isFinished: Bool { runs.count + repetitions.count > limit }

    /// The options of a walk whose result goes into a list.
    public static func walkOptions(_ options: WalkOptions = WalkOptions()) -> WalkOptions {
        var options = options
        options.revisitLimit = .max
        return options
    }
}

/// A part of the virtual addresses that is mapped evenly.
struct MappedPiece {
    /// The first virtual address.
    var first: UInt64
    /// The last one.
    var last: UInt64
    /// What is mapped from `first` on.
    var state: MappedState
}

/// What a cursor finds next.
enum CursorItem {
    /// A mapped piece.
    case piece(MappedPiece)
    /// A further copy of a table begins at `va`: the copy before it was handed out in full.
    case copy(va: UInt64, coverage: UInt64, left: UInt64)

    var first: UInt64 {
        switch self {
        case .piece(let piece): return piece.first
        case .copy(let va, _, _): return va
        }
    }
}

/// Reads a list by ascending virtual address; repetitions are unfolded copy by copy, without being stored.
struct MappingCursor {
    /// A window of the list that is being read, moved to where it is repeated.
    private struct Frame {
        /// The next run and the next repetition of the window.
        var run: Int
        var repetition: Int
        /// The window, in the addresses of the list.
        let first: UInt64
        let last: UInt64
        /// What to add to them.
        var shift: UInt64
        /// What the way to it grants; nil: it says nothing.
        let grants: PageFlags?
        /// How often the window follows again, `coverage` bytes on each time.
        var copiesLeft: UInt64 = 0
        let coverage: UInt64
        let firstRun: Int
        let firstRepetition: Int
    }

    private let list: MappingList
    private var frames: [Frame]
    /// What comes next; nil: nothing.
    private(set) var item: CursorItem?
    /// False if the list contradicts itself: a table repeats what comes after it.
    private(set) var isSound = true

    init(_ list: MappingList) {
        self.list = list
        frames = [
            Frame(
                run: 0, repetition: 0, first: 0, last: .max, shift: 0, grants: nil, coverage: 0, firstRun: 0,
                firstRepetition: 0)
        ]
        advance()
    }

    /// Leaves out so many copies of the table that the current item begins one of.
    mutating func skipCopies(_ count: UInt64) {
        guard count > 0, let top = frames.indices.last else { return }
        // The frame stands at the copy that `item` has announced: one of those left out.
        frames[top].shift &+= frames[top].coverage &* count
        if frames[top].copiesLeft >= count {
            frames[top].copiesLeft -= count
        } else {
            frames.removeLast()
        }
        advance()
    }

    /// Goes on to the next item.
    mutating func advance() {
        while let top = frames.indices.last {
            let frame = frames[top]
            let run = list.runs.indices.contains(frame.run) ? list.runs[frame.run] : nil
            let repetition =
                list.repetitions.indices.contains(frame.repetition) ? list.repetitions[frame.repetition] : nil
            let runStart = run.map { max($0.va.rawValue, frame.first) } ?? .max
            let repetitionStart = repetition.map { max($0.va.rawValue, frame.first) } ?? .max
            if let run, runStart <= frame.last, repetition == nil || runStart <= repetitionStart {
                frames[top].run += 1
                item = .piece(piece(of: run, from: runStart, in: frame))
                return
            }
            if let repetition, repetitionStart <= frame.last {
                frames[top].repetition += 1
                unfold(repetition, from: repetitionStart, in: frame)
                continue
            }
            guard frame.copiesLeft > 0 else {
                frames.removeLast()
                continue
            }
            frames[top].copiesLeft -= 1
            frames[top].run = frame.firstRun
            frames[top].repetition = frame.firstRepetition
            frames[top].shift &+= frame.coverage
            item = .copy(
                va: frame.first &+ frames[top].shift, coverage: frame.coverage, left: frames[top].copiesLeft &+ 1)
            return
        }
        item = nil
    }

    private func piece(of run: MappedRun, from start: UInt64, in frame: Frame) -> MappedPiece {
        let last = min(run.lastVA.rawValue, frame.last)
        let offset = start &- run.va.rawValue
        var state = MappedState(run, offset: offset)
        if let grants = frame.grants { state.flags = state.flags.restricted(to: grants) }
        return MappedPiece(first: start &+ frame.shift, last: last &+ frame.shift, state: state)
    }

    /// Begins with the copies of a repetition that lie in a frame's window.
    private mutating func unfold(_ table: RepeatedTable, from start: UInt64, in frame: Frame) {
        let coverage = table.coverage
        let window = table.firstVA.rawValue
        guard coverage > 0, table.count > 0, window < table.va.rawValue, table.va.rawValue &- window >= coverage,
            frames.count < 16
        else {
            isSound = false
            return
        }
        // A repetition may have begun in a table before this window's.
        let skipped = (start &- table.va.rawValue) / coverage
        guard skipped < table.count else { return }
        let room = (frame.last &- start) / coverage
        let copies = min(table.count &- skipped, room == .max ? .max : room &+ 1)
        let run = firstRun(at: window)
        let repetition = firstRepetition(at: window)
        let grants: PageFlags?
        if window &+ coverage == table.va.rawValue {
            // Right after the first, by the same way: the walk has made sure of that.
            grants = frame.grants
        } else {
            grants = frame.grants.map { table.flags.intersection($0) } ?? table.flags
        }
        frames.append(
            Frame(
                run: run, repetition: repetition, first: window, last: window &+ (coverage &- 1),
                shift: frame.shift &+ (table.va.rawValue &+ skipped &* coverage &- window), grants: grants,
                copiesLeft: copies &- 1, coverage: coverage, firstRun: run, firstRepetition: repetition))
    }

    /// The first run that reaches an address or lies above it.
    private func firstRun(at address: UInt64) -> Int {
        var low = 0
        var high = list.runs.count
        while low < high {
            let middle = (low + high) / 2
            if list.runs[middle].lastVA.rawValue < address { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func firstRepetition(at address: UInt64) -> Int {
        var low = 0
        var high = list.repetitions.count
        while low < high {
            let middle = (low + high) / 2
            let table = list.repetitions[middle]
            let last = table.va.rawValue &+ (table.count &* table.coverage &- 1)
            if last < address { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension PageFlags {
    /// Without the permissions that the way to a table does not grant.
    func restricted(to grants: PageFlags) -> PageFlags {
        guard !isEmpty else { return self }
        let permissions: PageFlags = [.readable, .writable, .executable, .user]
        var flags = subtracting(permissions.subtracting(grants))
        if flags.isDisjoint(with: [.readable, .writable, .executable]) { flags.insert(.noAccess) }
        return flags
    }
}

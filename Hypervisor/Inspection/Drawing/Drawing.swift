// What the picture of `--format svg` and the page of `--format html` show: gathered once, drawn twice.

import Addresses
import GuestMemory
import Layouts
import PageTables
import SecondStage

/// The double mapping of a guest at a moment, to be drawn to scale.
public struct Drawing {
    /// The guest's tables.
    let subject: Subject
    /// The process that runs the guest; 0: none.
    let pid: Int32
    /// Ranges of virtual addresses, ascending.
    private(set) var ranges: [AnnotatedRange] = []
    /// Tables that are there again.
    private(set) var repetitions: [RepeatedTable] = []
    /// Entries that refer to tables.
    private(set) var links: [WalkEntry] = []
    /// What the walk says at its end.
    let summary: WalkSummary
    /// How many tables changed while they were read.
    let changed: Int
    /// What the host has behind the slots, by guest physical address; nil: not known, or too much to draw.
    private(set) var host: [BackingRun]?
    /// What is not shown, and why, in words.
    private(set) var notes: [String] = []
    /// Whether a filter or a range left something out.
    let isPartial: Bool
    /// When it was made, as people write it.
    public var made: String?
    /// For how long the vCPUs stood still for it, in microseconds.
    public var pausedMicroseconds: UInt64?

    /// What a page holds at most, so that its size is bounded: 43 bytes a range, 36 a host range, 22 an
    /// entry of a table.
    static let rangeLimit = 200_000
    static let linkLimit = 200_000
    static let hostLimit = 120_000

    /// Reads the tables once.
    ///
    /// - Parameters:
    ///   - options: which addresses and ranges.
    ///   - pid: the process that runs the guest; 0: none.
    ///   - backing: what the host has behind the slots; nil: three rows instead of four.
    public init(_ subject: Subject, options: PagesOptions, pid: Int32, backing: BackingPages?) {
        self.subject = subject
        self.pid = pid
        var walkOptions = WalkOptions()
        walkOptions.range = options.range
        walkOptions.absentMask = subject.layout?.absentMask ?? 0
        walkOptions.detectsChanges = true
        var consumer = DrawingConsumer(
            annotator: RangeAnnotator(layout: subject.layout, slots: subject.slots), matches: options.matches)
        summary = walk(
            root: subject.root, format: subject.format, memory: subject.memory, options: walkOptions, into: &consumer)
        changed = tableChanges(since: summary, format: subject.format, memory: subject.memory).changed
        ranges = consumer.ranges
        repetitions = consumer.repetitions
        links = consumer.links
        isPartial = options.filter != nil || options.range != nil
        if consumer.droppedRanges > 0 {
            notes.append(
                "\(counted(consumer.droppedRanges, "more range")) not in this picture: --range or --filter narrows it")
        }
        if consumer.droppedLinks > 0 { notes.append("not every table entry is in this picture") }
        if changed > 0 { notes.append("\(counted(changed, "table")) changed while they were read") }
        if !summary.isComplete { notes.append("incomplete: there are more tables than are read") }
        guard let backing, subject.hasHostAddresses else { return }
        if backing.runs.count > Drawing.hostLimit {
            notes.append("host memory is in \(counted(backing.runs.count, "piece")), too many for a fourth row")
        } else {
            host = backing.runs.sorted { $0.gpa < $1.gpa }
            if !backing.seesFrames {
                notes.append("frame numbers are hidden: run as root to see host physical addresses")
            }
        }
    }

    /// Stretches of one row: first page, pages, and what must not share a cluster with its neighbour.
    typealias Stretch = (first: UInt64, pages: UInt64, group: Int)

    /// The virtual addresses in use.
    var virtualStretches: [Stretch] {
        let regions = Dictionary(
            (subject.layout?.regions ?? []).enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        var all: [Stretch] = ranges.map {
            ($0.va.rawValue >> 12, $0.size >> 12, $0.region.flatMap { regions[$0] } ?? -1)
        }
        all += repetitions.map { table in
            let region = subject.layout?.region(of: table.va)?.name
            return (table.va.rawValue >> 12, table.count &* table.coverage >> 12, region.flatMap { regions[$0] } ?? -1)
        }
        return all.sorted { $0.first < $1.first }
    }

    /// The physical addresses in use: slots, and what is mapped beside them.
    var physicalStretches: [Stretch] {
        var all: [Stretch] = subject.slots.slots.enumerated().map { number, slot in
            (slot.guestPhysicalAddress.rawValue >> 12, slot.size >> 12, number)
        }
        let beside: [Stretch] = ranges.filter { $0.kind == .mmio || $0.kind == .unbacked }.map { range in
            (range.gpa.rawValue >> 12, (range.repeatsPage ? range.pageSize : range.size) >> 12, -1)
        }
        all += Drawing.joined(beside.sorted { $0.first < $1.first })
        return all.sorted { $0.first < $1.first }
    }

    /// The host virtual addresses of the slots; empty if there is no process.
    var hostStretches: [Stretch] {
        guard subject.hasHostAddresses else { return [] }
        return subject.slots.slots.enumerated().map { number, slot in
            (slot.userspaceAddress.rawValue >> 12, slot.size >> 12, number)
        }.sorted { $0.first < $1.first }
    }

    /// The host physical addresses behind the slots.
    var frameStretches: [Stretch] {
        let frames: [Stretch] = (host ?? []).compactMap { run in
            run.hpa.map { ($0.rawValue >> 12, run.size >> 12, 0) }
        }
        return Drawing.joined(frames.sorted { $0.first < $1.first })
    }

    /// Stretches that overlap or touch as one.
    static func joined(_ stretches: [Stretch]) -> [Stretch] {
        var joined: [Stretch] = []
        for stretch in stretches {
            if let last = joined.last, stretch.first <= last.first &+ last.pages {
                let end = max(last.first &+ last.pages, stretch.first &+ stretch.pages)
                joined[joined.count - 1].pages = end &- last.first
            } else {
                joined.append(stretch)
            }
        }
        return joined
    }
}

/// Keeps ranges and the entries that lead to them, up to a limit.
private struct DrawingConsumer: WalkConsumer {
    static var wantsEntries: Bool { true }
    var annotator: RangeAnnotator
    let matches: (AnnotatedRange) -> Bool
    var ranges: [AnnotatedRange] = []
    var repetitions: [RepeatedTable] = []
    var links: [WalkEntry] = []
    var droppedRanges = 0
    var droppedLinks = 0

    mutating func run(_ run: MappedRun) {
        annotator.annotate(run) { range in
            guard matches(range) else { return }
            if ranges.count < Drawing.rangeLimit { ranges.append(range) } else { droppedRanges += 1 }
        }
    }

    mutating func repeated(_ table: RepeatedTable) {
        if repetitions.count < 10_000 { repetitions.append(table) } else { droppedRanges += 1 }
    }

    mutating func entry(_ entry: WalkEntry) {
        guard !entry.isLeaf else { return }
        if links.count < Drawing.linkLimit { links.append(entry) } else { droppedLinks += 1 }
    }
}

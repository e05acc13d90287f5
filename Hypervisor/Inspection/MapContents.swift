// What the picture of `vitrine map` shows, gathered from the live tables.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// A region, or several alike side by side, and what is mapped there.
struct MapRegion {
    /// What is written in its box.
    var name: String
    /// The first virtual address.
    let first: GVA
    /// The last virtual address.
    var last: GVA
    /// Whether all that is mapped lies at PA = VA - a constant.
    let isLinear: Bool
    /// What is mapped, by ascending virtual address.
    var ranges: [AnnotatedRange] = []

    /// Bytes that are mapped.
    var mapped: UInt64 { ranges.reduce(0) { $0 &+ $1.size } }
}

/// A piece of guest physical addresses.
struct MapPiece {
    /// What is written in its box.
    let name: String
    /// The first address.
    let first: GPA
    /// The last address.
    let last: GPA
    /// The slot behind it, or nil.
    let slot: MemorySlot?

    /// Whether it is device registers.
    var isDevice = false
    /// Bytes from the first to the last, gaps included.
    var size: UInt64 { (last &- first) &+ 1 }
    /// Bytes that are there; a device box has gaps.
    var mapped: UInt64 { isDevice ? devices : size }
    /// Bytes of device registers in it.
    var devices: UInt64 = 0
}

/// Everything in the picture.
struct MapContents {
    private(set) var regions: [MapRegion] = []
    private(set) var pieces: [MapPiece] = []
    /// Leaves that lie in no region.
    private(set) var elsewhere: [AnnotatedRange] = []

    /// Reads the tables once. More than a million ranges are not kept: a picture has no room for them.
    init(_ subject: Subject) {
        var ranges: [AnnotatedRange] = []
        var annotator = RangeAnnotator(layout: subject.layout, slots: subject.slots)
        let (collector, _) = subject.runs()
        for run in collector.runs where ranges.count < 1 << 20 && run.isPresent {
            annotator.annotate(run) { ranges.append($0) }
        }
        gatherRegions(subject.layout, ranges)
        regions = MapRegion.fitting(regions)
        gatherPieces(subject, ranges)
    }

    /// Regions of one kind side by side (`program 0`, `program 1`) share a box.
    private mutating func gatherRegions(_ layout: Layout?, _ ranges: [AnnotatedRange]) {
        var byName: [String: [AnnotatedRange]] = [:]
        for range in ranges {
            if let name = range.region { byName[name, default: []].append(range) } else { elsewhere.append(range) }
        }
        var numbered: [String] = []
        for region in layout?.regions ?? [] {
            let words = region.name.split(separator: " ")
            let isNumbered = words.count == 2 && Int(words[1]) != nil
            let mine = byName[region.name] ?? []
            if isNumbered, let last = regions.last, last.name.hasPrefix("program"),
                words[0] == "program" || mine.isEmpty
            {
                regions[regions.count - 1].ranges += mine
                regions[regions.count - 1].last = region.last
                if !mine.isEmpty { numbered.append(String(words[1])) }
                continue
            }
            if isNumbered && !mine.isEmpty { numbered.append(String(words[1])) }
            regions.append(
                MapRegion(
                    name: isNumbered ? "programs" : region.name, first: region.first, last: region.last,
                    isLinear: region.mapping == .linear, ranges: mine))
        }
        for index in regions.indices where regions[index].name == "programs" {
            let isRow = numbered.count > 1 && numbered.compactMap { Int($0) }.max() == numbered.count - 1
            if numbered.count == 1 {
                regions[index].name = "program \(numbered[0])"
            } else if isRow {
                regions[index].name = "programs 0-\(numbered.count - 1)"
            }
        }
    }

    /// Slots, cut where Core begins and ends, and what is mapped with nothing behind it.
    private mutating func gatherPieces(_ subject: Subject, _ ranges: [AnnotatedRange]) {
        // Core is what the identity region maps to RAM.
        let core = regions.first { region in
            subject.layout?.regions.contains { $0.name == region.name && $0.mapping == .identity } ?? false
        }
        let coreFirst = core?.ranges.first.map(\.gpa)
        let coreLast = core?.ranges.last.map { $0.gpa &+ ($0.size &- 1) }
        for slot in subject.slots.slots {
            let last = slot.guestPhysicalAddress &+ (slot.size &- 1)
            var at = slot.guestPhysicalAddress
            if let coreFirst, let coreLast, at <= coreFirst, coreLast <= last, let core {
                if at < coreFirst {
                    pieces.append(MapPiece(name: slot.name, first: at, last: coreFirst &+ UInt64.max, slot: slot))
                }
                pieces.append(MapPiece(name: core.name, first: coreFirst, last: coreLast, slot: slot))
                guard coreLast < last else { continue }
                at = coreLast &+ 1
            }
            pieces.append(MapPiece(name: slot.name, first: at, last: last, slot: slot))
        }
        for (kind, name) in [(.unbacked, "no RAM"), (.mmio, "devices")] as [(Backing, String)] {
            let mine = ranges.filter { $0.kind == kind }
            guard let first = mine.map(\.gpa).min(), let last = mine.map({ $0.gpa &+ ($0.size &- 1) }).max() else {
                continue
            }
            // One box for all of a kind; it must not hide a slot that lies between.
            let next = subject.slots.slots.first { $0.guestPhysicalAddress > first }?.guestPhysicalAddress
            var piece = MapPiece(
                name: name, first: first, last: min(last, next.map { $0 &+ UInt64.max } ?? last), slot: nil)
            piece.isDevice = kind == .mmio
            piece.devices = mine.reduce(0) { $0 + $1.size }
            pieces.append(piece)
        }
        pieces.sort { $0.first < $1.first }
    }

    /// The pieces that a region reaches, by index.
    func targets(of region: MapRegion) -> [Int] {
        pieces.indices.filter { index in
            region.ranges.contains { range in
                let last = range.repeatsPage ? range.pageSize : range.size
                return range.gpa <= pieces[index].last && range.gpa &+ (last &- 1) >= pieces[index].first
            }
        }
    }
}

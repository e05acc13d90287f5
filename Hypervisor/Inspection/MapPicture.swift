// `vitrine map`: the double mapping as a picture of three rows.
//
//     guest VA     Core | programs | mmap | main | page | mempool | debug
//                        |       |             \______|_______/
//     guest PA     low | Core | low | arena | low2 | ...
//                        |             |
//     host VA      one box a memory slot

import Addresses
import GuestMemory
import JSON
import Layouts
import PageTables
import SecondStage

/// Draws the double mapping of a guest, at most 100 columns wide.
///
/// - Parameters:
///   - ascii: only ASCII characters.
///   - backing: what the host has behind the slots: a fourth row; nil: none.
///   - isColoured: whether the heading and the rows' titles stand out.
public func mapText(
    _ subject: Subject, pid: Int32, ascii: Bool, backing: BackingPages? = nil, isColoured: Bool = false
) -> String {
    let contents = MapContents(subject)
    var picture = MapPicture(contents: contents, slots: subject.hasHostAddresses ? subject.slots.slots : [])
    picture.host = backing.map(HostPages.bySlot)
    var lines = [
        subject.heading + (subject.hasHostAddresses && subject.source == nil ? ", process \(pid)" : ""), "",
    ]
    lines += picture.draw(ascii: ascii)
    lines.append("")
    lines += legend(contents, ascii: ascii)
    if isColoured {
        lines[0] = TextStyle.heading.applied(to: lines[0])
        for index in lines.indices {
            for title in MapPicture.titles where lines[index].hasPrefix(title) {
                lines[index] = TextStyle.heading.applied(to: title) + lines[index].dropFirst(title.count)
            }
        }
    }
    return lines.joined(separator: "\n") + "\n"
}

/// One line a region: from where to where.
private func legend(_ contents: MapContents, ascii: Bool) -> [String] {
    var lines: [String] = []
    let arrow = ascii ? "->" : "→"
    for region in contents.regions {
        guard let first = region.ranges.first else { continue }
        var line =
            region.name.padding(to: 14) + first.va.hex.padding(to: 19) + arrow + " " + first.gpa.hex.padding(to: 13)
        if region.isLinear {
            line += "PA = VA - \(region.first.hex), \(roundSize(region.mapped))"
        } else if region.ranges.count == 1 {
            line += roundSize(region.mapped)
        } else {
            line += "\(roundSize(region.mapped)) in \(region.ranges.count) ranges, the first of them here"
        }
        let unbacked = region.ranges.reduce(0 as UInt64) { $0 &+ ($1.kind == .unbacked ? $1.size : 0) }
        if unbacked > 0 { line += ", \(roundSize(unbacked)) of it no RAM" }
        lines.append(String(line.prefix(100)))
    }
    if let stray = contents.elsewhere.first {
        lines.append("in no region: \(counted(contents.elsewhere.count, "range")), the first at \(stray.va.hex)")
    }
    return lines
}

extension String {
    /// With blanks up to a width, at least one.
    func padding(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}

/// The three rows with the lines between them.
struct MapPicture {
    private let contents: MapContents
    private let slots: [MemorySlot]
    private var canvas = Canvas(width: 100)
    private var y = 0
    /// The rows.
    static let titles = ["guest VA", "guest PA", "host VA", "host PA"]
    /// What titles take at the left.
    private static let titleWidth = 9
    /// What the host has behind each slot, by its number; nil: that is not drawn.
    var host: [UInt32: HostPages]?
    /// Columns that a vertical line uses already.
    private var used: Set<Int> = []

    init(contents: MapContents, slots: [MemorySlot]) {
        self.contents = contents
        // The row shows addresses in order: that of the host's process, not the guest's.
        self.slots = slots.sorted { $0.userspaceAddress < $1.userspaceAddress }
    }

    /// A line between two rows: from several columns to several others.
    private struct Wire {
        var sources: [Int]
        var targets: [Int]
        var left: Int { min(sources.min() ?? 0, targets.min() ?? 0) }
        var right: Int { max(sources.max() ?? 0, targets.max() ?? 0) }
    }

    mutating func draw(ascii: Bool) -> [String] {
        let regionBoxes = row(
            MapPicture.titles[0],
            contents.regions.map { region in
                [region.name] + split(region.first) + [region.ranges.isEmpty ? "nothing" : roundSize(region.mapped)]
            })
        let groups = groups()
        let pieceBoxes = boxes(count: contents.pieces.count)
        wires(groups, from: regionBoxes, to: pieceBoxes)
        _ = row(
            MapPicture.titles[1],
            contents.pieces.map { piece in
                [piece.name, piece.first.hex, roundSize(piece.mapped)]
            })
        // A file has no host addresses.
        guard !slots.isEmpty else { return canvas.rendered(ascii: ascii) }
        var toSlots: [(sources: [Int], targets: [Int])] = []
        for (number, slot) in slots.enumerated() {
            let sources = contents.pieces.indices.filter { contents.pieces[$0].slot?.id == slot.id }
            if !sources.isEmpty { toSlots.append((sources, [number])) }
        }
        let slotBoxes = boxes(count: slots.count)
        wires(toSlots, from: pieceBoxes, to: slotBoxes)
        _ = row(
            MapPicture.titles[2],
            slots.map { slot in
                ["slot \(slot.id) \(slot.name)", slot.userspaceAddress.hex, roundSize(slot.size)]
            })
        if let host {
            // Each straight below its own.
            for box in slotBoxes {
                let middle = (box.left + box.right) / 2
                canvas.vertical(from: y, to: y + 1, x: middle)
                canvas.text("▼", x: middle, y: y + 1)
            }
            y += 2
            _ = row(MapPicture.titles[3], slots.map { (host[$0.id] ?? HostPages()).lines })
        }
        return canvas.rendered(ascii: ascii)
    }

    /// What lines there are between the first two rows. Areas that map the same memory share one; devices are apart.
    private func groups() -> [(sources: [Int], targets: [Int])] {
        var groups: [(sources: [Int], targets: [Int])] = []
        var toDevices: [(sources: [Int], targets: [Int])] = []
        for (index, region) in contents.regions.enumerated() where !region.ranges.isEmpty {
            let all = contents.targets(of: region)
            let devices = all.filter { contents.pieces[$0].isDevice }
            let targets = all.filter { !contents.pieces[$0].isDevice }
            if !devices.isEmpty { toDevices.append(([index], devices)) }
            let same = groups.firstIndex { group in
                group.targets == targets && group.sources.allSatisfy { contents.regions[$0].isLinear }
            }
            if region.isLinear, let same {
                groups[same].sources.append(index)
            } else if !targets.isEmpty {
                groups.append(([index], targets))
            }
        }
        return groups + toDevices
    }

    /// `0xffff8000_` over `00000000`: 18 characters are too many for a box.
    private func split(_ address: GVA) -> [String] {
        let digits = address.hex
        guard digits.count > 12 else { return [digits, ""] }
        return [String(digits.dropLast(8)) + "_", String(digits.suffix(8))]
    }

    /// The columns of that many boxes side by side: each one's left and right border.
    private func boxes(count: Int) -> [(left: Int, right: Int)] {
        let width = min(33, 99 / max(1, count))
        return (0..<count).map { (left: $0 * width, right: ($0 + 1) * width) }
    }

    /// Draws a row of boxes and goes on below it.
    @discardableResult
    private mutating func row(_ title: String, _ texts: [[String]]) -> [(left: Int, right: Int)] {
        let places = boxes(count: texts.count)
        // Beside the arrows that come from above, which keep out of its way.
        canvas.text(title, x: 0, y: y)
        let top = y + 1
        let height = texts.map(\.count).max() ?? 0
        for (place, lines) in zip(places, texts) {
            canvas.box(from: place.left, to: place.right, top: top, bottom: top + height + 1)
            for (offset, line) in lines.enumerated() {
                canvas.centred(
                    String(line.prefix(place.right - place.left - 1)), from: place.left + 1, to: place.right - 1,
                    y: top + 1 + offset)
            }
        }
        y = top + height + 1
        return places
    }

    /// Draws lines from the boxes above, whose lower border is at `y`, to those that follow.
    private mutating func wires(
        _ groups: [(sources: [Int], targets: [Int])], from above: [(left: Int, right: Int)],
        to below: [(left: Int, right: Int)]
    ) {
        used = []
        let border = y
        // Sources first: they keep to the middle of their boxes, arrows find what is free.
        let sources = groups.map { group in group.sources.map { column(in: above[$0]) } }
        var wires: [Wire] = []
        for (group, sources) in zip(groups, sources) {
            let middle = sources.reduce(0, +) / max(1, sources.count)
            wires.append(
                Wire(sources: sources, targets: group.targets.map { column(in: below[$0], near: middle) }))
        }
        // Each on a track of its own; the longest nearest to the row below, so that short ones cross little.
        let order = wires.indices.sorted { wires[$0].right - wires[$0].left < wires[$1].right - wires[$1].left }
        let bottom = border + wires.count + 1
        for (track, index) in order.enumerated() {
            let wire = wires[index]
            let line = border + 1 + track
            for source in wire.sources { canvas.vertical(from: border, to: line, x: source) }
            canvas.horizontal(from: wire.left, to: wire.right, y: line)
            for target in wire.targets {
                canvas.vertical(from: line, to: bottom, x: target)
                canvas.text("▼", x: target, y: bottom)
            }
        }
        y = bottom
    }

    /// A free column inside a box: the nearest to a wish that lies in it, else to its middle.
    private mutating func column(in box: (left: Int, right: Int), near wish: Int? = nil) -> Int {
        // Titles stand at the left, before the first box's arrows.
        let first = max(box.left + 1, wish == nil ? 0 : MapPicture.titleWidth)
        let inside = first...max(first, box.right - 1)
        let middle = (box.left + box.right) / 2
        let start = wish.map { min(max($0, inside.lowerBound), inside.upperBound) } ?? middle
        let free = inside.filter { !used.contains($0) }.min { abs($0 - start) < abs($1 - start) } ?? middle
        used.insert(free)
        return free
    }
}

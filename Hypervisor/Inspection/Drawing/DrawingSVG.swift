// The picture of `--format svg`: three or four rows to scale, and what leads from one to the next.
//
//     guest VA  |Core| |programs| |   main   | |   page   |
//                  \       |         /   /  /
//     guest PA  |  low      |arena|   low2      |
//                     |        |       |
//     host VA      one box a memory slot
//
// What is narrower than a third of a pixel is drawn together with its neighbours, so the file stays small.

import Addresses
import GuestMemory
import Layouts
import PageTables
import SecondStage

extension Drawing {
    /// The picture, an SVG 1.1 document that needs nothing else.
    public func svg() -> [UInt8] {
        var picture = DrawingSVG(self)
        return picture.document()
    }
}

/// How a range may be used: what its colour says.
private enum Access: String, CaseIterable {
    case absent = "na"
    case none = "no"
    case read = "ro"
    case execute = "rx"
    case write = "rw"
    case writeExecute = "wx"

    init(_ range: AnnotatedRange) {
        if range.kind == .absent {
            self = .absent
        } else if range.flags.isSuperset(of: [.writable, .executable]) {
            self = .writeExecute
        } else if range.flags.contains(.writable) {
            self = .write
        } else if range.flags.contains(.executable) {
            self = .execute
        } else {
            self = range.flags.contains(.readable) ? .read : .none
        }
    }

    var legend: String? {
        switch self {
        case .absent: return nil
        case .none: return nil
        case .read: return "read"
        case .execute: return "read, execute"
        case .write: return "read, write"
        case .writeExecute: return "write and execute"
        }
    }
}

/// A bar of one row: one range, or several too narrow to tell apart.
private struct Bar {
    var from: Double
    var to: Double
    var access: Access
    var isUser: Bool
    var isBacked: Bool
    var count: Int
    let title: String
}

private struct DrawingSVG {
    private let drawing: Drawing
    private let va: DrawingAxis
    private let gpa: DrawingAxis
    private let hva: DrawingAxis
    private let hpa: DrawingAxis
    private var body = ""
    private var merged = 0

    private static let left = 84.0
    private static let width = 1100.0
    private static let barHeight = 22.0
    private static let boxHeight = 34.0
    private static let wires = 64.0

    init(_ drawing: Drawing) {
        self.drawing = drawing
        va = DrawingAxis(drawing.virtualStretches)
        gpa = DrawingAxis(drawing.physicalStretches)
        hva = DrawingAxis(drawing.hostStretches)
        hpa = DrawingAxis(drawing.frameStretches)
    }

    private func x(_ place: Double) -> Double { DrawingSVG.left + place * DrawingSVG.width }

    /// A number with one digit after the point.
    private func n(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(abs(tenths % 10))"
    }

    mutating func document() -> [UInt8] {
        var y = 96.0
        let bars = virtualRow(at: y)
        y += DrawingSVG.barHeight
        if bars.isEmpty { text("nothing is mapped", x: DrawingSVG.left, y: y - 7, style: "mu") }
        ribbons(from: y, to: y + DrawingSVG.wires)
        y += DrawingSVG.wires
        physicalRow(at: y)
        y += DrawingSVG.boxHeight
        if drawing.subject.hasHostAddresses {
            slotWires(from: y, to: y + DrawingSVG.wires * 0.7)
            y += DrawingSVG.wires * 0.7
            hostRow(at: y)
            y += DrawingSVG.boxHeight
            if !drawing.frameStretches.isEmpty {
                frameWires(from: y, to: y + DrawingSVG.wires * 0.8)
                y += DrawingSVG.wires * 0.8
                frameRow(at: y)
                y += DrawingSVG.barHeight + 16
            }
        }
        legend(at: y + 26)
        let height = y + 62
        let total = DrawingSVG.left + DrawingSVG.width + 20
        let name = Markup.escaped(drawing.subject.name)
        let heading = Markup.escaped(drawing.subject.heading)
        let made = drawing.made.map { ", " + Markup.escaped($0) } ?? ""
        return Array(
            """
            <?xml version="1.0" encoding="UTF-8"?>
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(n(total)) \(n(height))" width="\(n(total))" \
            height="\(n(height))" role="img" aria-labelledby="t d" font-family="system-ui, sans-serif" font-size="12">
            <title id="t">\(name): guest virtual, guest physical and host addresses</title>
            <desc id="d">\(heading)\(made)</desc>
            <style>\(DrawingSVG.style)</style>
            <rect class="bg" width="100%" height="100%"/>
            <text class="h" x="20" y="30" font-size="16" font-weight="600">\(name)</text>
            <text class="mu" x="20" y="48">\(heading.dropFirst(name.count + 2))\(made)</text>
            \(body)</svg>

            """.utf8)
    }

    /// Colours of both themes; the same as Page/page.css.
    private static let style = """
        .bg{fill:#fff}text{fill:#1b2230}.h{font-weight:600}.mu{fill:#636e80}.box{fill:#e9edf3;stroke:#b9c3d1}.ro{fill:#86a3cc}\
        .rw{fill:#3d9a8b}.rx{fill:#dd9a26}.wx{fill:#d33b3b}.no{fill:#a3a9b3}.na{fill:none;stroke:#a3a9b3;stroke-dasharray:2}\
        .us{fill:#7a4fd6}.ub{opacity:.4}.w{opacity:.2}.l{fill:none;opacity:.3;stroke-width:1}.l.ro{stroke:#86a3cc}\
        .l.rw{stroke:#3d9a8b}.l.rx{stroke:#dd9a26}.l.wx{stroke:#d33b3b}.l.no{stroke:#a3a9b3}.s{fill:#8894a8;opacity:.22}\
        .gap{stroke:#636e80;fill:none}\
        @media(prefers-color-scheme:dark){.bg{fill:#181e27}text{fill:#e4e9f1}.mu{fill:#94a1b5}\
        .box{fill:#222b38;stroke:#46536a}.ro{fill:#6f8fc0}.rw{fill:#45b3a1}.rx{fill:#e5ab45}.wx{fill:#f0625f}\
        .us{fill:#b394ff}.gap{stroke:#94a1b5}}
        """

    private mutating func text(
        _ text: String, x: Double, y: Double, style: String = "", anchor: String = "start", size: Double? = nil
    ) {
        let size = size.map { " font-size=\"\(n($0))\"" } ?? ""
        body += "<text class=\"\(style)\" x=\"\(n(x))\" y=\"\(n(y))\" text-anchor=\"\(anchor)\"\(size)>"
        body += "\(Markup.escaped(text))</text>\n"
    }

    /// Text in the middle of a stretch, cut to fit; nothing if hardly a letter would.
    private mutating func label(_ lines: [String], from: Double, to: Double, y: Double) {
        let room = Int((to - from - 4) / 6.4)
        guard room >= 4 else { return }
        for (index, line) in lines.enumerated() {
            guard index == 0 || line.count <= room else { continue }
            // An address that is cut misleads.
            guard line.count <= room || !line.hasPrefix("0x") else { continue }
            let shown = line.count <= room ? line : String(line.prefix(room - 1)) + "…"
            text(
                shown, x: (from + to) / 2, y: y + 14 * Double(index), style: index == 0 ? "" : "mu", anchor: "middle",
                size: index == 0 ? 12 : 10.5)
        }
    }

    /// The mark of a gap that is drawn shorter than it is.
    private mutating func breaks(_ axis: DrawingAxis, at y: Double, height: Double) {
        for (one, next) in zip(axis.clusters, axis.clusters.dropFirst()) where next.cluster.first > one.cluster.end {
            let middle = x((one.to + next.from) / 2)
            let bytes = (next.cluster.first - one.cluster.end) << 12
            body += "<path class=\"gap\" d=\"M\(n(middle - 3)) \(n(y + height))l3 -\(n(height))"
            body += "m3 0l-3 \(n(height))\"><title>a gap of \(roundSize(bytes)), not to scale</title></path>\n"
        }
    }

    private func title(_ range: AnnotatedRange) -> String {
        let last = range.va &+ (range.size &- 1)
        var words = [
            "\(range.va.hex)-\(last.hex)", formatSize(range.size), "\(pageName(range.pageSize)) pages",
            range.flags.columns, range.kind.rawValue,
        ]
        if let region = range.region { words.append(region) }
        if let meaning = range.meaning { words.append(meaning) }
        if range.kind != .absent { words.append("→ \(range.gpa.hex)") }
        return words.joined(separator: ", ")
    }

    /// Ranges as bars. What is narrower than a third of a pixel joins the bar before it; the more dangerous colour wins.
    private mutating func bars() -> [Bar] {
        var bars: [Bar] = []
        for range in drawing.ranges {
            let (start, end) = va.places(first: range.va.rawValue >> 12, pages: range.size >> 12)
            let (from, to) = (x(start), x(end))
            let access = Access(range)
            let isUser = range.flags.contains(.user)
            let isBacked = range.kind == .ram || range.kind == .mmio
            if let last = bars.last, from - last.from < 1, to - last.from < 1.3 {
                let order = Access.allCases
                let wins = (order.firstIndex(of: access) ?? 0) > (order.firstIndex(of: last.access) ?? 0)
                bars[bars.count - 1].to = max(last.to, to)
                bars[bars.count - 1].count += 1
                if wins { bars[bars.count - 1].access = access }
                if isUser { bars[bars.count - 1].isUser = true }
                if isBacked { bars[bars.count - 1].isBacked = true }
                continue
            }
            bars.append(
                Bar(
                    from: from, to: to, access: access, isUser: isUser, isBacked: isBacked, count: 1,
                    title: title(range)))
        }
        return bars
    }

    private mutating func virtualRow(at y: Double) -> [Bar] {
        text("guest VA", x: 20, y: y + 15, style: "h")
        // One name for neighbouring clusters of a region.
        var names: [(name: String, isRegion: Bool, first: UInt64, from: Double, to: Double)] = []
        for (cluster, from, to) in va.clusters {
            let region = drawing.subject.layout?.region(of: GVA(cluster.first << 12))?.name
            if let region, let last = names.last, last.isRegion, last.name == region {
                names[names.count - 1].to = x(to)
            } else {
                names.append((region ?? roundSize(cluster.pages << 12), region != nil, cluster.first, x(from), x(to)))
            }
        }
        for (name, _, first, from, to) in names {
            label([name, GVA(first << 12).hex], from: from - 6, to: to + 6, y: y - 18)
        }
        breaks(va, at: y, height: DrawingSVG.barHeight)
        let bars = bars()
        for bar in bars {
            let width = max(0.8, bar.to - bar.from - (bar.to - bar.from > 4 ? 0.6 : 0))
            let more = bar.count > 1 ? "; and \(counted(bar.count - 1, "more range")) too narrow to draw" : ""
            func rect(_ style: String, _ height: Double) -> String {
                "<rect class=\"\(style)\" x=\"\(n(bar.from))\" y=\"\(n(y))\" width=\"\(n(width))\" height=\"\(n(height))\"/>"
            }
            body += "<g\(bar.isBacked ? "" : " class=\"ub\"")><title>\(Markup.escaped(bar.title + more))</title>"
            body += rect(bar.access.rawValue, DrawingSVG.barHeight)
            if bar.isUser { body += rect("us", 4) }
            body += "</g>\n"
            if bar.count > 1 { merged += bar.count }
        }
        for table in drawing.repetitions {
            let (from, to) = va.places(
                first: table.va.rawValue >> 12, pages: table.count &* table.coverage >> 12)
            body += "<rect class=\"na\" x=\"\(n(x(from)))\" y=\"\(n(y))\" width=\"\(n(max(0.8, x(to) - x(from))))\" "
            body += "height=\"\(n(DrawingSVG.barHeight))\"><title>\(table.va.hex): as at \(table.firstVA.hex), "
            body += "\(counted(table.count, "time"))</title></rect>\n"
        }
        return bars
    }

    /// From each range to the physical addresses behind it; one line for all that begin and end at the same pixels.
    private mutating func ribbons(from top: Double, to bottom: Double) {
        var seen: Set<UInt64> = []
        var wide = ""
        var narrow: [Access: String] = [:]
        for range in drawing.ranges where range.kind != .absent {
            let (start, end) = va.places(first: range.va.rawValue >> 12, pages: range.size >> 12)
            let physical = range.repeatsPage ? range.pageSize : range.size
            let (low, high) = gpa.places(first: range.gpa.rawValue >> 12, pages: physical >> 12)
            let (a, b, c, d) = (x(start), x(end), x(low), x(high))
            let key = UInt64(a / 2) << 48 | UInt64(b / 2) << 32 | UInt64(c / 2) << 16 | UInt64(d / 2)
            guard seen.insert(key).inserted, seen.count < 4000 else { continue }
            let access = Access(range)
            let middle = (top + bottom) / 2
            if b - a > 1.5 || d - c > 1.5 {
                wide += "<path class=\"w \(access.rawValue)\" d=\"M\(n(a)) \(n(top))C\(n(a)) \(n(middle)) \(n(c)) "
                wide += "\(n(middle)) \(n(c)) \(n(bottom))H\(n(max(d, c + 0.8)))C\(n(d)) \(n(middle)) \(n(b)) "
                wide += "\(n(middle)) \(n(max(b, a + 0.8))) \(n(top))z\"/>\n"
            } else {
                narrow[access, default: ""] += "M\(n(a)) \(n(top))L\(n(c)) \(n(bottom))"
            }
        }
        body += wide
        for (access, path) in narrow.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            body += "<path class=\"l \(access.rawValue)\" d=\"\(path)\"/>\n"
        }
    }

    private mutating func physicalRow(at y: Double) {
        text("guest PA", x: 20, y: y + 21, style: "h")
        breaks(gpa, at: y, height: DrawingSVG.boxHeight)
        for stretch in drawing.physicalStretches {
            let (start, end) = gpa.places(first: stretch.first, pages: stretch.pages)
            let address = GPA(stretch.first << 12)
            let slot = stretch.group >= 0 ? drawing.subject.slots.slots[stretch.group] : nil
            let name = slot?.name ?? (deviceRanges.contains { $0.contains(address) } ? "device" : "no RAM")
            box(
                [name, address.hex], from: x(start), to: x(end), y: y, style: slot == nil ? "box ub" : "box",
                title: "\(name), GPA \(address.hex), \(roundSize(stretch.pages << 12))")
        }
    }

    private mutating func box(
        _ lines: [String], from: Double, to: Double, y: Double, style: String, title: String
    ) {
        body += "<rect class=\"\(style)\" x=\"\(n(from))\" y=\"\(n(y))\" width=\"\(n(max(1, to - from)))\" height=\""
        body += "\(n(DrawingSVG.boxHeight))\" rx=\"3\"><title>\(Markup.escaped(title))</title></rect>\n"
        label(lines, from: from, to: to, y: y + 14)
    }

    /// From each slot's physical addresses to its host virtual ones.
    private mutating func slotWires(from top: Double, to bottom: Double) {
        for slot in drawing.subject.slots.slots {
            let (a, b) = gpa.places(first: slot.guestPhysicalAddress.rawValue >> 12, pages: slot.size >> 12)
            let (c, d) = hva.places(first: slot.userspaceAddress.rawValue >> 12, pages: slot.size >> 12)
            wire(x(a), x(b), x(c), x(d), top, bottom)
        }
    }

    private mutating func wire(_ a: Double, _ b: Double, _ c: Double, _ d: Double, _ top: Double, _ bottom: Double) {
        let middle = (top + bottom) / 2
        body += "<path class=\"s\" d=\"M\(n(a)) \(n(top))C\(n(a)) \(n(middle)) \(n(c)) \(n(middle)) \(n(c)) "
        body += "\(n(bottom))H\(n(max(d, c + 0.8)))C\(n(d)) \(n(middle)) \(n(b)) \(n(middle)) \(n(max(b, a + 0.8))) "
        body += "\(n(top))z\"/>\n"
    }

    private mutating func hostRow(at y: Double) {
        text("host VA", x: 20, y: y + 21, style: "h")
        breaks(hva, at: y, height: DrawingSVG.boxHeight)
        for slot in drawing.subject.slots.slots {
            let (start, end) = hva.places(first: slot.userspaceAddress.rawValue >> 12, pages: slot.size >> 12)
            let name = "slot \(slot.id) \(slot.name)"
            box(
                [name, slot.userspaceAddress.hex], from: x(start), to: x(end), y: y, style: "box",
                title: "\(name), HVA \(slot.userspaceAddress.hex), \(formatSize(slot.size))")
        }
    }

    private mutating func frameWires(from top: Double, to bottom: Double) {
        var seen: Set<UInt64> = []
        var path = ""
        for run in drawing.host ?? [] {
            guard let frame = run.hpa else { continue }
            let (a, b) = hva.places(first: run.hva.rawValue >> 12, pages: run.size >> 12)
            let (c, d) = hpa.places(first: frame.rawValue >> 12, pages: run.size >> 12)
            let key = UInt64(x(a) / 2) << 32 | UInt64(x(c) / 2)
            guard seen.insert(key).inserted, seen.count < 3000 else { continue }
            if x(b) - x(a) > 1.5 || x(d) - x(c) > 1.5 {
                wire(x(a), x(b), x(c), x(d), top, bottom)
            } else {
                path += "M\(n(x(a))) \(n(top))L\(n(x(c))) \(n(bottom))"
            }
        }
        if !path.isEmpty { body += "<path class=\"l no\" d=\"\(path)\"/>\n" }
    }

    private mutating func frameRow(at y: Double) {
        text("host PA", x: 20, y: y + 15, style: "h")
        breaks(hpa, at: y, height: DrawingSVG.barHeight)
        var last = -1.0
        for stretch in drawing.frameStretches {
            let (start, end) = hpa.places(first: stretch.first, pages: stretch.pages)
            guard x(end) - last >= 0.5 else { continue }
            last = x(end)
            body += "<rect class=\"no\" x=\"\(n(x(start)))\" y=\"\(n(y))\" width=\"\(n(max(0.8, x(end) - x(start))))\" "
            body += "height=\"\(n(DrawingSVG.barHeight))\"><title>HPA \(HPA(stretch.first << 12).hex), "
            body += "\(roundSize(stretch.pages << 12))</title></rect>\n"
        }
        var free = DrawingSVG.left
        for (cluster, from, _) in hpa.clusters where x(from) >= free {
            let address = HPA(cluster.first << 12).hex
            free = x(from) + 6.4 * Double(address.count + 2)
            guard free < DrawingSVG.left + DrawingSVG.width + 20 else { break }
            text(address, x: x(from), y: y + DrawingSVG.barHeight + 14, style: "mu", size: 10.5)
        }
    }

    private mutating func legend(at y: Double) {
        var left = DrawingSVG.left
        func swatch(_ style: String) -> String {
            "<rect class=\"\(style)\" x=\"\(n(left))\" y=\"\(n(y - 10))\" width=\"14\" height=\"11\" rx=\"2\"/>\n"
        }
        for access in Access.allCases {
            guard let name = access.legend else { continue }
            body += swatch(access.rawValue)
            text(name, x: left + 19, y: y, style: "mu")
            left += 36 + 6.3 * Double(name.count)
        }
        body += "<rect class=\"us\" x=\"\(n(left))\" y=\"\(n(y - 10))\" width=\"14\" height=\"4\"/>\n"
        text("user", x: left + 19, y: y, style: "mu")
        left += 60
        body += swatch("rw ub")
        text("no RAM behind it", x: left + 19, y: y, style: "mu")
        left += 140
        text("// a gap, not to scale", x: left, y: y, style: "mu")
        var notes = drawing.notes
        if merged > 0 { notes.insert("\(counted(merged, "range")) narrower than a pixel drawn together", at: 0) }
        if !notes.isEmpty { text(notes.joined(separator: "; "), x: DrawingSVG.left, y: y + 20, style: "mu") }
    }
}

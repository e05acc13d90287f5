// A grid of characters on which lines meet as they should.

/// Lines and text on a grid; where lines cross, the right character appears.
struct Canvas {
    /// Directions in which a cell's line goes on.
    private struct Line: OptionSet {
        let rawValue: UInt8
        static let up = Line(rawValue: 1)
        static let down = Line(rawValue: 2)
        static let left = Line(rawValue: 4)
        static let right = Line(rawValue: 8)
    }

    private let width: Int
    private var lines: [[Line]] = []
    private var texts: [[Character?]] = []

    init(width: Int) { self.width = width }

    private mutating func grow(to y: Int) {
        while lines.count <= y {
            lines.append(Array(repeating: [], count: width))
            texts.append(Array(repeating: nil, count: width))
        }
    }

    /// Text from a place on; what does not fit is cut.
    mutating func text(_ text: String, x: Int, y: Int) {
        grow(to: y)
        for (offset, character) in text.enumerated() where (0..<width).contains(x + offset) {
            texts[y][x + offset] = character
        }
    }

    /// Text in the middle between two columns, both included.
    mutating func centred(_ text: String, from left: Int, to right: Int, y: Int) {
        self.text(text, x: left + max(0, (right - left + 1 - text.count) / 2), y: y)
    }

    /// A horizontal line.
    mutating func horizontal(from left: Int, to right: Int, y: Int) {
        grow(to: y)
        guard left < right else { return }
        for x in left...right where (0..<width).contains(x) {
            if x > left { lines[y][x].insert(.left) }
            if x < right { lines[y][x].insert(.right) }
        }
    }

    /// A vertical line.
    mutating func vertical(from top: Int, to bottom: Int, x: Int) {
        grow(to: bottom)
        guard top < bottom, (0..<width).contains(x) else { return }
        for y in top...bottom {
            if y > top { lines[y][x].insert(.up) }
            if y < bottom { lines[y][x].insert(.down) }
        }
    }

    /// A box.
    mutating func box(from left: Int, to right: Int, top: Int, bottom: Int) {
        horizontal(from: left, to: right, y: top)
        horizontal(from: left, to: right, y: bottom)
        vertical(from: top, to: bottom, x: left)
        vertical(from: top, to: bottom, x: right)
    }

    /// The picture, line by line, without blanks at the ends.
    func rendered(ascii: Bool) -> [String] {
        zip(lines, texts).map { lines, texts in
            var line = ""
            for (cell, character) in zip(lines, texts) {
                line.append(character.map { ascii ? Canvas.plain($0) : $0 } ?? Canvas.character(cell, ascii: ascii))
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }

    private static func plain(_ character: Character) -> Character {
        switch character {
        case "▼": return "v"
        case "→": return ">"
        case _ where character.isASCII: return character
        default: return "?"
        }
    }

    private static func character(_ line: Line, ascii: Bool) -> Character {
        if ascii {
            if line.isEmpty { return " " }
            if line.isSubset(of: [.left, .right]) { return "-" }
            return line.isSubset(of: [.up, .down]) ? "|" : "+"
        }
        // By the bits up 1, down 2, left 4, right 8.
        let characters: [Character] = [
            " ", "╵", "╷", "│", "╴", "┘", "┐", "┤", "╶", "└", "┌", "├", "─", "┴", "┬", "┼",
        ]
        return characters[Int(line.rawValue & 15)]
    }
}

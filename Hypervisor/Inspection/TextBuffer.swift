// Text in columns, built as bytes: a dump of 100,000 lines costs little more than its own bytes.

import Addresses

/// What a piece of text is; on a terminal it has a look of its own. Text says the same without it.
public enum TextStyle: String, Sendable {
    /// The head of a report or of a table.
    case heading = "1"
    /// What is there but matters little: unbacked, absent, skipped.
    case faint = "2"
    /// As it should be.
    case good = "32"
    /// Not as good as it could be.
    case warning = "33"
    /// A fault; writable and executable at once.
    case bad = "31"
    /// What ring 3 may use.
    case user = "36"

    /// The text between the sequences that switch the look on and off (SGR, ECMA-48 8.3.117).
    public func applied(to text: String) -> String { "\u{1b}[\(rawValue)m\(text)\u{1b}[0m" }
}

/// Text under construction.
struct TextBuffer {
    /// UTF-8.
    private(set) var bytes: [UInt8] = []
    /// Whether styles are shown.
    let isColoured: Bool
    private var lineStart = 0

    /// How many bytes the line has so far.
    var column: Int { bytes.count - lineStart }

    init(isColoured: Bool = false) { self.isColoured = isColoured }

    /// Hands over what is there and goes on empty.
    mutating func take() -> [UInt8] {
        defer {
            bytes.removeAll(keepingCapacity: true)
            lineStart = 0
        }
        return bytes
    }

    /// Appends text; only ASCII counts right for columns.
    mutating func add(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// Switches a style on; nil: none. `end()` switches it off.
    mutating func begin(_ style: TextStyle?) {
        guard isColoured, let style else { return }
        sequence(style.rawValue)
    }

    /// Switches the style off.
    mutating func end() {
        if isColoured { sequence("0") }
    }

    /// Takes no column: the line's start moves with it.
    private mutating func sequence(_ parameters: String) {
        let before = bytes.count
        bytes.append(0x1b)
        bytes.append(UInt8(ascii: "["))
        bytes.append(contentsOf: parameters.utf8)
        bytes.append(UInt8(ascii: "m"))
        lineStart += bytes.count - before
    }

    /// Appends text in a style.
    mutating func add(_ text: String, _ style: TextStyle?) {
        begin(style)
        add(text)
        if style != nil { end() }
    }

    /// Appends a line in a style.
    mutating func line(_ text: String, _ style: TextStyle) {
        add(text, style)
        newline()
    }

    /// Appends blanks up to a column, at least one.
    mutating func tab(to column: Int) {
        let have = bytes.count - lineStart
        bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: max(1, column - have)))
    }

    /// Appends text that ends at a column.
    mutating func right(_ text: String, to column: Int) {
        let have = bytes.count - lineStart
        bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: max(1, column - have - text.utf8.count)))
        add(text)
    }

    /// Appends `0x` and at least `digits` hexadecimal digits.
    mutating func hex(_ value: UInt64, digits: Int = 1) {
        appendHex(value, digits: digits, to: &bytes)
    }

    /// Ends the line.
    mutating func newline() {
        bytes.append(10)
        lineStart = bytes.count
    }

    /// Appends a line.
    mutating func line(_ text: String) {
        add(text)
        newline()
    }
}

/// Appends `0x` and at least `digits` hexadecimal digits.
func appendHex(_ value: UInt64, digits: Int = 1, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "0"))
    bytes.append(UInt8(ascii: "x"))
    let significant = (64 - value.leadingZeroBitCount + 3) / 4
    var shift = (max(significant, digits, 1) - 1) * 4
    while shift >= 0 {
        let digit = UInt8(truncatingIfNeeded: value >> UInt64(shift) & 15)
        bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        shift -= 4
    }
}

/// Appends a number's decimal digits.
func appendDecimal(_ number: some FixedWidthInteger, to bytes: inout [UInt8]) {
    if number < 0 { bytes.append(UInt8(ascii: "-")) }
    let start = bytes.count
    var rest = UInt64(truncatingIfNeeded: number.magnitude)
    repeat {
        bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
        rest /= 10
    } while rest > 0
    bytes[start...].reverse()
}

/// A number with commas: `75,775`.
func grouped(_ number: some BinaryInteger) -> String {
    var text = ""
    for (index, digit) in String(number).reversed().enumerated() {
        if index > 0 && index % 3 == 0 && digit != "-" { text.append(",") }
        text.append(digit)
    }
    return String(text.reversed())
}

/// `1 table`, `3 tables`.
func counted(_ number: some BinaryInteger, _ noun: String, _ plural: String? = nil) -> String {
    "\(grouped(number)) \(number == 1 ? noun : plural ?? noun + "s")"
}

/// A number of bytes in few characters: exact where that is short, else about right: `1G`, `2.9G`.
func roundSize(_ bytes: UInt64) -> String {
    let exact = formatSize(bytes)
    if exact.utf8.count <= 5 { return exact }
    for (shift, suffix) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] as [(UInt64, String)] where bytes >> shift > 0 {
        let tenths = (bytes >> (shift - 4)) * 10 / 16
        return tenths % 10 == 0 || tenths >= 1000 ? "\(tenths / 10)\(suffix)" : "\(tenths / 10).\(tenths % 10)\(suffix)"
    }
    return exact
}

// Text in columns, built as bytes: a dump of 100,000 lines costs little more than its own bytes.

import Addresses

/// Text under construction.
struct TextBuffer {
    /// UTF-8.
    private(set) var bytes: [UInt8] = []
    private var lineStart = 0

    /// How many bytes the line has so far.
    var column: Int { bytes.count - lineStart }

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

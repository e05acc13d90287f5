// Numbers as QEMU's human monitor prints them.

/// Hexadecimal digits, zeros in front, at least `count`.
func hexDigits(_ number: some BinaryInteger & UnsignedInteger, _ count: Int) -> String {
    let text = String(number, radix: 16)
    return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
}

/// Decimal digits, zeros in front, at least `count`.
func decimalDigits(_ number: Int, _ count: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
}

/// A number as C's `%#x` prints it: no prefix before 0.
func prefixedHex(_ number: UInt64) -> String { number == 0 ? "0" : "0x" + String(number, radix: 16) }

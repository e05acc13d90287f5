// Addresses and sizes as people write and read them. Host only: the guest kernel has its own, smaller printing.

extension Address {
    /// `0xffff800000200000`: hexadecimal, without padding.
    public var hex: String { "0x" + String(rawValue, radix: 16) }

    /// `0x0000000000200000`: hexadecimal, 16 digits, for columns.
    public var hex16: String {
        let digits = String(rawValue, radix: 16)
        return "0x" + String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }

    /// Reads an address: hexadecimal, with or without `0x`, underscores allowed. Nil if it is anything else.
    public init?(parsing text: some StringProtocol) {
        guard let value = parseHexadecimal(text) else { return nil }
        self.init(value)
    }
}

/// Reads a hexadecimal number, with or without `0x`, underscores allowed; nil if it is anything else or over 64 bits.
public func parseHexadecimal(_ text: some StringProtocol) -> UInt64? {
    var digits = Array(text.utf8)
    if digits.starts(with: [UInt8(ascii: "0"), UInt8(ascii: "x")])
        || digits.starts(with: [UInt8(ascii: "0"), UInt8(ascii: "X")])
    {
        digits.removeFirst(2)
    }
    guard let first = digits.first, first != UInt8(ascii: "_") else { return nil }
    var value: UInt64 = 0
    for digit in digits where digit != UInt8(ascii: "_") {
        let number: UInt8
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): number = digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): number = digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): number = digit - UInt8(ascii: "A") + 10
        default: return nil
        }
        guard value >> 60 == 0 else { return nil }
        value = value << 4 | UInt64(number)
    }
    return value
}

/// A number of bytes as people write it: `64M`, `1G`, `4096`, `0x1000`. Suffixes are binary: K, M, G, T.
public func parseSize(_ text: some StringProtocol) -> UInt64? {
    if text.hasPrefix("0x") || text.hasPrefix("0X") { return parseHexadecimal(text) }
    var digits = Substring(String(text))
    var shift: UInt64 = 0
    if let last = digits.last {
        switch last {
        case "K", "k": shift = 10
        case "M", "m": shift = 20
        case "G", "g": shift = 30
        case "T", "t": shift = 40
        default: break
        }
    }
    if shift != 0 { digits = digits.dropLast() }
    guard digits.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
        let number = UInt64(digits), number <= UInt64.max >> shift
    else { return nil }
    return number << shift
}

/// A number of bytes, short and exact: `4K`, `2M`, `1G`, `5000`.
public func formatSize(_ bytes: UInt64) -> String {
    for (shift, suffix) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] as [(UInt64, String)]
    where bytes != 0 && bytes & (1 << shift &- 1) == 0 {
        return "\(bytes >> shift)\(suffix)"
    }
    return "\(bytes)"
}

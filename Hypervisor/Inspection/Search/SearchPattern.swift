// What `vitrine search` looks for: bytes, some of whose bits may be anything.
//
//     hello   string:hello   utf16:hello        text
//     0x1f8b08   u16:0x1f8b   u32be:4711        integers, little-endian unless they say `be`
//     bytes:7f454c46 02??01                     bytes, `?` for half a byte that may be anything

import Addresses

/// Why a pattern is not understood.
public struct PatternError: Error, Equatable, CustomStringConvertible {
    /// The message, with the pattern and the place in it.
    public let description: String

    init(_ message: String) { description = message }
}

/// Bytes to look for.
public struct SearchPattern: Sendable, Equatable {
    /// The bytes; those bits that may be anything are 0.
    public private(set) var values: [UInt8]
    /// Which bits of each byte count.
    public private(set) var masks: [UInt8]
    /// What an address has to be a multiple of: the size of an integer that names its width, else 1.
    public private(set) var alignment: UInt64 = 1

    /// Longer patterns are refused: a match lies in two pages at most.
    public static let longest = 1024

    /// What there is, for help: a few lines.
    public static let help = """
        hello, string:hello      text, UTF-8                    utf16:hello    text, UTF-16, little-endian
        u8: u16: u32: u64:N      an integer, little-endian, at a multiple of its size; u16be: ... big-endian
        0x1f8b0800               an integer of as many bytes as its digits say, anywhere
        bytes:7f45'4c46??0?      bytes, ? for half a byte that may be anything; blanks, ' _ : - between them do not count
        """

    /// Reads a pattern.
    ///
    /// - Parameter ignoresCase: letters A to Z match in either case; for text only.
    public init(parsing text: String, ignoresCase: Bool = false) throws(PatternError) {
        values = []
        masks = []
        if let colon = text.firstIndex(of: ":"), let kind = Kind(rawValue: String(text[..<colon])) {
            let rest = text[text.index(after: colon)...]
            if ignoresCase && !kind.isText { throw PatternError("\(text): only text has upper and lower case") }
            switch kind {
            case .string: setText(Array(rest.utf8), ignoresCase: ignoresCase)
            case .utf16: setText(rest.utf16.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }, ignoresCase: ignoresCase)
            case .bytes: try setBytes(rest, in: text)
            default: try setInteger(rest, kind: kind, in: text)
            }
        } else if let name = SearchPattern.unknownInteger(text) {
            throw PatternError(
                "\(text): there is no integer '\(name)', but u8, u16, u32, u64, u16be, u32be and u64be; "
                    + "string:\(text) looks for the text")
        } else if text.hasPrefix("0x") || text.hasPrefix("0X"), !ignoresCase {
            try setDigits(text)
        } else {
            setText(Array(text.utf8), ignoresCase: ignoresCase)
        }
        guard !values.isEmpty else { throw PatternError("an empty pattern is everywhere") }
        guard values.count <= SearchPattern.longest else {
            throw PatternError("a pattern has at most \(SearchPattern.longest) bytes, this one \(values.count)")
        }
        guard masks.contains(where: { $0 != 0 }) else {
            throw PatternError("\(text): a pattern in which every byte may be anything is everywhere")
        }
    }

    /// What stands before the colon, if it looks like the name of an integer: `u12`, `i32`, `u64le`.
    private static func unknownInteger(_ text: String) -> Substring? {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let name = text[..<colon]
        guard let first = name.first, "uis".contains(first), let second = name.dropFirst().first, second.isASCII,
            second.isNumber
        else { return nil }
        return name
    }

    private enum Kind: String {
        case string, utf16, bytes, u8, u16, u32, u64, u16be, u32be, u64be

        var isText: Bool { self == .string || self == .utf16 }
        var isBigEndian: Bool { self == .u16be || self == .u32be || self == .u64be }
        var size: Int {
            switch self {
            case .u16, .u16be: 2
            case .u32, .u32be: 4
            case .u64, .u64be: 8
            default: 1
            }
        }
    }

    private mutating func setText(_ bytes: [UInt8], ignoresCase: Bool) {
        for byte in bytes {
            let isLetter = (byte | 0x20) >= UInt8(ascii: "a") && (byte | 0x20) <= UInt8(ascii: "z")
            let mask: UInt8 = ignoresCase && isLetter ? 0xdf : 0xff
            values.append(byte & mask)
            masks.append(mask)
        }
    }

    /// A hexadecimal number without a width: as many bytes as it has digits for.
    private mutating func setDigits(_ text: String) throws(PatternError) {
        guard let number = parseHexadecimal(text) else {
            throw PatternError("\(text): no hexadecimal number of at most 64 bits; string:\(text) looks for the text")
        }
        let digits = text.utf8.filter { $0 != UInt8(ascii: "_") }.count - 2
        append(number, size: [1, 1, 1, 2, 2, 4, 4, 4, 4][min(digits, 8)] * (digits > 8 ? 2 : 1), bigEndian: false)
    }

    private mutating func setInteger(_ digits: Substring, kind: Kind, in text: String) throws(PatternError) {
        let bits = kind.size * 8
        let isNegative = digits.hasPrefix("-")
        let magnitude = isNegative ? digits.dropFirst() : digits
        let isHexadecimal = magnitude.hasPrefix("0x") || magnitude.hasPrefix("0X")
        guard let number = isHexadecimal ? parseHexadecimal(magnitude) : UInt64(magnitude) else {
            throw PatternError("\(text): '\(digits)' is no number")
        }
        let limit: UInt64 = bits == 64 ? .max : (1 << UInt64(bits)) - 1
        guard isNegative ? number <= limit / 2 + 1 : number <= limit else {
            throw PatternError("\(text): \(digits) does not fit in \(bits) bits")
        }
        append(isNegative ? 0 &- number : number, size: kind.size, bigEndian: kind.isBigEndian)
        alignment = UInt64(kind.size)
    }

    private mutating func append(_ number: UInt64, size: Int, bigEndian: Bool) {
        for place in 0..<size {
            let shift = UInt64(bigEndian ? size - 1 - place : place) * 8
            values.append(UInt8(truncatingIfNeeded: number >> shift))
            masks.append(0xff)
        }
    }

    private mutating func setBytes(_ digits: Substring, in text: String) throws(PatternError) {
        var half: (value: UInt8, mask: UInt8)?
        for (place, character) in digits.enumerated() {
            if " _:-'".contains(character) { continue }
            let digit: (value: UInt8, mask: UInt8)
            if character == "?" {
                digit = (0, 0)
            } else if character.isASCII, let value = character.hexDigitValue {
                digit = (UInt8(value), 15)
            } else {
                throw PatternError(
                    "\(text): '\(character)', the character \(place + 1) of the bytes, is no hexadecimal digit")
            }
            if let high = half {
                values.append(high.value << 4 | digit.value)
                masks.append(high.mask << 4 | digit.mask)
                half = nil
            } else {
                half = digit
            }
        }
        if half != nil { throw PatternError("\(text): half a byte is left over; two digits make a byte") }
    }
}

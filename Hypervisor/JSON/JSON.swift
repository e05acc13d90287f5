// A JSON value (RFC 8259).

/// A JSON value. An object keeps the order of its members.
public enum JSON: Sendable, Equatable {
    /// null
    case null
    /// true or false
    case bool(Bool)
    /// A number without fraction or exponent, within Int64.
    case integer(Int64)
    /// A number without fraction or exponent above Int64.max; only ever written, the parser refuses such.
    case unsigned(UInt64)
    /// Any other number.
    case real(Double)
    /// A text.
    case string(String)
    /// Values in order.
    case array([JSON])
    /// Members in order; no name occurs twice in what the parser returns.
    case object([JSONMember])
}

/// One member of an object.
public struct JSONMember: Sendable, Equatable {
    /// The name.
    public let name: String
    /// The value.
    public let value: JSON

    /// A member.
    public init(_ name: String, _ value: JSON) {
        self.name = name
        self.value = value
    }
}

extension JSON {
    /// The member of an object with this name; nil if there is none or this is no object.
    public subscript(name: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// The text, or nil if this is none.
    public var text: String? {
        if case .string(let text) = self { return text }
        return nil
    }

    /// The number as an Int, or nil if this is no whole number.
    public var int: Int? {
        switch self {
        case .integer(let number): return Int(exactly: number)
        case .unsigned(let number): return Int(exactly: number)
        default: return nil
        }
    }

    /// The number as a UInt64, or nil if this is no whole number or a negative one.
    public var uint64: UInt64? {
        switch self {
        case .integer(let number): return UInt64(exactly: number)
        case .unsigned(let number): return number
        default: return nil
        }
    }

    /// The number, whole or not, or nil if this is none.
    public var double: Double? {
        switch self {
        case .integer(let number): return Double(number)
        case .unsigned(let number): return Double(number)
        case .real(let number): return number
        default: return nil
        }
    }

    /// true or false, or nil if this is neither.
    public var boolean: Bool? {
        if case .bool(let value) = self { return value }
        return nil
    }

    /// The values of an array, or nil if this is none.
    public var elements: [JSON]? {
        if case .array(let elements) = self { return elements }
        return nil
    }

    /// The members of an object, or nil if this is none.
    public var members: [JSONMember]? {
        if case .object(let members) = self { return members }
        return nil
    }

    /// An unsigned 64-bit number written as a string, `"0x1f"`, as every address is; nil if this is none.
    public var address: UInt64? {
        guard let text, text.hasPrefix("0x"), text.utf8.count > 2 else { return nil }
        let digits = text.dropFirst(2)
        guard digits.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }) else { return nil }
        return UInt64(digits, radix: 16)
    }

    /// The value as JSON text, without line breaks.
    public var encoded: String {
        var writer = JSONWriter()
        writer.value(self)
        return writer.text
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// A text.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A number.
    public init(integerLiteral value: Int64) { self = .integer(value) }
    /// true or false.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// An array.
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    /// An object, in the order written.
    public init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(elements.map { JSONMember($0.0, $0.1) })
    }

    /// A number of any integer type.
    public init(_ number: some BinaryInteger) {
        if let small = Int64(exactly: number) {
            self = .integer(small)
        } else if let large = UInt64(exactly: number) {
            self = .unsigned(large)
        } else {
            self = .real(Double(number))
        }
    }

    /// An address or a register: a string of hexadecimal digits after `0x`.
    public static func hex(_ number: UInt64) -> JSON { .string("0x" + String(number, radix: 16)) }
}

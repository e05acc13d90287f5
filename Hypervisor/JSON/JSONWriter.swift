// JSON text, written as it comes: no tree is built, so a dump of 100,000 ranges costs its own bytes and nothing more.

/// Writes JSON text into a buffer of bytes.
///
///     writer.object {
///         $0.member("schema", "vitrine.pages/1")
///         $0.key("ranges")
///         $0.array { for range in ranges { $0.value(range) } }
///     }
public struct JSONWriter: Sendable {
    /// What was written so far, UTF-8.
    public private(set) var bytes: [UInt8] = []
    /// Whether the next value or key follows another one.
    private var needsComma = false

    /// An empty buffer.
    public init() {}

    /// What was written so far, as a text.
    public var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Hands over what was written so far and goes on with an empty buffer: for output in pieces.
    public mutating func take() -> [UInt8] {
        defer { bytes.removeAll(keepingCapacity: true) }
        return bytes
    }

    /// Writes an object; `body` writes its members.
    public mutating func object(_ body: (inout JSONWriter) throws -> Void) rethrows {
        open(UInt8(ascii: "{"))
        try body(&self)
        close(UInt8(ascii: "}"))
    }

    /// Writes an array; `body` writes its values.
    public mutating func array(_ body: (inout JSONWriter) throws -> Void) rethrows {
        open(UInt8(ascii: "["))
        try body(&self)
        close(UInt8(ascii: "]"))
    }

    /// Begins an object; its members and `endObject()` follow.
    public mutating func beginObject() { open(UInt8(ascii: "{")) }
    /// Ends an object.
    public mutating func endObject() { close(UInt8(ascii: "}")) }
    /// Begins an array; its values and `endArray()` follow.
    public mutating func beginArray() { open(UInt8(ascii: "[")) }
    /// Ends an array.
    public mutating func endArray() { close(UInt8(ascii: "]")) }

    /// Writes the name of a member; its value follows.
    public mutating func key(_ name: String) {
        separate()
        quote(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    /// Writes a text.
    public mutating func value(_ text: String) {
        separate()
        quote(text)
    }

    /// Writes a whole number.
    public mutating func value(_ number: some FixedWidthInteger) {
        separate()
        decimal(UInt64(truncatingIfNeeded: number.magnitude), negative: number < 0)
    }

    /// Writes a number; what JSON cannot say (infinite, not a number) becomes null.
    public mutating func value(_ number: Double) {
        separate()
        bytes.append(contentsOf: number.isFinite ? Array("\(number)".utf8) : Array("null".utf8))
    }

    /// Writes true or false.
    public mutating func value(_ flag: Bool) {
        separate()
        bytes.append(contentsOf: flag ? "true".utf8 : "false".utf8)
    }

    /// Writes null.
    public mutating func null() {
        separate()
        bytes.append(contentsOf: "null".utf8)
    }

    /// Writes an address: `"0x..."`.
    public mutating func hex(_ number: UInt64) {
        separate()
        bytes.append(contentsOf: [UInt8(ascii: "\""), UInt8(ascii: "0"), UInt8(ascii: "x")])
        var shift = max(0, (63 - number.leadingZeroBitCount) / 4 * 4)
        while shift >= 0 {
            bytes.append(JSONWriter.digits[Int(number >> UInt64(shift) & 15)])
            shift -= 4
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// Writes a value.
    public mutating func value(_ json: JSON) {
        switch json {
        case .null: null()
        case .bool(let flag): value(flag)
        case .integer(let number): value(number)
        case .unsigned(let number): value(number)
        case .real(let number): value(number)
        case .string(let text): value(text)
        case .array(let elements):
            beginArray()
            for element in elements { value(element) }
            endArray()
        case .object(let members):
            beginObject()
            for member in members {
                key(member.name)
                value(member.value)
            }
            endObject()
        }
    }

    /// Writes a member with a text; nil is null.
    public mutating func member(_ name: String, _ text: String?) {
        key(name)
        if let text { value(text) } else { null() }
    }

    /// Writes a member with a whole number.
    public mutating func member(_ name: String, _ number: some FixedWidthInteger) {
        key(name)
        value(number)
    }

    /// Writes a member with a number.
    public mutating func member(_ name: String, _ number: Double) {
        key(name)
        value(number)
    }

    /// Writes a member with true or false.
    public mutating func member(_ name: String, _ flag: Bool) {
        key(name)
        value(flag)
    }

    /// Writes a member with a value.
    public mutating func member(_ name: String, json: JSON) {
        key(name)
        value(json)
    }

    /// Writes a member with an address, `"0x..."`; nil is null.
    public mutating func member(_ name: String, hex number: UInt64?) {
        key(name)
        if let number { hex(number) } else { null() }
    }

    /// Ends a line: between one value and the next of a stream, or for the reader's sake between two elements.
    public mutating func newline() { bytes.append(UInt8(ascii: "\n")) }

    /// Ends a line of its own: what follows is a new text, no further value of this one.
    public mutating func endLine() {
        bytes.append(UInt8(ascii: "\n"))
        needsComma = false
    }

    private static let digits = Array("0123456789abcdef".utf8)

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func open(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        bytes.append(bracket)
        needsComma = true
    }

    private mutating func decimal(_ magnitude: UInt64, negative: Bool) {
        if negative { bytes.append(UInt8(ascii: "-")) }
        let start = bytes.count
        var rest = magnitude
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }

    private mutating func quote(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 10: bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "n")])
            case 9: bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "t")])
            case 13: bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "r")])
            case 0..<32, 127:
                bytes.append(contentsOf: "\\u00".utf8)
                bytes.append(JSONWriter.digits[Int(byte >> 4)])
                bytes.append(JSONWriter.digits[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}

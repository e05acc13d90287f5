// Writing CSV (RFC 4180) into a buffer, field by field. Lines end with LF, as text on Linux does.

/// Builds a CSV: one header line, then a record a line.
///
///     var writer = CSVWriter(header: ["va", "size"])
///     writer.field(hex: 0x1000)
///     writer.field(4096)
///     writer.endRecord()
///     try emit(writer.take())
public struct CSVWriter: Sendable {
    /// What was written so far, UTF-8.
    public private(set) var bytes: [UInt8] = []
    private var needsComma = false

    /// A buffer with the header.
    public init(header: [String]) {
        for name in header { field(name) }
        endRecord()
    }

    /// Hands over what was written so far and goes on with an empty buffer: for output in pieces.
    public mutating func take() -> [UInt8] {
        defer { bytes.removeAll(keepingCapacity: true) }
        return bytes
    }

    /// Writes a text, in quotes where it needs them.
    public mutating func field(_ text: String) {
        separate()
        let needsQuotes = text.utf8.contains { byte in
            byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\"") || byte == 10 || byte == 13
        }
        guard needsQuotes else {
            bytes.append(contentsOf: text.utf8)
            return
        }
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            if byte == UInt8(ascii: "\"") { bytes.append(byte) }
            bytes.append(byte)
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// Writes an address: `0x...`.
    public mutating func field(hex address: UInt64) {
        separate()
        appendHex(address, to: &bytes)
    }

    /// Writes a whole number.
    public mutating func field(_ number: some FixedWidthInteger) {
        separate()
        appendDecimal(number, to: &bytes)
    }

    /// Writes `true` or `false`.
    public mutating func field(_ flag: Bool) { field(flag ? "true" : "false") }

    /// Writes an empty field.
    public mutating func emptyField() { separate() }

    /// Writes a field's value.
    public mutating func field(_ value: FieldValue) {
        switch value {
        case .text(let text): field(text)
        case .address(let address): field(hex: address)
        case .number(let number): field(number)
        case .unsigned(let number): field(number)
        case .flag(let flag): field(flag)
        case .texts(let texts): field(texts.joined(separator: " "))
        case .numbers(let numbers): field(numbers.map(String.init).joined(separator: " "))
        case .null, .absent: emptyField()
        }
    }

    /// Ends the line.
    public mutating func endRecord() {
        bytes.append(10)
        needsComma = false
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }
}

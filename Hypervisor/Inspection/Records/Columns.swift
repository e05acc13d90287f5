// The fields of a report's rows, described once: JSON and CSV are written from the same description.

import JSON

/// The value of a field, the same in JSON and in CSV.
public enum FieldValue: Sendable, Equatable {
    /// A text.
    case text(String)
    /// An address: `0x...`.
    case address(UInt64)
    /// A whole number; sizes are in bytes.
    case number(Int64)
    /// A size or a count that may need all 64 bits.
    case unsigned(UInt64)
    /// True or false.
    case flag(Bool)
    /// Several texts: an array in JSON, with blanks between them in CSV.
    case texts([String])
    /// Several numbers: an array in JSON, with blanks between them in CSV.
    case numbers([Int])
    /// Nothing is known: null in JSON, empty in CSV.
    case null
    /// The row has no such field: left out in JSON, empty in CSV.
    case absent

    /// A text, or null.
    public init(_ text: String?) { self = text.map { .text($0) } ?? .null }
    /// An address, or null.
    public init(address: UInt64?) { self = address.map { .address($0) } ?? .null }
    /// A count.
    public init(_ number: Int) { self = .number(Int64(number)) }
}

/// A field of a row.
public struct Column<Row>: Sendable {
    /// Its name in JSON and CSV.
    public let name: String
    /// What a row has there.
    let value: @Sendable (Row) -> FieldValue

    /// A field.
    public init(_ name: String, _ value: @escaping @Sendable (Row) -> FieldValue) {
        self.name = name
        self.value = value
    }
}

/// All fields of a row, in order.
public struct Columns<Row>: Sendable {
    /// The fields.
    public let columns: [Column<Row>]

    /// These fields.
    public init(_ columns: Column<Row>...) { self.columns = columns }

    /// Their names: the header of a CSV.
    public var names: [String] { columns.map(\.name) }

    /// Writes a row as an object.
    public func write(_ row: Row, into writer: inout JSONWriter) {
        writer.beginObject()
        members(of: row, into: &writer)
        writer.endObject()
    }

    /// Writes a row as the members of an object that the caller has begun.
    public func members(of row: Row, into writer: inout JSONWriter) {
        for column in columns {
            let value = column.value(row)
            if case .absent = value { continue }
            writer.key(column.name)
            writer.value(value)
        }
    }

    /// Writes a row as a record.
    public func write(_ row: Row, into writer: inout CSVWriter) {
        fields(of: row, into: &writer)
        writer.endRecord()
    }

    /// Writes a row as fields of a record that the caller ends.
    public func fields(of row: Row, into writer: inout CSVWriter) {
        for column in columns { writer.field(column.value(row)) }
    }

    /// A whole CSV: the header and a record a row.
    public func csv(_ rows: some Sequence<Row>) -> [UInt8] {
        var writer = CSVWriter(header: names)
        for row in rows { write(row, into: &writer) }
        return writer.take()
    }
}

extension JSONWriter {
    /// Writes a field's value.
    mutating func value(_ value: FieldValue) {
        switch value {
        case .text(let text): self.value(text)
        case .address(let address): hex(address)
        case .number(let number): self.value(number)
        case .unsigned(let number): self.value(number)
        case .flag(let flag): self.value(flag)
        case .texts(let texts): array { writer in for text in texts { writer.value(text) } }
        case .numbers(let numbers): array { writer in for number in numbers { writer.value(number) } }
        case .null, .absent: null()
        }
    }
}

// The contents of sections: numbers, texts and blocks one after the other, little-endian.

/// Writes fields.
public struct FieldWriter: Sendable {
    /// What was written.
    public private(set) var bytes: [UInt8] = []

    /// No fields.
    public init() {}

    private mutating func number(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// One byte.
    public mutating func u8(_ value: UInt8) { bytes.append(value) }
    /// 0 or 1, one byte.
    public mutating func flag(_ value: Bool) { bytes.append(value ? 1 : 0) }
    /// Two bytes.
    public mutating func u16(_ value: UInt16) { number(value) }
    /// Four bytes.
    public mutating func u32(_ value: UInt32) { number(value) }
    /// Eight bytes.
    public mutating func u64(_ value: UInt64) { number(value) }
    /// Bytes without their count.
    public mutating func raw(_ values: [UInt8]) { bytes.append(contentsOf: values) }

    /// Bytes after their count, four bytes.
    public mutating func block(_ values: [UInt8]) {
        u32(UInt32(clamping: values.count))
        bytes.append(contentsOf: values)
    }

    /// A text after the number of its bytes, four bytes.
    public mutating func text(_ value: String) { block(Array(value.utf8)) }

    /// A structure of C, whose bytes the kernel's interface fixes, after its size, four bytes.
    public mutating func structure<T>(_ value: T) {
        withUnsafeBytes(of: value) { block(Array($0)) }
    }
}

/// Reads fields; each is named, so that a message can say which was wrong, and where.
public struct FieldReader: Sendable {
    private let bytes: [UInt8]
    private let base: UInt64
    private let section: String
    private var position = 0

    /// - Parameters:
    ///   - offset: where the bytes begin in the whole.
    ///   - section: their name in messages.
    public init(_ bytes: [UInt8], offset: UInt64, section: String) {
        self.bytes = bytes
        base = offset
        self.section = section
    }

    /// Where the next field is, in bytes from the start of the saved guest.
    public var offset: UInt64 { base &+ UInt64(position) }

    /// The error that a field makes no sense; its value ends at the present offset.
    public func wrong(_ field: String, _ what: String) -> SavedGuestError {
        .input("\(section), before byte \(offset): \(field): \(what)")
    }

    private mutating func take(_ count: Int, _ field: String) throws(SavedGuestError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= bytes.count - position else {
            throw .input(
                "\(section), byte \(offset): \(field) needs \(count) bytes, \(bytes.count - position) are left")
        }
        defer { position += count }
        return bytes[position..<position + count]
    }

    private mutating func number<T: FixedWidthInteger>(_ field: String) throws(SavedGuestError) -> T {
        var value: T = 0
        for byte in try take(MemoryLayout<T>.size, field).reversed() {
            value = value << 8 | T(truncatingIfNeeded: byte)
        }
        return value
    }

    /// One byte.
    public mutating func u8(_ field: String) throws(SavedGuestError) -> UInt8 { try number(field) }
    /// Two bytes.
    public mutating func u16(_ field: String) throws(SavedGuestError) -> UInt16 { try number(field) }
    /// Four bytes.
    public mutating func u32(_ field: String) throws(SavedGuestError) -> UInt32 { try number(field) }
    /// Eight bytes.
    public mutating func u64(_ field: String) throws(SavedGuestError) -> UInt64 { try number(field) }

    /// 0 or 1, one byte.
    public mutating func flag(_ field: String) throws(SavedGuestError) -> Bool {
        let value = try u8(field)
        guard value < 2 else { throw wrong(field, "\(value) is neither 0 nor 1") }
        return value == 1
    }

    /// Four bytes, a number of things.
    public mutating func count(_ field: String, limit: Int) throws(SavedGuestError) -> Int {
        let value = try u32(field)
        guard value <= UInt32(clamping: limit) else { throw wrong(field, "\(value) is more than \(limit)") }
        return Int(value)
    }

    /// Bytes without their count.
    public mutating func raw(_ count: Int, _ field: String) throws(SavedGuestError) -> [UInt8] {
        Array(try take(count, field))
    }

    /// Bytes after their count.
    public mutating func block(_ field: String, limit: Int) throws(SavedGuestError) -> [UInt8] {
        let size = try count(field, limit: limit)
        return Array(try take(size, field))
    }

    /// A text after the number of its bytes.
    public mutating func text(_ field: String, limit: Int = 4096) throws(SavedGuestError) -> String {
        let found = try block(field, limit: limit)
        guard let text = String(validating: found, as: UTF8.self), !found.contains(0) else {
            throw wrong(field, "no text")
        }
        return text
    }

    /// A structure of C, of numbers alone, after its size, which must be right.
    public mutating func structure<T>(_ field: String, as type: T.Type) throws(SavedGuestError) -> T {
        let size = MemoryLayout<T>.size
        let found = try u32(field)
        guard found == size else { throw wrong(field, "\(found) bytes instead of \(size)") }
        let bytes = try take(size, field)
        // Structures with unions in them are not BitwiseCopyable to Swift; any bytes are a value of them all the same.
        let value = UnsafeMutablePointer<T>.allocate(capacity: 1)
        defer { value.deallocate() }
        bytes.withUnsafeBytes { source in
            UnsafeMutableRawBufferPointer(start: value, count: size).copyMemory(from: source)
        }
        return value.pointee
    }

    /// What is left.
    public var rest: [UInt8] { Array(bytes[position...]) }

    /// Makes sure that nothing is left.
    public func end() throws(SavedGuestError) {
        guard position == bytes.count else {
            throw .input("\(section), byte \(offset): \(bytes.count - position) bytes that mean nothing")
        }
    }
}

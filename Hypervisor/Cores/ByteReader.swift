// Numbers out of bytes, within bounds.

/// Little-endian numbers in a piece of a file.
struct ByteReader {
    let bytes: [UInt8]

    /// The unsigned number of `size` bytes (at most 8) at `offset`, or nil if it is not all there.
    func number(at offset: Int, size: Int) -> UInt64? {
        guard offset >= 0, size <= 8, offset <= bytes.count, bytes.count - offset >= size else { return nil }
        var value: UInt64 = 0
        for index in (0..<size).reversed() { value = value << 8 | UInt64(bytes[offset + index]) }
        return value
    }

    /// Two bytes.
    func half(_ offset: Int) -> UInt64? { number(at: offset, size: 2) }
    /// Four bytes.
    func word(_ offset: Int) -> UInt64? { number(at: offset, size: 4) }
    /// Eight bytes.
    func double(_ offset: Int) -> UInt64? { number(at: offset, size: 8) }
}

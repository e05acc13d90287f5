// Writing a saved guest, front to back.

/// Writes the frame of a saved guest into something that takes bytes: a file, a pipe, a socket.
public final class SectionWriter {
    /// Takes all of the bytes.
    public typealias Sink = (UnsafeRawBufferPointer) throws(SavedGuestError) -> Void

    private let sink: Sink
    private var index: UInt32 = 0
    /// Bytes written so far.
    public private(set) var count: UInt64 = 0

    /// Writes the header.
    public init(_ sink: @escaping Sink) throws(SavedGuestError) {
        self.sink = sink
        var header = FieldWriter()
        header.raw(SavedGuestFormat.magic)
        header.u32(SavedGuestFormat.version)
        header.u32(UInt32(SavedGuestFormat.headerSize))
        header.raw([UInt8](repeating: 0, count: 12))
        header.u32(SavedGuestFormat.checksum(header.bytes))
        try put(header.bytes)
    }

    /// Writes a section.
    public func section(_ kind: SectionKind, _ fields: FieldWriter) throws(SavedGuestError) {
        try begin(kind, length: fields.bytes.count, SavedGuestFormat.checksum(fields.bytes))
        try put(fields.bytes)
    }

    /// Writes a section whose contents lie in one piece of memory that nobody changes meanwhile.
    public func section(_ kind: SectionKind, _ contents: UnsafeRawBufferPointer) throws(SavedGuestError) {
        try begin(kind, length: contents.count, SavedGuestFormat.checksum(contents))
        count += UInt64(contents.count)
        try sink(contents)
    }

    /// Writes the last section.
    public func end() throws(SavedGuestError) {
        var fields = FieldWriter()
        fields.u64(UInt64(index))
        fields.u64(count)
        try section(.end, fields)
    }

    private func begin(_ kind: SectionKind, length: Int, _ checksum: UInt32) throws(SavedGuestError) {
        var header = FieldWriter()
        header.u32(kind.rawValue)
        header.u32(index)
        header.u64(UInt64(length))
        header.u32(checksum)
        header.u32(SavedGuestFormat.checksum(header.bytes))
        index &+= 1
        try put(header.bytes)
    }

    private func put(_ bytes: [UInt8]) throws(SavedGuestError) {
        count += UInt64(bytes.count)
        // A closure of withUnsafeBytes would lose the type of the error.
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
        defer { buffer.deallocate() }
        buffer.copyBytes(from: bytes)
        try sink(UnsafeRawBufferPointer(buffer))
    }
}

// The notes in an ELF file (System V ABI, "Note Section").

/// One note.
struct ELFNote {
    let owner: String
    let type: UInt32
    let descriptor: ArraySlice<UInt8>

    /// 8 bytes of the descriptor, little-endian; nil if it is shorter.
    func word(_ offset: Int) -> UInt64? {
        guard descriptor.count >= offset + 8 else { return nil }
        return descriptor.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
    }

    /// 4 bytes of the descriptor.
    func halfWord(_ offset: Int) -> UInt32? {
        guard descriptor.count >= offset + 4 else { return nil }
        return descriptor.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
    }
}

/// The notes of one segment, in order. Ends quietly at the first that does not fit.
struct ELFNotes: Sequence, IteratorProtocol {
    private let bytes: [UInt8]
    private let alignment: Int
    private var position = 0

    /// - Parameter alignment: 4, or 8 for segments that are aligned so.
    init(_ bytes: [UInt8], alignment: Int) {
        self.bytes = bytes
        self.alignment = alignment
    }

    mutating func next() -> ELFNote? {
        guard bytes.count - position >= 12 else { return nil }
        let start = position
        let bytes = bytes
        let field = { (offset: Int) in
            bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: start + offset, as: UInt32.self) }
        }
        let nameSize = Int(field(0))
        let size = Int(field(4))
        let name = position + 12
        // Sizes have 32 bits: sums cannot overflow.
        let descriptor = rounded(name + nameSize)
        guard name + nameSize <= bytes.count, descriptor + size <= bytes.count else { return nil }
        position = rounded(descriptor + size)
        let owner = bytes[name..<name + nameSize].prefix { $0 != 0 }
        return ELFNote(
            owner: String(decoding: owner, as: UTF8.self), type: field(8),
            descriptor: bytes[descriptor..<descriptor + size])
    }

    private func rounded(_ offset: Int) -> Int { (offset + alignment - 1) & ~(alignment - 1) }
}

// Where the kernel's memory is read from: BPF programs, /proc/kcore, or (in tests) a recording.

/// A piece of kernel memory.
public struct KernelPiece: Hashable, Sendable {
    /// Its kernel virtual address.
    public let address: UInt64
    /// Its size in bytes, 1 to 4096.
    public let size: Int

    /// A piece.
    public init(_ address: UInt64, _ size: Int) {
        self.address = address
        self.size = size
    }
}

/// An element of one of the kernel's lists.
public struct KernelListElement: Sendable {
    /// The kernel virtual address of the structure that the link is in.
    public let address: UInt64
    /// Its first bytes.
    public let bytes: [UInt8]
}

/// Kernel memory. It changes while it is read.
public protocol KernelMemory: AnyObject {
    /// What it is: `BPF`, `/proc/kcore`.
    var name: String { get }

    /// Reads pieces; calls `body` for each, in order, with its bytes, or nil if the address is not readable. The bytes
    /// are only there during the call.
    func read(
        _ pieces: [KernelPiece], _ body: (Int, UnsafeRawBufferPointer?) throws(SecondStageError) -> Void
    ) throws(SecondStageError)

    /// The elements of a list (struct list_head at `head`), of each its first `size` bytes (at most 256).
    ///
    /// - Parameter linkOffset: where in an element its link is; within the first `size` bytes.
    /// - Returns: nil if the list changed while it was followed, or has more than `limit` elements.
    func list(head: UInt64, linkOffset: Int, size: Int, limit: Int) throws(SecondStageError) -> [KernelListElement]?
}

extension KernelMemory {
    /// Follows the list one element at a time.
    public func list(
        head: UInt64, linkOffset: Int, size: Int, limit: Int
    ) throws(SecondStageError) -> [KernelListElement]? {
        guard var next = try words([head])[0] else { return nil }
        // Never made: a list that this VM has no use for.
        if next == 0 { return [] }
        var previous = head
        var elements: [KernelListElement] = []
        while next != head {
            guard elements.count < limit else { return nil }
            let address = next &- UInt64(linkOffset)
            var bytes: [UInt8]?
            try read([KernelPiece(address, size)]) { _, piece in bytes = piece.map { Array($0) } }
            guard let bytes else { return nil }
            let link = bytes.withUnsafeBytes { buffer in
                (
                    next: buffer.loadUnaligned(fromByteOffset: linkOffset, as: UInt64.self),
                    previous: buffer.loadUnaligned(fromByteOffset: linkOffset + 8, as: UInt64.self)
                )
            }
            guard link.previous == previous else { return nil }
            elements.append(KernelListElement(address: address, bytes: bytes))
            previous = next
            next = link.next
        }
        return elements
    }

    /// 8-byte words; nil for each that is not readable.
    public func words(_ addresses: [UInt64]) throws(SecondStageError) -> [UInt64?] {
        var words: [UInt64?] = []
        words.reserveCapacity(addresses.count)
        try read(addresses.map { KernelPiece($0, 8) }) { _, bytes in
            words.append(bytes?.loadUnaligned(as: UInt64.self))
        }
        return words
    }
}

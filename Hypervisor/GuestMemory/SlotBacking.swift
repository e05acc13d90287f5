// What is behind a memory slot: a file, and where in it the slot begins.

import SystemCalls

/// A descriptor with several holders, closed when the last one lets go.
public final class SharedDescriptor: Sendable {
    /// The owned descriptor.
    public let descriptor: FileDescriptor
    /// The number. Valid as long as this object lives.
    public var rawValue: Int32 { descriptor.rawValue }

    /// Takes a descriptor over.
    public init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
}

/// The file behind a memory slot.
public struct SlotBacking: Sendable {
    /// The file; a memfd.
    public let descriptor: SharedDescriptor
    /// Where in the file the slot begins, in bytes, a multiple of 4 KiB.
    public let offset: UInt64

    /// A file and an offset.
    public init(descriptor: SharedDescriptor, offset: UInt64) {
        self.descriptor = descriptor
        self.offset = offset
    }
}

extension SlotBacking {
    /// Hands over the ranges of the slot that the file has memory for, by ascending offset; the rest reads as zeros.
    ///
    /// - Parameters:
    ///   - start: where to begin, in bytes from the slot's first.
    ///   - limit: where to end.
    ///   - body: gets the first byte of a range and one past its last.
    func forEachPopulated<Failure: Error>(
        _ start: UInt64, _ limit: UInt64, _ body: (UInt64, UInt64) throws(Failure) -> Void
    ) throws(Failure) {
        var current = start
        while current < limit {
            var stop = limit
            // A file system that knows of no holes has none.
            switch Result(catching: { () throws(Errno) in
                try descriptor.descriptor.nextData(from: offset &+ current)
            }) {
            case .success(nil): current = limit
            case .success(let data?):
                current = max(current, data &- offset)
                if let hole = try? descriptor.descriptor.nextHole(from: offset &+ current) {
                    stop = min(limit, max(current, hole &- offset))
                }
            case .failure: break
            }
            guard stop > current else { break }
            try body(current, stop)
            current = stop
        }
    }
}

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

// Guest memory as an inspector maps it: read-only, from descriptors that were handed over.

import Addresses
import SystemCalls

/// Guest memory mapped read-only. What it reads may change at any moment.
public final class MappedMemory: PhysicalMemory, Sendable {
    /// The slots that are mapped; their `userspaceAddress` is that of the process that runs the guest.
    public let slots: SlotTable

    /// Maps the files behind the slots.
    ///
    /// - Parameters:
    ///   - slots: the slot table of the guest.
    ///   - backings: the files, in the order of `slots.slots`.
    public init(slots: SlotTable, backings: [SlotBacking]) throws(GuestMemoryError) {
        self.slots = slots
    }

    /// The 4 KiB of the page that holds `address`, or nil if no slot holds it.
    public func page(at address: GPA) -> UnsafeRawPointer? { nil }

    /// `count` bytes from `address` on, or nil if one of them is not RAM.
    public func bytes(at address: GPA, count: Int) -> [UInt8]? { nil }
}

/// Why guest memory cannot be made or mapped.
public enum GuestMemoryError: Error, CustomStringConvertible, Sendable {
    /// The slots are wrong.
    case slots(SlotError)
    /// A descriptor that was handed over cannot be used; the text says why.
    case backing(String)
    /// A size that cannot be had; the text says what to do.
    case size(String)
    /// A system call failed.
    case call(Errno)

    public var description: String {
        switch self {
        case .slots(let error): return error.description
        case .backing(let text), .size(let text): return text
        case .call(let error): return error.description
        }
    }
}

// A target's memory, whichever way it is read.

import Addresses
import GuestMemory

/// The memory of a target: one concrete type, so that the walk is compiled for it.
public enum TargetMemory: PhysicalMemory, Sendable {
    /// Mapped into this process.
    case mapped(MappedMemory)
    /// Read in any other way, at the cost of a dynamic call a table.
    case other(any PhysicalMemory & Sendable)

    /// The page of RAM that holds an address, or nil.
    @inlinable public func page(at address: GPA) -> UnsafeRawPointer? {
        switch self {
        case .mapped(let memory): return memory.page(at: address)
        case .other(let memory): return memory.page(at: address)
        }
    }

    /// Copies bytes; false if one of them is not RAM.
    public func read(_ address: GPA, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        switch self {
        case .mapped(let memory): return memory.read(address, into: buffer)
        case .other(let memory): return memory.read(address, into: buffer)
        }
    }

    /// Forgets copies.
    public func refresh() {
        if case .other(let memory) = self { memory.refresh() }
    }

    /// `count` bytes from `address` on, or nil if one of them is not RAM.
    public func bytes(at address: GPA, count: Int) -> [UInt8]? {
        if case .mapped(let memory) = self { return memory.bytes(at: address, count: count) }
        guard count >= 0 else { return nil }
        // Taken piece by piece: nobody has to find room for what then turns out not to be there.
        var bytes: [UInt8] = []
        while bytes.count < count {
            let part = min(count - bytes.count, 1 << 20)
            guard let current = address.advanced(by: UInt64(bytes.count)) else { return nil }
            var complete = false
            bytes += [UInt8](unsafeUninitializedCapacity: part) { buffer, initialized in
                let raw = UnsafeMutableRawBufferPointer(buffer)
                raw.initializeMemory(as: UInt8.self, repeating: 0)
                complete = read(current, into: UnsafeMutableRawBufferPointer(rebasing: raw[..<part]))
                initialized = part
            }
            guard complete else { return nil }
        }
        return bytes
    }
}

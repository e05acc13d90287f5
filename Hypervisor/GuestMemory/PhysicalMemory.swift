// What a page walk reads from.

import Addresses

/// Guest physical memory as a reader sees it. The guest runs on: whatever is read may change at the next moment, so every
/// entry is read once and what was read is what is decoded.
public protocol PhysicalMemory {
    /// The 4 KiB of the page that holds `address`, or nil if that is not RAM (or not readable from here).
    ///
    /// The pointer stays valid as long as the memory it came from.
    func page(at address: GPA) -> UnsafeRawPointer?

    /// Copies `buffer.count` bytes from `address` on; false if any of them is not RAM.
    func read(_ address: GPA, into buffer: UnsafeMutableRawBufferPointer) -> Bool

    /// Forgets copies of pages, if this is a reader that makes some: what is read next is what the memory holds then.
    func refresh()
}

extension PhysicalMemory {
    /// Nothing is copied, so nothing is forgotten.
    public func refresh() {}

    /// Copies page by page.
    public func read(_ address: GPA, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var done = 0
        while done < buffer.count {
            guard let current = address.advanced(by: UInt64(done)), let page = page(at: current) else { return false }
            let offset = Int(current.rawValue & 4095)
            let count = min(4096 - offset, buffer.count - done)
            UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
                .copyMemory(from: UnsafeRawBufferPointer(start: page + offset, count: count))
            done += count
        }
        return true
    }
}

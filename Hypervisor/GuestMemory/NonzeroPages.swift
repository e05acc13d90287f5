// Which pages of RAM are worth writing down: holes of the memory files and pages of zeros read as zeros anyway.

import Addresses

extension GuestRAM {
    /// Hands over what of the RAM was ever written, by ascending address, as it is mapped; the rest reads as zeros.
    func populated<Failure: Error>(
        _ body: (GPA, UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        for (slot, place) in zip(slots.slots, places) {
            guard let memory = hostMemory(at: slot.guestPhysicalAddress, count: slot.size) else { continue }
            let backing = SlotBacking(descriptor: files[place.file], offset: place.offset)
            try backing.forEachPopulated(0, slot.size) { (first, end) throws(Failure) in
                try body(
                    slot.guestPhysicalAddress &+ first, UnsafeRawBufferPointer(rebasing: memory[Int(first)..<Int(end)]))
            }
        }
    }

    /// Hands over runs of pages that are not all zeros, by ascending address. No run crosses a slot's end.
    ///
    /// - Parameter limit: the most bytes of a run, a multiple of 4096.
    public func nonzero<Failure: Error>(
        limit: Int, _ body: (GPA, UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        try populated { (start, bytes) throws(Failure) in try nonzeroRuns(start, bytes, limit: limit, body) }
    }
}

extension MappedMemory {
    /// Hands over runs of pages that are not all zeros, by ascending address. No run crosses a slot's end.
    ///
    /// - Parameter limit: the most bytes of a run, a multiple of 4096.
    public func nonzero<Failure: Error>(
        limit: Int, _ body: (GPA, UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        // What `populated` rethrows is what the closure throws.
        var failure: Failure?
        try? populated(GPA(0)...GPA(UInt64.max)) { start, bytes in
            do throws(Failure) {
                try nonzeroRuns(start, bytes, limit: limit, body)
            } catch {
                failure = error
                throw error
            }
        }
        if let failure { throw failure }
    }
}

/// Hands over the runs of pages in `bytes` that are not all zeros.
///
/// - Parameters:
///   - start: the address of the first byte.
///   - limit: the most bytes of a run, a multiple of 4096.
public func nonzeroRuns<Failure: Error>(
    _ start: GPA, _ bytes: UnsafeRawBufferPointer, limit: Int,
    _ body: (GPA, UnsafeRawBufferPointer) throws(Failure) -> Void
) throws(Failure) {
    var first = 0
    var current = 0
    while current < bytes.count {
        let isZero = isZeroPage(bytes, at: current)
        if current > first, isZero || current - first >= limit {
            try body(start &+ UInt64(first), UnsafeRawBufferPointer(rebasing: bytes[first..<current]))
            first = current
        }
        current += 4096
        if isZero { first = current }
    }
    if current > first { try body(start &+ UInt64(first), UnsafeRawBufferPointer(rebasing: bytes[first..<current])) }
}

/// Whether the 4096 bytes from `offset` on are zeros. A page that the guest writes meanwhile is either.
func isZeroPage(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Bool {
    // Most pages that are not zeros show it in their first words.
    var seen: UInt64 = 0
    for group in 0..<8 {
        for word in 0..<64 {
            seen |= bytes.loadUnaligned(fromByteOffset: offset + group * 512 + word * 8, as: UInt64.self)
        }
        if seen != 0 { return false }
    }
    return true
}

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
        try populated { (start, bytes) throws(Failure) in
            var first = 0
            var current = 0
            func flush() throws(Failure) {
                guard current > first else { return }
                try body(start &+ UInt64(first), UnsafeRawBufferPointer(rebasing: bytes[first..<current]))
            }
            while current < bytes.count {
                if isZeroPage(bytes, at: current) {
                    try flush()
                    current += 4096
                    first = current
                    continue
                }
                current += 4096
                if current - first >= limit {
                    try flush()
                    first = current
                }
            }
            try flush()
        }
    }
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

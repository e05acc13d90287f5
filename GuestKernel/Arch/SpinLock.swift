// Mutual exclusion between processors.

/// A lock that is held for a short time with interrupts off.
///
/// Whoever waits answers requests for a TLB flush meanwhile: the holder may be waiting for exactly that answer.
struct SpinLock {
    private var word: UInt32 = 0

    /// Takes the lock; the answer says whether interrupts were on and goes to `release`.
    mutating func acquire() -> Bool {
        let wereOn = read_flags() & 0x200 != 0
        interrupts_off()
        while exchange(&word, 1) != 0 {
            Shootdown.answer()
            pause_hint()
        }
        Processor.current?.pointee.locks &+= 1
        return wereOn
    }

    /// Gives the lock back.
    mutating func release(_ interruptsWereOn: Bool) {
        Processor.current?.pointee.locks &-= 1
        store_release(&word, 0)
        if interruptsWereOn { interrupts_on() }
    }
}

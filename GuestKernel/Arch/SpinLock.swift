// Mutual exclusion between processors.

/// A lock that is held for a short time with interrupts off.
///
/// Who comes first is served first (a ticket lock): a processor that takes the lock again and again cannot keep another one
/// from it. Whoever waits answers requests for a TLB flush meanwhile: the holder may be waiting for exactly that answer.
struct SpinLock {
    /// The next ticket to be drawn.
    private var next: UInt32 = 0
    /// The ticket that is served.
    private var serving: UInt32 = 0

    /// Takes the lock; the answer says whether interrupts were on and goes to `release`.
    mutating func acquire() -> Bool {
        let wereOn = read_flags() & 0x200 != 0
        interrupts_off()
        let ticket = fetch_add(&next, 1)
        while load_acquire(&serving) != ticket {
            Shootdown.answer()
            pause_hint()
        }
        Processor.current?.pointee.locks &+= 1
        return wereOn
    }

    /// Gives the lock back.
    mutating func release(_ interruptsWereOn: Bool) {
        Processor.current?.pointee.locks &-= 1
        store_release(&serving, serving &+ 1)
        if interruptsWereOn { interrupts_on() }
    }
}

// Interrupt controllers and the timer: the 8259A pair, the PIT, the local APIC.

/// Interrupt vectors.
enum Vector {
    /// IRQ 0 of the first 8259A; the second begins 8 higher.
    static var irq: UInt64 { 0x20 }
    /// From the first processor to the others at each tick of the PIT.
    static var tick: UInt64 { 0xf0 }
    static var flush: UInt64 { 0xf1 }
    /// There is something to run.
    static var reschedule: UInt64 { 0xf2 }
    /// Stop for good.
    static var stop: UInt64 { 0xf3 }
    /// A processor's own timer.
    static var timer: UInt64 { 0xf4 }
    static var spurious: UInt64 { 0xff }
}

/// The two 8259A, as on a PC.
enum InterruptController {
    /// IRQ n on vector 0x20 + n; the timer, both serial ports, the cascade and the monitor's requests are let through.
    static func start() {
        out8(0x20, 0x11)
        out8(0xa0, 0x11)
        out8(0x21, UInt8(Vector.irq))
        out8(0xa1, UInt8(Vector.irq + 8))
        out8(0x21, 4)
        out8(0xa1, 2)
        out8(0x21, 1)
        out8(0xa1, 1)
        let open: UInt32 = 1 | 1 << 2 | 1 << Contract.monitorIRQ | 1 << Contract.consoleIRQ | 1 << Contract.requestIRQ
        let mask = UInt16(truncatingIfNeeded: ~open)
        out8(0x21, UInt8(truncatingIfNeeded: mask))
        out8(0xa1, UInt8(truncatingIfNeeded: mask >> 8))
    }

    /// Lets interrupt `irq` of the first 8259A through no more.
    static func mask(_ irq: UInt8) { out8(0x21, in8(0x21) | 1 &<< irq) }

    /// Ends interrupt `irq`.
    static func end(_ irq: UInt64) {
        if irq >= 8 { out8(0xa0, 0x20) }
        out8(0x20, 0x20)
    }

    /// Whether IRQ 7 or 15 is real, and not a line that fell before it was asked.
    static func isInService(_ irq: UInt64) -> Bool {
        let port: UInt16 = irq >= 8 ? 0xa0 : 0x20
        out8(port, 0x0b)  // OCW3: read the in-service register
        return in8(port) & 0x80 != 0
    }
}

/// The PIT's channel 0: the tick until the local APICs' timers are measured.
enum Timer {
    /// Ticks a second.
    static var rate: UInt64 { 20 }
    /// Ticks since the start.
    nonisolated(unsafe) static var ticks: UInt64 = 0

    /// Square wave of `rate` Hz from 1,193,182 Hz.
    static func start() {
        let divisor = 1_193_182 / rate
        out8(0x43, 0x34)
        out8(0x40, UInt8(truncatingIfNeeded: divisor))
        out8(0x40, UInt8(truncatingIfNeeded: divisor >> 8))
    }
}

/// The local APIC, in xAPIC mode (SDM volume 3, chapter 11).
enum LocalAPIC {
    private static var base: UInt64 {
        Plan.current.localAPIC != 0 ? Plan.current.localAPIC : PageTable.linear(Devices.localAPIC)
    }
    private static func write(_ register: UInt64, _ value: UInt32) { write_register(base &+ register, value) }

    /// Software enable; the first processor takes the 8259A's interrupts at LINT0.
    static func enable(extINT: Bool) {
        // While it is disabled by software every LVT entry stays masked (SDM volume 3, section 11.4.7.2).
        write(0xf0, 0x100 | UInt32(Vector.spurious))
        write(0x80, 0)  // TPR
        write(0xf0, 0x100 | UInt32(Vector.spurious))  // first: while it is disabled the LVT cannot be unmasked
        write(0x350, extINT ? 0x700 : 0x1_0000)  // LINT0: ExtINT, or masked
    }

    static func end() { write(0xb0, 0) }

    /// Starts the timer, a 16th of its clock: again and again with an interrupt, or once without.
    static func startTimer(_ count: UInt32, vector: UInt64?) {
        write(0x3e0, 3)
        write(0x320, vector.map { 1 &<< 17 | UInt32(truncatingIfNeeded: $0) } ?? 1 &<< 16)
        write(0x380, count)
    }

    /// What is left of the timer's count.
    static var timerCount: UInt32 { read_register(base &+ 0x390) }

    /// INIT, then two SIPIs as the manual asks for; the second is ignored by a processor that runs.
    static func startProcessor(_ apic: UInt32, page: UInt8) {
        command(apic, 0x4500)  // INIT, assert
        command(apic, 0x4600 | UInt32(page))
        command(apic, 0x4600 | UInt32(page))
    }

    static func send(vector: UInt64, to apic: UInt32) {
        command(apic, 0x4000 | UInt32(truncatingIfNeeded: vector))
    }

    static func sendToOthers(vector: UInt64) {
        command(0, 0xc_4000 | UInt32(truncatingIfNeeded: vector))
    }

    private static func command(_ apic: UInt32, _ low: UInt32) {
        while read_register(base &+ 0x300) & 0x1000 != 0 { pause_hint() }
        write(0x310, apic << 24)
        write(0x300, low)
    }
}

// The serial ports: text out by polling, bytes in by interrupt.

/// One 16550A.
struct SerialPort {
    /// The first of its eight ports.
    let base: UInt16

    /// COM1, the console.
    static var console: SerialPort { SerialPort(base: Contract.consolePort) }
    /// COM2, the kernel's monitor.
    static var monitor: SerialPort { SerialPort(base: Contract.monitorPort) }

    /// Whether a port's receiver was found full for so long that bytes are dropped: bit 0 console, bit 1 monitor.
    nonisolated(unsafe) private static var stalled: UInt8 = 0
    /// How often the line status is read before a receiver counts as stalled.
    private static var patience: UInt32 { 20_000 }
    /// The transmitter's FIFO.
    private static var fifoSize: Int { 16 }

    /// The line status register (LSR).
    var lineStatus: UInt8 { in8(base &+ 5) }

    /// 8N1, FIFOs on, interrupts on received data.
    func start() {
        out8(base &+ 1, 0)  // IER: none
        out8(base &+ 3, 0x80)  // LCR: divisor latch
        out8(base, 1)  // 115200 baud
        out8(base &+ 1, 0)
        out8(base &+ 3, 0x03)  // LCR: 8N1
        out8(base &+ 2, 0xc7)  // FCR: FIFOs on and empty, trigger at 14 bytes
        out8(base &+ 4, 0x0b)  // MCR: DTR, RTS, OUT2 (interrupts reach the controller)
        out8(base &+ 1, 0x01)  // IER: received data
    }

    /// The next received byte, if there is one; none where there is no port (it reads all ones).
    func receive() -> UInt8? {
        let status = lineStatus
        return status & 1 == 0 || status == 0xff ? nil : in8(base)
    }

    /// Sends bytes, 16 at a time: what fits the FIFO when the transmitter reports it empty.
    func send(_ bytes: UnsafeRawPointer, _ count: Int) {
        var rest = count
        var next = bytes
        while rest > 0 {
            guard waitForTransmitter() else { return }
            let part = rest < SerialPort.fifoSize ? rest : SerialPort.fifoSize
            out_bytes(base, next, UInt64(truncatingIfNeeded: part))
            next += part
            rest &-= part
        }
    }

    /// Whether the transmitter is empty, after waiting for it. A receiver that does not drain costs its bytes, not the
    /// kernel's progress.
    private func waitForTransmitter() -> Bool {
        let bit: UInt8 = base == Contract.consolePort ? 1 : 2
        var tries = SerialPort.stalled & bit == 0 ? SerialPort.patience : 1
        while lineStatus & 0x20 == 0 {
            tries &-= 1
            if tries == 0 {
                SerialPort.stalled |= bit
                return false
            }
            pause_hint()
        }
        SerialPort.stalled &= ~bit
        return true
    }
}

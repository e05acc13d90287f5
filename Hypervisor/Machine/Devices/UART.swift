// The registers of a 16550A (National Semiconductor PC16550D data sheet), without clock and wires: what is transmitted
// has left at once, unless the host side has no room.
//
//     offset  read               write
//     0       RBR (DLAB: DLL)    THR (DLAB: DLL)
//     1       IER (DLAB: DLM)    IER (DLAB: DLM)
//     2       IIR                FCR
//     3       LCR                LCR
//     4       MCR                MCR
//     5       LSR                -
//     6       MSR                -
//     7       SCR                SCR

/// A 16550A's registers and receive FIFO.
struct UART: ~Copyable {
    private var interruptEnable: UInt8 = 0
    private var lineControl: UInt8 = 0
    private var modemControl: UInt8 = 0
    private var scratch: UInt8 = 0
    private var divisor: UInt16 = 12
    private var fifoEnabled = false
    private var trigger = 1
    private var receiver = ByteQueue(capacity: 16)
    private var overrun = false
    private var modemDelta: UInt8 = 0
    /// THR became empty, and nobody has seen it in IIR yet.
    private var transmitterPending = false
    /// The host side has no room: THR and the shift register stay occupied.
    var transmitterBlocked = false {
        didSet { if oldValue && !transmitterBlocked { transmitterPending = true } }
    }

    /// What a read or write means for the outside.
    enum Effect: Equatable {
        case none
        /// A byte leaves.
        case transmit(UInt8)
        /// The receiver may have room for more.
        case received
    }

    /// Bit 4 of MCR: what is sent comes back, and the outside is cut off.
    private var loopback: Bool { modemControl & 0x10 != 0 }

    /// The receiver can take a byte from outside.
    var canReceive: Bool { !loopback && receiver.count < (fifoEnabled ? 16 : 1) }

    /// A byte arrives from outside.
    mutating func receive(_ byte: UInt8) {
        guard receiver.count < (fifoEnabled ? 16 : 1) else {
            overrun = true
            return
        }
        _ = receiver.push(byte)
    }

    /// The level of the interrupt line. OUT2 gates it, as on a PC's cards.
    var interrupt: Bool { modemControl & 0x18 == 0x08 && source != 1 }

    /// The lower four bits of IIR: 1 is none.
    private var source: UInt8 {
        if interruptEnable & 4 != 0 && overrun { return 6 }
        if interruptEnable & 1 != 0 && !receiver.isEmpty {
            // Below the trigger level the character timeout reports; here it never takes time.
            return receiver.count >= trigger ? 4 : 12
        }
        if interruptEnable & 2 != 0 && transmitterPending { return 2 }
        if interruptEnable & 8 != 0 && modemDelta != 0 { return 0 }
        return 1
    }

    /// Bits 7-4 of MSR: in loopback the outputs, else a terminal that is there and ready (DCD, DSR, CTS).
    private var modemLines: UInt8 {
        guard loopback else { return 0xb0 }
        let out = modemControl
        return (out & 2) << 3 | (out & 1) << 5 | (out & 4) << 4 | (out & 8) << 4
    }

    /// The guest reads a register.
    mutating func read(_ offset: UInt16) -> (value: UInt8, effect: Effect) {
        switch offset {
        case 0:
            if lineControl & 0x80 != 0 { return (UInt8(truncatingIfNeeded: divisor), .none) }
            return (receiver.pop() ?? 0, .received)
        case 1:
            return (lineControl & 0x80 != 0 ? UInt8(truncatingIfNeeded: divisor >> 8) : interruptEnable, .none)
        case 2:
            let value = source
            if value == 2 { transmitterPending = false }
            return (value | (fifoEnabled ? 0xc0 : 0), .none)
        case 3: return (lineControl, .none)
        case 4: return (modemControl, .none)
        case 5:
            let value =
                (receiver.isEmpty ? 0 : 1) | (overrun ? 2 : 0) | (transmitterBlocked && !loopback ? 0 : 0x60) as UInt8
            overrun = false
            return (value, .none)
        case 6:
            let value = modemLines | modemDelta
            modemDelta = 0
            return (value, .none)
        default: return (scratch, .none)
        }
    }

    /// The guest writes a register.
    mutating func write(_ offset: UInt16, _ value: UInt8) -> Effect {
        switch offset {
        case 0:
            if lineControl & 0x80 != 0 {
                divisor = divisor & 0xff00 | UInt16(value)
                return .none
            }
            transmitterPending = !transmitterBlocked || loopback
            if loopback {
                receive(value)
                return .none
            }
            return .transmit(value)
        case 1:
            if lineControl & 0x80 != 0 {
                divisor = divisor & 0x00ff | UInt16(value) << 8
                return .none
            }
            // Switching the interrupt on while THR is empty reports at once.
            if value & 2 != 0 && interruptEnable & 2 == 0 && !transmitterBlocked { transmitterPending = true }
            interruptEnable = value & 0x0f
        case 2:
            let enable = value & 1 != 0
            if enable != fifoEnabled || value & 2 != 0 { receiver.removeAll() }
            fifoEnabled = enable
            trigger = enable ? [1, 4, 8, 14][Int(value >> 6)] : 1
            return .received
        case 3: lineControl = value
        case 4:
            let before = modemLines
            modemControl = value & 0x1f
            let changed = before ^ modemLines
            // CTS, DSR and DCD report every change, RI only its end.
            modemDelta |= changed >> 4 & 0x0b | (changed & before & 0x40) >> 4
            return .received
        case 7: scratch = value
        default: break
        }
        return .none
    }

    /// Registers and receive FIFO, to be kept.
    var state: UARTState {
        UARTState(
            interruptEnable: interruptEnable, lineControl: lineControl, modemControl: modemControl, scratch: scratch,
            divisor: divisor, fifoEnabled: fifoEnabled, trigger: trigger, received: receiver.contents,
            overrun: overrun, modemDelta: modemDelta, transmitterPending: transmitterPending,
            transmitterBlocked: transmitterBlocked)
    }

    /// As after power-on.
    init() {}

    /// As it was kept.
    init(_ state: UARTState) {
        interruptEnable = state.interruptEnable
        lineControl = state.lineControl
        modemControl = state.modemControl
        scratch = state.scratch
        divisor = state.divisor
        fifoEnabled = state.fifoEnabled
        trigger = state.trigger
        for byte in state.received { _ = receiver.push(byte) }
        overrun = state.overrun
        modemDelta = state.modemDelta
        transmitterPending = state.transmitterPending
        transmitterBlocked = state.transmitterBlocked
    }
}

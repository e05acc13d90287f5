// A serial port as a saved guest has it.

import SavedGuests

/// The registers of a 16550A and what waits in it.
struct UARTState: Equatable {
    var interruptEnable: UInt8 = 0
    var lineControl: UInt8 = 0
    var modemControl: UInt8 = 0
    var scratch: UInt8 = 0
    var divisor: UInt16 = 12
    var fifoEnabled = false
    var trigger = 1
    var received: [UInt8] = []
    var overrun = false
    var modemDelta: UInt8 = 0
    var transmitterPending = false
    var transmitterBlocked = false
}

/// A port with both its queues.
struct SavedSerialPort {
    var uart = UARTState()
    var input: [UInt8] = []
    var output: [UInt8] = []
    var dropped: UInt64 = 0

    init() {}

    func write(_ fields: inout FieldWriter) {
        for value in [uart.interruptEnable, uart.lineControl, uart.modemControl, uart.scratch] { fields.u8(value) }
        fields.u16(uart.divisor)
        fields.flag(uart.fifoEnabled)
        fields.u8(UInt8(clamping: uart.trigger))
        fields.block(uart.received)
        fields.flag(uart.overrun)
        fields.u8(uart.modemDelta)
        fields.flag(uart.transmitterPending)
        fields.flag(uart.transmitterBlocked)
        fields.block(input)
        fields.block(output)
        fields.u64(dropped)
    }

    init(_ fields: inout FieldReader, _ name: String) throws(SavedGuestError) {
        uart.interruptEnable = try fields.u8("\(name) IER")
        uart.lineControl = try fields.u8("\(name) LCR")
        uart.modemControl = try fields.u8("\(name) MCR")
        uart.scratch = try fields.u8("\(name) SCR")
        uart.divisor = try fields.u16("\(name) divisor")
        uart.fifoEnabled = try fields.flag("\(name) FIFO")
        uart.trigger = Int(try fields.u8("\(name) trigger"))
        guard [1, 4, 8, 14].contains(uart.trigger) else { throw fields.wrong("\(name) trigger", "\(uart.trigger)") }
        uart.received = try fields.block("\(name) received", limit: uart.fifoEnabled ? 16 : 1)
        uart.overrun = try fields.flag("\(name) overrun")
        uart.modemDelta = try fields.u8("\(name) MSR")
        uart.transmitterPending = try fields.flag("\(name) THR empty")
        uart.transmitterBlocked = try fields.flag("\(name) THR occupied")
        input = try fields.block("\(name) input", limit: SerialPort.queueCapacity)
        output = try fields.block("\(name) output", limit: SerialPort.queueCapacity)
        dropped = try fields.u64("\(name) dropped")
    }
}

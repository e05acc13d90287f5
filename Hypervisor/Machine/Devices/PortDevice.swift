// The shape of a device on ports, and what a device can make of the machine.

/// What an access asks of the machine.
enum DeviceEffect: Equatable {
    case none
    /// The guest wants to start again.
    case reset
    /// The guest wants to be off.
    case powerOff
    /// The guest reports a boot stage.
    case stage(UInt32)
    /// The guest kernel panicked.
    case panic(UInt32)
    /// A program ended: number and status as written.
    case programEnded(UInt32)
}

/// A device on ports. Offsets count from its first port; widths are 1, 2 or 4 bytes, and only those that it `takes`.
protocol PortDevice: AnyObject, Sendable {
    /// Whether an access of this width reaches it whole; else it comes byte by byte, or not at all.
    func takes(_ offset: UInt16, width: Int) -> Bool
    /// The guest reads; nil if nobody answers: all ones, and counted.
    func read(_ offset: UInt16, width: Int) -> UInt32?
    /// The guest writes; nil if nobody listens: nothing happens, and counted.
    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect?
    /// Back to the state after power-on.
    func reset()
}

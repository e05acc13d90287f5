// The ports of the 8254 timer before it exists: the first access makes the kernel's, which answers from then on.

import KVM

/// Ports 0x40-0x43 and 0x61 until the guest touches one of them. Afterwards KVM answers there, and nothing comes here.
final class TimerPorts: PortDevice {
    /// The offset of the control port 0x43, from 0x40.
    private static let controlOffset: UInt16 = 3
    private let make: @Sendable (_ control: UInt8?) -> Void

    /// - Parameter make: makes the timer; the argument is a control word already written to it.
    init(make: @escaping @Sendable (_ control: UInt8?) -> Void) { self.make = make }

    func takes(_ offset: UInt16, width: Int) -> Bool { width == 1 }

    /// A timer that was never programmed counts nothing.
    func read(_ offset: UInt16, width: Int) -> UInt32? {
        make(nil)
        return 0
    }

    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? {
        make(offset == TimerPorts.controlOffset ? UInt8(truncatingIfNeeded: value) : nil)
        return DeviceEffect.none
    }

    func reset() {}
}

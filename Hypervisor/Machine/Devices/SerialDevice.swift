// Eight ports of a 16550A.

extension SerialPort: PortDevice {
    func takes(_ offset: UInt16, width: Int) -> Bool { width == 1 }

    func read(_ offset: UInt16, width: Int) -> UInt32? { UInt32(read(offset)) }

    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? {
        write(offset, UInt8(truncatingIfNeeded: value))
        return DeviceEffect.none
    }
}

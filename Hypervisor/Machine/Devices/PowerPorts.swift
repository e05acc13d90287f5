// The ports by which a PC is reset or switched off. Write only, one port each.

import Layouts

/// Keyboard controller: 0xfe pulses the reset line (IBM PC AT Technical Reference, 8042 commands).
final class KeyboardReset: PortDevice {
    func takes(_ offset: UInt16, width: Int) -> Bool { width == 1 }
    func read(_ offset: UInt16, width: Int) -> UInt32? { nil }
    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? {
        value & 0xff == 0xfe ? .reset : DeviceEffect.none
    }
    func reset() {}
}

/// Reset control register: bit 2 resets (Intel ICH datasheet, RST_CNT).
final class ResetControl: PortDevice {
    func takes(_ offset: UInt16, width: Int) -> Bool { width == 1 }
    func read(_ offset: UInt16, width: Int) -> UInt32? { nil }
    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? {
        value & 4 != 0 ? .reset : DeviceEffect.none
    }
    func reset() {}
}

/// isa-debug-exit: any write is the end.
final class DebugExit: PortDevice {
    func takes(_ offset: UInt16, width: Int) -> Bool { true }
    func read(_ offset: UInt16, width: Int) -> UInt32? { nil }
    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? { .powerOff }
    func reset() {}
}

/// PM1a control: SLP_EN, bit 13, powers off (ACPI specification 4.8.3.2.1).
final class PowerControl: PortDevice {
    func takes(_ offset: UInt16, width: Int) -> Bool { width == 2 }
    func read(_ offset: UInt16, width: Int) -> UInt32? { nil }
    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? {
        guard width == 2 else { return nil }
        return value & 0x2000 != 0 ? .powerOff : DeviceEffect.none
    }
    func reset() {}
}

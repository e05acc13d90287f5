// From a port to its device.
//
// A table has a byte for each of the 65,536 ports: 0 for nobody, else the device's place in a list. An access
// that is wider than its device takes is cut into bytes, each for the port it falls on; an access that begins at nobody's
// port is nobody's, whatever it reaches further up (32 bits at 0xcf8 do not reset through 0xcf9).

import Layouts
import Synchronization

/// The guest's ports.
final class PortBus: @unchecked Sendable {
    private let table: UnsafeMutablePointer<UInt8>
    private var devices: [any PortDevice] = []
    private var bases: [UInt16] = []
    /// Reads and writes that nobody answered.
    let unknownReads = Atomic<UInt64>(0)
    let unknownWrites = Atomic<UInt64>(0)

    /// A bus without devices.
    init() {
        table = .allocate(capacity: 65536)
        table.initialize(repeating: 0, count: 65536)
    }

    deinit { table.deallocate() }

    /// Puts a device on `count` ports. Before the machine runs.
    func attach(_ device: any PortDevice, at base: UInt16, count: Int) {
        devices.append(device)
        bases.append(base)
        for port in Int(base)..<min(65536, Int(base) + count) { table[port] = UInt8(devices.count) }
    }

    /// The guest reads; what nobody drives reads as ones.
    @inline(__always)
    func read(_ port: UInt16, width: Int) -> UInt32 {
        let index = Int(table[Int(port)])
        guard index != 0 else {
            unknownReads.wrappingAdd(1, ordering: .relaxed)
            return 0xffff_ffff
        }
        return readDevice(index - 1, port, width)
    }

    private func readDevice(_ index: Int, _ port: UInt16, _ width: Int) -> UInt32 {
        let offset = port &- bases[index]
        let device = devices[index]
        if device.takes(offset, width: width) || width == 1 {
            if let value = device.read(offset, width: width) { return value }
            unknownReads.wrappingAdd(1, ordering: .relaxed)
            return 0xffff_ffff
        }
        var value: UInt32 = 0
        for byte in 0..<width {
            value |= (read(port &+ UInt16(byte), width: 1) & 0xff) << UInt32(byte * 8)
        }
        return value
    }

    /// The guest writes.
    @inline(__always)
    func write(_ port: UInt16, width: Int, _ value: UInt32) -> DeviceEffect {
        let index = Int(table[Int(port)])
        guard index != 0 else {
            unknownWrites.wrappingAdd(1, ordering: .relaxed)
            return .none
        }
        return writeDevice(index - 1, port, width, value)
    }

    private func writeDevice(_ index: Int, _ port: UInt16, _ width: Int, _ value: UInt32) -> DeviceEffect {
        let offset = port &- bases[index]
        let device = devices[index]
        if device.takes(offset, width: width) || width == 1 {
            if let effect = device.write(offset, width: width, value) { return effect }
            unknownWrites.wrappingAdd(1, ordering: .relaxed)
            return .none
        }
        var result = DeviceEffect.none
        for byte in 0..<width {
            let effect = write(port &+ UInt16(byte), width: 1, value >> UInt32(byte * 8) & 0xff)
            if result == .none { result = effect }
        }
        return result
    }

    /// Every device back to its state after power-on.
    func reset() {
        for device in devices { device.reset() }
    }
}

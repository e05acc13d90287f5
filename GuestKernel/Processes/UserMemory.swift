// Memory of the running program as its system calls name it: checked, then copied by accesses that may fail. A program that
// passes what is not its own ends with a report.

/// Copies between the kernel and the running program.
enum UserMemory {
    /// Ends the program if a range is not its own to use so.
    static func require(_ address: UInt64, _ count: UInt64, _ protection: Protection, call: UInt64) {
        guard count > 0 else { return }
        if !AddressSpace.current.pointee.allows(address, count, protection) {
            Programs.badAddress(address, call: call)
        }
    }

    /// Gives the program bytes of the kernel.
    static func write(_ address: UInt64, _ bytes: UnsafeRawBufferPointer, call: UInt64) {
        let count = UInt64(bytes.count)
        require(address, count, .write, call: call)
        guard probe_copy(address, UInt64(UInt(bitPattern: bytes.baseAddress)), count) == 0 else {
            Programs.badAddress(address, call: call)
        }
    }

    /// Gives the program a value of the kernel.
    static func write<Value: BitwiseCopyable>(_ address: UInt64, value: Value, call: UInt64) {
        withUnsafeBytes(of: value) { write(address, $0, call: call) }
    }

    /// Fetches bytes of the program.
    static func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer, call: UInt64) {
        let count = UInt64(bytes.count)
        require(address, count, .read, call: call)
        guard probe_copy(UInt64(UInt(bitPattern: bytes.baseAddress)), address, count) == 0 else {
            Programs.badAddress(address, call: call)
        }
    }

    /// A 64-bit word of the program.
    static func word(_ address: UInt64, call: UInt64) -> UInt64 {
        var value: UInt64 = 0
        withUnsafeMutableBytes(of: &value) { read(address, into: $0, call: call) }
        return value
    }

    /// Clears bytes of the program.
    static func clear(_ address: UInt64, _ count: UInt64, call: UInt64) {
        require(address, count, .write, call: call)
        var offset: UInt64 = 0
        while offset < count {
            let part = count &- offset < 8 ? count &- offset : 8
            let zero: UInt64 = 0
            withUnsafeBytes(of: zero) {
                write(address &+ offset, UnsafeRawBufferPointer(rebasing: $0.prefix(Int(part))), call: call)
            }
            offset &+= part
        }
    }

    /// Whether the text of the program at an address is exactly this one.
    static func isText(_ address: UInt64, _ text: StaticString, call: UInt64) -> Bool {
        var index = 0
        while index <= text.utf8CodeUnitCount {
            var byte: UInt8 = 0
            withUnsafeMutableBytes(of: &byte) { read(address &+ UInt64(index), into: $0, call: call) }
            guard index < text.utf8CodeUnitCount else { return byte == 0 }
            if byte != text.utf8Start[index] { return false }
            index &+= 1
        }
        return false
    }
}

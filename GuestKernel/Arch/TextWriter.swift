// Text for the console and the kernel's monitor, without allocation.

/// Collects text and sends it to a serial port, at the latest with `flush`.
///
/// A writer is a value on its user's stack: several threads never share one.
struct TextWriter: ~Copyable {
    private let port: SerialPort
    private var used = 0
    private var buffer:
        (
            UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64,
            UInt64, UInt64, UInt64
        ) = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    private static var capacity: Int { 128 }

    init(_ port: SerialPort) { self.port = port }

    /// Sends what is collected.
    mutating func flush() {
        let count = used
        used = 0
        guard count > 0 else { return }
        let port = port
        withUnsafeBytes(of: &buffer) { bytes in
            if let base = bytes.baseAddress { port.send(base, count) }
        }
    }

    /// One byte.
    mutating func byte(_ value: UInt8) {
        if used == TextWriter.capacity { flush() }
        let at = used
        withUnsafeMutableBytes(of: &buffer) { $0.baseAddress?.storeBytes(of: value, toByteOffset: at, as: UInt8.self) }
        used &+= 1
    }

    /// A literal.
    mutating func text(_ value: StaticString) {
        bytes(UnsafeRawPointer(value.utf8Start), value.utf8CodeUnitCount)
    }

    /// Bytes as they are.
    mutating func bytes(_ pointer: UnsafeRawPointer, _ count: Int) {
        if count > TextWriter.capacity &- used {
            flush()
            if count > TextWriter.capacity {
                port.send(pointer, count)
                return
            }
        }
        let at = used
        withUnsafeMutableBytes(of: &buffer) { target in
            if let base = target.baseAddress { (base + at).copyMemory(from: pointer, byteCount: count) }
        }
        used = at &+ count
    }

    /// A NUL-terminated string of at most `limit` bytes, unprintable ones as `?`.
    mutating func cString(_ pointer: UnsafePointer<CChar>?, limit: Int = 255) {
        guard let pointer else { return }
        var index = 0
        while index < limit {
            let value = UInt8(bitPattern: pointer[index])
            if value == 0 { return }
            byte(value > 0x20 && value < 0x7f ? value : 0x3f)
            index &+= 1
        }
    }

    /// `0x` and the number without leading zeros.
    mutating func hex(_ value: UInt64) {
        text("0x")
        var shift: UInt64 = 60
        while shift > 0 && value &>> shift == 0 { shift &-= 4 }
        while true {
            digit(value &>> shift)
            if shift == 0 { return }
            shift &-= 4
        }
    }

    /// All 16 digits, without `0x`.
    mutating func hex16(_ value: UInt64) {
        var shift: UInt64 = 64
        while shift > 0 {
            shift &-= 4
            digit(value &>> shift)
        }
    }

    /// Two digits, without `0x`.
    mutating func hex2(_ value: UInt8) {
        digit(UInt64(value) &>> 4)
        digit(UInt64(value))
    }

    private mutating func digit(_ value: UInt64) {
        let nibble = UInt8(truncatingIfNeeded: value & 15)
        byte(nibble < 10 ? 0x30 &+ nibble : 0x57 &+ nibble)
    }

    /// A number in decimal.
    mutating func decimal(_ value: UInt64) {
        var divisor: UInt64 = 1
        var rest = value
        while rest / divisor >= 10 { divisor &*= 10 }
        while divisor > 0 {
            let quotient = rest / divisor
            digit(quotient)
            rest &-= quotient &* divisor
            divisor /= 10
        }
    }

    /// A number in decimal, with its sign.
    mutating func decimal(signed value: Int64) {
        if value < 0 { byte(0x2d) }
        decimal(value.magnitude)
    }

    /// The end of a line.
    mutating func newline() { byte(0x0a) }
}

/// The console as several threads and processors share it: one message is never cut by another.
enum Console {
    nonisolated(unsafe) private static var lock = SpinLock()

    /// Prints one message, whole.
    static func print(_ body: (inout TextWriter) -> Void) {
        let state = lock.acquire()
        var writer = TextWriter(.console)
        body(&writer)
        writer.flush()
        lock.release(state)
    }

    /// Prints one line of fixed text.
    static func line(_ text: StaticString) {
        print {
            $0.text(text)
            $0.newline()
        }
    }

    /// Prints bytes as they are (a program's output). The caller has made sure that they can be read.
    static func write(_ bytes: UnsafeRawPointer, _ count: Int) {
        let state = lock.acquire()
        SerialPort.console.send(bytes, count)
        lock.release(state)
    }

    /// Prints whatever the state of the lock: the last words of a kernel that panics.
    static func printRegardless(_ body: (inout TextWriter) -> Void) {
        var writer = TextWriter(.console)
        body(&writer)
        writer.flush()
    }
}

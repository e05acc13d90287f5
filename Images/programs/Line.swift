// A line of text for the console, put together on the stack: programs have no heap of their own.

/// Text of bounded length; what does not fit is cut.
struct Line {
    private var bytes = InlineArray<161, CChar>(repeating: 0)
    private var count = 0

    /// The longest line, without its LF.
    static var limit: Int { 160 }

    /// Puts a line together and prints it, ended by LF.
    static func print(_ system: System, _ body: (inout Line) -> Void) {
        var line = Line()
        body(&line)
        line.bytes[line.count] = 0x0a
        line.bytes.span.withUnsafeBufferPointer { buffer in
            if let base = buffer.baseAddress { system.write(base, count: UInt64(line.count &+ 1)) }
        }
    }

    mutating func add(byte: CChar) {
        guard count < Line.limit else { return }
        bytes[count] = byte
        count &+= 1
    }

    mutating func add(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { add(byte: CChar(bitPattern: text.utf8Start[index])) }
    }

    mutating func add(text: UnsafePointer<CChar>) {
        var next = text
        while next.pointee != 0, count < Line.limit {
            add(byte: next.pointee)
            next += 1
        }
    }

    mutating func add(_ number: UInt64) {
        var divisor: UInt64 = 1
        while number / divisor >= 10 { divisor &*= 10 }
        while divisor > 0 {
            add(byte: 0x30 &+ CChar(truncatingIfNeeded: number / divisor % 10))
            divisor /= 10
        }
    }

    mutating func add(hex number: UInt64) {
        add("0x")
        var shift: UInt64 = 60
        while shift > 0, number >> shift == 0 { shift &-= 4 }
        while true {
            let digit = CChar(truncatingIfNeeded: number >> shift & 15)
            add(byte: digit < 10 ? 0x30 &+ digit : 0x57 &+ digit)
            if shift == 0 { return }
            shift &-= 4
        }
    }

    mutating func add(_ address: UnsafeMutableRawPointer) {
        add(hex: UInt64(UInt(bitPattern: address)))
    }
}

/// The decimal number a text begins with, or nil; what does not fit 32 bits is cut off there.
func number(_ text: UnsafePointer<CChar>) -> UInt64? {
    var next = text
    var value: UInt64 = 0
    while next.pointee >= 0x30, next.pointee <= 0x39, value < 1 << 32 {
        value = value &* 10 &+ UInt64(next.pointee &- 0x30)
        next += 1
    }
    return next == text ? nil : value
}

// One line of the monitor, taken apart into words.

/// A received line.
struct MonitorLine: ~Copyable {
    private var bytes = InlineArray<256, UInt8>(repeating: 0)
    private var count = 0
    private var position = 0
    private(set) var isTooLong = false

    /// Adds a received byte; CR is ignored.
    mutating func add(_ byte: UInt8) {
        if byte == 0x0d { return }
        guard count < MonitorInput.limit else {
            isTooLong = true
            return
        }
        bytes[count] = byte
        count &+= 1
    }

    /// Begins the next line.
    mutating func clear() {
        count = 0
        position = 0
        isTooLong = false
    }

    /// A word of the line: where it is.
    struct Word {
        var start: Int
        var count: Int
    }

    /// The next word, if there is one.
    mutating func word() -> Word? {
        while position < count && isBlank(bytes[position]) { position &+= 1 }
        let start = position
        while position < count && !isBlank(bytes[position]) { position &+= 1 }
        return position > start ? Word(start: start, count: position &- start) : nil
    }

    private func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// Byte `index` of a word.
    func byte(_ word: Word, _ index: Int) -> UInt8 { bytes[word.start &+ index] }

    /// Whether a word is exactly this text.
    func matches(_ word: Word, _ text: StaticString) -> Bool {
        guard word.count == text.utf8CodeUnitCount else { return false }
        var index = 0
        while index < word.count {
            if bytes[word.start &+ index] != text.utf8Start[index] { return false }
            index &+= 1
        }
        return true
    }

    /// A word as a number: decimal, or hexadecimal with 0x; nil if it is none or does not fit 64 bits.
    func number(_ word: Word) -> UInt64? {
        let isHex = word.count > 2 && byte(word, 0) == 0x30 && byte(word, 1) | 0x20 == 0x78
        var value: UInt64 = 0
        var index = isHex ? 2 : 0
        while index < word.count {
            let character = byte(word, index)
            index &+= 1
            let digit: UInt64
            switch character {
            case 0x30...0x39: digit = UInt64(character &- 0x30)
            case 0x61...0x66 where isHex: digit = UInt64(character &- 0x57)
            case 0x41...0x46 where isHex: digit = UInt64(character &- 0x37)
            case 0x5f: continue
            default: return nil
            }
            let (product, overflow) = value.multipliedReportingOverflow(by: isHex ? 16 : 10)
            let (sum, carry) = product.addingReportingOverflow(digit)
            if overflow || carry { return nil }
            value = sum
        }
        return value
    }

    /// A word as a protection: letters of r w x, or none.
    func protection(_ word: Word) -> Protection? {
        if matches(word, "none") { return Protection.none }
        var result: Protection = []
        var index = 0
        while index < word.count {
            switch byte(word, index) {
            case 0x72: result.insert(.read)
            case 0x77: result.insert(.write)
            case 0x78: result.insert(.execute)
            default: return nil
            }
            index &+= 1
        }
        return result
    }
}

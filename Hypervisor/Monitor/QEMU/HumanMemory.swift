// `x` and `xp`: memory in hexadecimal, in the words of QEMU 7.2.

/// Dumps of memory.
enum HumanMemory {
    /// More bytes than this are not dumped at once.
    private static let limit = 64 << 10

    /// A number as people type it: `0x1f`, `31`.
    static func number(_ text: String) -> UInt64? {
        text.hasPrefix("0x") || text.hasPrefix("0X") ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
    }

    /// Dumps memory.
    ///
    /// - Parameters:
    ///   - words: `/COUNTxSIZE` (b, h, w, g; 1 word of 4 bytes if not given) and the address.
    ///   - name: the command, for messages.
    ///   - page: the page with an address, or nil if there is none.
    static func dump(
        _ words: [String], _ name: String, page: (UInt64) -> UnsafeRawPointer?
    ) throws(HumanError) -> String {
        var rest = words[...]
        var count = 1
        var size = 4
        if let format = rest.first, format.hasPrefix("/") {
            rest.removeFirst()
            let digits = format.dropFirst().prefix { $0.isASCII && $0.isNumber }
            if !digits.isEmpty { count = Int(digits) ?? 0 }
            for letter in format.dropFirst(1 + digits.count) {
                switch letter {
                case "x": break
                case "b": size = 1
                case "h": size = 2
                case "w": size = 4
                case "g": size = 8
                default: throw HumanError(text: "invalid char in format: '\(letter)': x, b, h, w and g are known\n")
                }
            }
        }
        guard let word = rest.popFirst(), let start = number(word), rest.isEmpty else {
            throw HumanError(text: "unexpected end of expression\nTry \"help \(name)\" for more information\n")
        }
        guard count >= 1, count <= limit / size else {
            throw HumanError(text: "\(count) are too many: at most \(limit) bytes are dumped at once\n")
        }
        let perLine = size == 1 ? 8 : 16 / size
        var text = ""
        for first in stride(from: 0, to: count, by: perLine) {
            let at = start &+ UInt64(first * size)
            text += hexDigits(at, 16) + ":"
            for index in first..<min(count, first + perLine) {
                guard let value = value(start &+ UInt64(index * size), size, page) else {
                    return text + " Cannot access memory\n"
                }
                text += " 0x" + hexDigits(value, size * 2)
            }
            text += "\n"
        }
        return text
    }

    private static func value(_ address: UInt64, _ size: Int, _ page: (UInt64) -> UnsafeRawPointer?) -> UInt64? {
        var value: UInt64 = 0
        for index in (0..<UInt64(size)).reversed() {
            let at = address &+ index
            guard let bytes = page(at) else { return nil }
            value = value << 8 | UInt64(bytes.load(fromByteOffset: Int(at & 4095), as: UInt8.self))
        }
        return value
    }
}

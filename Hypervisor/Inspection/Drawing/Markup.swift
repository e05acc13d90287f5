// Text that comes from guests and users, made safe for markup; and numbers as base64.

/// Escaping for XML and HTML.
enum Markup {
    /// Text for element content and for attribute values in double quotes. What XML 1.0 (2.2) does not allow at all
    /// becomes U+FFFD.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            case "\t", "\n", "\r": result += "&#\(scalar.value);"
            case _ where scalar.value < 0x20 || scalar.value & 0xfffe == 0xfffe: result += "\u{fffd}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// JSON that can stand in a script element: without `<`, `>` and `&`, which occur in texts only and are escaped there.
    static func scriptSafe(_ json: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(json.count)
        for byte in json {
            switch byte {
            case UInt8(ascii: "<"): result += Array("\\u003c".utf8)
            case UInt8(ascii: ">"): result += Array("\\u003e".utf8)
            case UInt8(ascii: "&"): result += Array("\\u0026".utf8)
            default: result.append(byte)
            }
        }
        return result
    }
}

/// Base64 (RFC 4648, 4) of numbers as they lie in memory.
enum Base64 {
    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// The bytes of an array of numbers, little-endian as on every host that runs this.
    static func text<Number: BitwiseCopyable>(_ numbers: [Number]) -> String {
        numbers.withUnsafeBytes { bytes in
            var text: [UInt8] = []
            text.reserveCapacity((bytes.count + 2) / 3 * 4)
            var at = 0
            while at < bytes.count {
                let count = min(3, bytes.count - at)
                var group: UInt32 = 0
                for offset in 0..<3 { group = group << 8 | (offset < count ? UInt32(bytes[at + offset]) : 0) }
                for place in 0..<4 {
                    let digit = digits[Int(group >> UInt32(18 - 6 * place) & 63)]
                    text.append(place <= count ? digit : UInt8(ascii: "="))
                }
                at += 3
            }
            return String(decoding: text, as: UTF8.self)
        }
    }
}

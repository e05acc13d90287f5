// GDB's remote serial protocol: packets, acknowledgements and the interrupt (GDB manual, appendix E).
//
//     $DATA#cc   + (received)   - (again)   0x03 (Ctrl-C)       } escapes: the next byte is XORed with 0x20

/// What came from GDB.
public enum GDBInput: Equatable, Sendable {
    /// A packet's data, its escapes undone.
    case packet([UInt8])
    /// Ctrl-C.
    case interrupt
    /// A packet whose checksum is wrong: it is to be sent again.
    case damaged
    /// GDB wants the last packet again.
    case again
}

/// Cuts a stream of bytes into packets. Never keeps more than `limit` bytes.
public struct GDBPacketReader: Sendable {
    /// The longest packet that is taken, in bytes; announced to GDB as PacketSize.
    public static let limit = 0x4000

    private enum State {
        case idle
        case data
        case checksum(first: UInt8?)
    }

    private var state = State.idle
    private var raw: [UInt8] = []
    private var isTooLong = false

    /// A reader at the beginning of a stream.
    public init() {}

    /// What these bytes complete, in order.
    public mutating func read(_ bytes: some Sequence<UInt8>) -> [GDBInput] {
        var found: [GDBInput] = []
        for byte in bytes {
            switch state {
            case .idle:
                switch byte {
                case UInt8(ascii: "$"): begin()
                case 3: found.append(.interrupt)
                case UInt8(ascii: "-"): found.append(.again)
                default: break
                }
            case .data:
                // A packet that begins within another: the first one lost its end.
                if byte == UInt8(ascii: "$") {
                    begin()
                } else if byte == UInt8(ascii: "#") {
                    state = .checksum(first: nil)
                } else if raw.count < GDBPacketReader.limit {
                    raw.append(byte)
                } else {
                    isTooLong = true
                }
            case .checksum(nil): state = .checksum(first: byte)
            case .checksum(let first?):
                state = .idle
                let sum = raw.reduce(UInt8(0)) { $0 &+ $1 }
                if !isTooLong, let high = hexDigit(first), let low = hexDigit(byte), high << 4 | low == sum {
                    found.append(.packet(unescaped()))
                } else {
                    found.append(.damaged)
                }
            }
        }
        return found
    }

    private mutating func begin() {
        raw.removeAll(keepingCapacity: true)
        isTooLong = false
        state = .data
    }

    private func unescaped() -> [UInt8] {
        var data: [UInt8] = []
        data.reserveCapacity(raw.count)
        var isEscaped = false
        for byte in raw {
            if isEscaped {
                data.append(byte ^ 0x20)
                isEscaped = false
            } else if byte == UInt8(ascii: "}") {
                isEscaped = true
            } else {
                data.append(byte)
            }
        }
        return data
    }
}

/// A packet with this data, as it is sent.
public func gdbPacket(_ data: [UInt8]) -> [UInt8] {
    var packet: [UInt8] = [UInt8(ascii: "$")]
    var sum: UInt8 = 0
    for byte in data {
        // $ # } *: the last would be a repetition.
        if byte == 0x24 || byte == 0x23 || byte == 0x7d || byte == 0x2a {
            packet += [0x7d, byte ^ 0x20]
            sum = sum &+ 0x7d &+ (byte ^ 0x20)
        } else {
            packet.append(byte)
            sum = sum &+ byte
        }
    }
    return packet + [UInt8(ascii: "#")] + hexDigits([sum])
}

func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): return byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): return byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): return byte - UInt8(ascii: "A") + 10
    default: return nil
    }
}

/// Two digits a byte, the first byte first.
func hexDigits(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    let digits = Array("0123456789abcdef".utf8)
    return bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
}

/// The bytes of a text of digits, two each; nil if it is anything else.
func hexBytes(_ digits: ArraySlice<UInt8>) -> [UInt8]? {
    guard digits.count.isMultiple(of: 2) else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(digits.count / 2)
    var index = digits.startIndex
    while index < digits.endIndex {
        guard let high = hexDigit(digits[index]), let low = hexDigit(digits[index + 1]) else { return nil }
        bytes.append(high << 4 | low)
        index += 2
    }
    return bytes
}

/// What is left to read of a packet.
struct PacketText {
    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    /// Takes a word if it comes next.
    mutating func take(_ word: String) -> Bool {
        let bytes = Array(word.utf8)
        guard rest.starts(with: bytes) else { return false }
        rest = rest.dropFirst(bytes.count)
        return true
    }

    /// A hexadecimal number of at most 64 bits; nil if none comes next.
    mutating func number() -> UInt64? {
        var value: UInt64 = 0
        var count = 0
        while let byte = rest.first, let digit = hexDigit(byte), count < 16 {
            value = value << 4 | UInt64(digit)
            rest = rest.dropFirst()
            count += 1
        }
        // A seventeenth digit is no part of anything.
        if let byte = rest.first, hexDigit(byte) != nil { return nil }
        return count > 0 ? value : nil
    }

    /// A thread's number: 0 is any, -1 all.
    mutating func thread() -> Int? {
        if take("-1") { return -1 }
        guard let value = number(), value <= 65536 else { return nil }
        return Int(value)
    }

    var isEmpty: Bool { rest.isEmpty }
}

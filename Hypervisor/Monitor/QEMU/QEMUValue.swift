// The value of a QEMU option: `socket,id=c,fd=3,server=on`, or the same as a JSON object.

import JSON
import Options

/// An option's value in pieces, each to be taken once.
struct QEMUValue {
    /// The option: `-chardev`.
    let option: String
    /// The value as it was given.
    let text: String
    private var pairs: [(key: String, value: String)] = []

    /// Splits a value.
    ///
    /// - Parameters:
    ///   - option: its name, for messages.
    ///   - text: `a,b=c,,d` (two commas are one of the value's own) or `{"b":"c,d"}`.
    ///   - first: the key of a first piece that has none.
    init(_ option: String, _ text: String, first: String) throws(UsageError) {
        self.option = option
        self.text = text
        if text.utf8.first == UInt8(ascii: "{") {
            try readJSON(text)
            return
        }
        for (index, piece) in QEMUValue.pieces(text).enumerated() where !piece.isEmpty {
            let parts = piece.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 {
                pairs.append((String(parts[0]), String(parts[1])))
            } else if index == 0 {
                pairs.append((first, piece))
            } else {
                // The old short form of on and off.
                let isOff = piece.hasPrefix("no") && piece.utf8.count > 2
                pairs.append((isOff ? String(piece.dropFirst(2)) : piece, isOff ? "off" : "on"))
            }
        }
    }

    private static func pieces(_ text: String) -> [String] {
        var pieces: [String] = []
        var piece: [UInt8] = []
        var bytes = Array(text.utf8)[...]
        while let byte = bytes.popFirst() {
            guard byte == UInt8(ascii: ",") else {
                piece.append(byte)
                continue
            }
            if bytes.first == UInt8(ascii: ",") {
                piece.append(byte)
                bytes.removeFirst()
            } else {
                pieces.append(String(decoding: piece, as: UTF8.self))
                piece = []
            }
        }
        return pieces + [String(decoding: piece, as: UTF8.self)]
    }

    private mutating func readJSON(_ text: String) throws(UsageError) {
        let value: JSON
        do throws(JSONError) {
            value = try JSON.parse(text, limits: JSONLimits(bytes: 1 << 16, depth: 8))
        } catch {
            throw UsageError("\(option): \(error)")
        }
        for member in value.members ?? [] {
            switch member.value {
            case .string(let text): pairs.append((member.name, text))
            case .bool(let flag): pairs.append((member.name, flag ? "on" : "off"))
            case .integer, .unsigned: pairs.append((member.name, member.value.encoded))
            default: pairs.append((member.name, member.value.encoded))
            }
        }
    }

    /// The value of a key, or nil if it was not given; the last one counts.
    mutating func take(_ key: String) -> String? {
        let value = pairs.last { $0.key == key }?.value
        pairs.removeAll { $0.key == key }
        return value
    }

    /// The value of a key that must be given.
    mutating func need(_ key: String) throws(UsageError) -> String {
        guard let value = take(key), !value.isEmpty else { throw UsageError("\(option) \(text): \(key)= is missing") }
        return value
    }

    /// A number within a range, or nil if it was not given.
    mutating func number(_ key: String, in range: ClosedRange<Int>) throws(UsageError) -> Int? {
        guard let value = take(key) else { return nil }
        let number = value.hasPrefix("0x") ? Int(value.dropFirst(2), radix: 16) : Int(value)
        guard let number, range.contains(number) else {
            throw UsageError(
                "\(option) \(key)=\(value): a number from \(range.lowerBound) to \(range.upperBound) is needed")
        }
        return number
    }

    /// Whether something is on, or nil if it was not given.
    mutating func flag(_ key: String) throws(UsageError) -> Bool? {
        switch take(key) {
        case nil: return nil
        case "on", "yes", "true", "y": return true
        case "off", "no", "false", "n": return false
        case let value?: throw UsageError("\(option) \(key)=\(value): on or off is needed")
        }
    }

    /// Refuses what must be off here; `why` says what is not there.
    mutating func refuse(_ key: String, _ why: String) throws(UsageError) {
        if try flag(key) ?? false { throw UsageError("\(option) \(key)=on: \(why)") }
    }

    /// What was not taken: `key=value`.
    var rest: [String] { pairs.map { "\($0.key)=\($0.value)" } }

    /// Refuses what was not taken.
    func end() throws(UsageError) {
        if let extra = rest.first { throw UsageError("\(option) \(text): '\(extra)' is not known here") }
    }
}

extension QEMUValue {
    /// A size in bytes as QEMU has them: a number, in `unit` bytes if no letter k, M, G, T follows.
    static func size(_ text: String, unit: UInt64) -> UInt64? {
        var digits = text[...]
        var scale = unit
        if let last = text.last?.lowercased(), let shift = ["b": 0, "k": 10, "m": 20, "g": 30, "t": 40][last] {
            digits = digits.dropLast()
            scale = 1 << UInt64(shift)
        }
        guard let number = UInt64(digits) else { return nil }
        let (size, overflow) = number.multipliedReportingOverflow(by: scale)
        return overflow ? nil : size
    }
}

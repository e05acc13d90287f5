// Many addresses in one line: `0xffff[89a]000_0020_0000`, `0xffffff6200003000+n*0x10000, n<65536`.

import Addresses

/// A set of addresses: every choice of one digit where there are several, repeated at equal distances.
public struct AddressPattern: Hashable, Sendable, CustomStringConvertible {
    /// The digits that each hexadecimal place may have, a bit for each; place 0 is the lowest.
    private(set) var digits: SIMD16<UInt16>
    /// The distance from one repetition to the next; 0 if there is one only.
    public let stride: UInt64
    /// How many repetitions there are of each choice of digits.
    public let repetitions: UInt64

    /// `repetitions` addresses from `va` on, `stride` bytes apart.
    public init(_ va: GVA, stride: UInt64 = 0, repetitions: UInt64 = 1) {
        digits = SIMD16()
        for place in 0..<16 { digits[place] = 1 << UInt16(va.rawValue >> UInt64(4 * place) & 15) }
        self.stride = repetitions > 1 ? stride : 0
        self.repetitions = max(repetitions, 1)
    }

    /// How many addresses.
    public var count: UInt64 {
        (0..<16).reduce(repetitions) {
            $0.multipliedReportingOverflow(by: UInt64(digits[$1].nonzeroBitCount)).partialValue
        }
    }

    /// The lowest address.
    public var first: GVA {
        GVA((0..<16).reduce(0) { $0 | UInt64(digits[$1].trailingZeroBitCount & 15) << UInt64(4 * $1) })
    }

    /// Whether it is one choice of digits.
    var isPlain: Bool { (0..<16).allSatisfy { digits[$0].nonzeroBitCount == 1 } }

    /// The pattern with any digit at a place: what two patterns must have in common to differ there alone.
    func open(at place: Int) -> AddressPattern {
        var open = self
        open.digits[place] = .max
        return open
    }

    /// The pattern that also has another's digits at a place.
    mutating func formUnion(_ other: AddressPattern, at place: Int) { digits[place] |= other.digits[place] }

    /// Hands out the addresses, the lowest digits' choices first, until `body` returns false.
    public func forEach(_ body: (GVA) -> Bool) {
        var choices = SIMD16<UInt16>()
        while true {
            var base: UInt64 = 0
            for place in 0..<16 {
                var left = digits[place]
                for _ in 0..<choices[place] { left &= left &- 1 }
                base |= UInt64(left.trailingZeroBitCount & 15) << UInt64(4 * place)
            }
            var number: UInt64 = 0
            while number < repetitions {
                guard body(GVA(base &+ number &* stride)) else { return }
                number += 1
            }
            var place = 0
            while place < 16 {
                choices[place] += 1
                if Int(choices[place]) < digits[place].nonzeroBitCount { break }
                choices[place] = 0
                place += 1
            }
            if place == 16 { return }
        }
    }

    /// The notation.
    public var description: String {
        var text: String
        if isPlain {
            text = repetitions > 1 ? first.hex : first.hex16
        } else {
            var top = 15
            while top > 0 && digits[top] == 1 { top -= 1 }
            text = "0x"
            for place in (0...top).reversed() {
                let isChoice = digits[place].nonzeroBitCount > 1
                // Groups of four digits; a bracket separates as well as an underscore.
                if place % 4 == 3 && place != top && !isChoice { text += "_" }
                text += isChoice ? "[\(AddressPattern.choice(digits[place]))]" : AddressPattern.choice(digits[place])
            }
        }
        if repetitions > 1 { text += "+n*\(GVA(stride).hex), n<\(repetitions)" }
        return text
    }

    /// `89a`, `0-7`: four digits in a row and more with a dash.
    private static func choice(_ set: UInt16) -> String {
        var text = ""
        var digit = 0
        while digit < 16 {
            guard set >> UInt16(digit) & 1 == 1 else {
                digit += 1
                continue
            }
            var last = digit
            while last < 15 && set >> UInt16(last + 1) & 1 == 1 { last += 1 }
            if last - digit >= 3 {
                text += String(digit, radix: 16) + "-" + String(last, radix: 16)
                digit = last + 1
            } else {
                text += String(digit, radix: 16)
                digit += 1
            }
        }
        return text
    }
}

extension AddressPattern {
    /// Addresses in a row from which on a stride is clearer than a choice of one digit.
    private static let longRow = 17
    /// Addresses in a row from which on a stride is shorter than single lines.
    private static let shortRow = 3

    /// Up to so many addresses rows are taken apart, to see whether they are parts of a longer one.
    private static let expansionLimit: UInt64 = 1 << 18

    /// Few patterns that together have exactly these addresses, by ascending first address.
    ///
    /// - Parameter rows: addresses at equal distances: the first, the distance, how many.
    static func covering(_ rows: [(va: GVA, stride: UInt64, count: UInt64)]) -> [AddressPattern] {
        let long = rows.filter { $0.count > 1 }.map { AddressPattern($0.va, stride: $0.stride, repetitions: $0.count) }
        let singles = rows.filter { $0.count <= 1 }.map(\.va)
        let asGiven = covering(long, singles)
        var total = UInt64(singles.count)
        for row in rows where row.count > 1 {
            total = total.addingReportingOverflow(min(row.count, expansionLimit)).partialValue
        }
        guard !long.isEmpty, asGiven.count > 1, total <= expansionLimit else { return asGiven }
        let apart = covering(
            [], singles + long.flatMap { row in (0..<row.repetitions).map { row.first &+ $0 &* row.stride } })
        return apart.count < asGiven.count ? apart : asGiven
    }

    private static func covering(_ long: [AddressPattern], _ singles: [GVA]) -> [AddressPattern] {
        let patterns = merged(long + inRows(singles.sorted(), atLeast: longRow))
        // What could not be merged may still be a row.
        let plain = patterns.filter { $0.isPlain && $0.repetitions == 1 }.map(\.first).sorted()
        let others = patterns.filter { !($0.isPlain && $0.repetitions == 1) }
        return (others + inRows(plain, atLeast: shortRow)).sorted { ($0.first, $0.count) < ($1.first, $1.count) }
    }

    /// Ascending addresses, those at equal distances as one pattern each.
    private static func inRows(_ addresses: [GVA], atLeast length: Int) -> [AddressPattern] {
        var patterns: [AddressPattern] = []
        var index = 0
        while index < addresses.count {
            var end = index + 1
            if end < addresses.count {
                let distance = addresses[end] &- addresses[index]
                while end + 1 < addresses.count && addresses[end + 1] &- addresses[end] == distance { end += 1 }
                if end - index + 1 >= length {
                    patterns.append(
                        AddressPattern(addresses[index], stride: distance, repetitions: UInt64(end - index + 1)))
                    index = end + 1
                    continue
                }
            }
            patterns.append(AddressPattern(addresses[index]))
            index += 1
        }
        return patterns
    }

    /// The same addresses in fewer patterns: those that differ in the digits of one place become one, the highest place first.
    private static func merged(_ patterns: [AddressPattern]) -> [AddressPattern] {
        var patterns = patterns
        for place in (0..<16).reversed() where patterns.count > 1 {
            var byRest: [AddressPattern: Int] = [:]
            var next: [AddressPattern] = []
            for pattern in patterns {
                let rest = pattern.open(at: place)
                if let index = byRest[rest] {
                    next[index].formUnion(pattern, at: place)
                } else {
                    byRest[rest] = next.count
                    next.append(pattern)
                }
            }
            patterns = next
        }
        return patterns
    }
}

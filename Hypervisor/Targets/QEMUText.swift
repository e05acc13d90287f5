// What QEMU's human monitor prints, as far as it is needed: flat memory views, registers, memory.

import Addresses

/// Parsers of the human monitor's answers. They take what they understand and pass over everything else. Answers have thousands of
/// words, so they are taken apart as bytes.
package enum QEMUText {
    private typealias Bytes = ArraySlice<UInt8>

    /// A piece of RAM or ROM in the flat view of the address space `memory` (`info mtree -f`).
    package struct Range: Equatable {
        package let first: UInt64
        package let last: UInt64
        package let name: String
        /// Where it begins in the block of that name.
        package let offset: UInt64
    }

    /// The pieces of RAM and ROM, in the order printed.
    ///
    ///     FlatView #1
    ///      AS "memory", root: system
    ///      Root memory region: system
    ///       0000000000000000-00000000000bffff (prio 0, ram): pc.ram
    ///       0000000000100000-0000000003ffffff (prio 0, ram): pc.ram @0000000000100000
    package static func memoryView(_ text: String) -> [Range] {
        var found: [Range] = []
        var isMemory = false
        for line in lines(text) {
            if line.starts(with: "FlatView".utf8) { isMemory = false }
            let words = line.split(separator: blank, maxSplits: 4)
            if words.count > 1, words[0].elementsEqual("AS".utf8), words[1].starts(with: "\"memory\"".utf8) {
                isMemory = true
            }
            guard isMemory, words.count == 5, words[1].elementsEqual("(prio".utf8) else { continue }
            let kind = words[3]
            guard ["ram):", "rom):", "romd):"].contains(where: { ends(kind, $0) }) else { continue }
            let bounds = words[0].split(separator: UInt8(ascii: "-"))
            guard bounds.count == 2, let first = number(bounds[0]), let last = number(bounds[1]), first <= last else {
                continue
            }
            let rest = words[4].split(separator: blank)
            let place = rest.dropFirst().first { $0.first == UInt8(ascii: "@") }
            found.append(
                Range(
                    first: first, last: last, name: String(decoding: rest.first ?? [], as: UTF8.self),
                    offset: place.flatMap { number($0.dropFirst()) } ?? 0))
        }
        return found
    }

    /// The address in `Host virtual address for 0x0 (pc.ram) is 0x7fc6afe00000`.
    package static func hostAddress(_ text: String) -> UInt64? {
        let words = lines(text).flatMap { $0.split(separator: blank) }
        guard words.count > 2, words[words.count - 2].elementsEqual("is".utf8) else { return nil }
        return prefixed(words[words.count - 1])
    }

    /// Registers as `CR3=0000000012345000`, segments as `CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0`, tables as
    /// `GDT=     fffffe0000001000 0000007f`.
    package static func registers(
        _ text: String
    ) -> (values: [(name: String, value: UInt64)], segments: [(name: String, segment: TargetSegment)]) {
        var values: [(name: String, value: UInt64)] = []
        var segments: [(name: String, segment: TargetSegment)] = []
        for line in lines(text) {
            if let segment = segment(line) {
                segments.append(segment)
                continue
            }
            for word in line.split(separator: blank) {
                let parts = word.split(separator: equals, maxSplits: 1)
                guard parts.count == 2, let value = number(parts[1]),
                    let name = names[String(decoding: parts[0], as: UTF8.self)],
                    !values.contains(where: { $0.name == name })
                else { continue }
                values.append((name, value))
            }
        }
        return (values, segments)
    }

    private static func segment(_ line: Bytes) -> (name: String, segment: TargetSegment)? {
        let parts = line.split(separator: equals, maxSplits: 1)
        guard parts.count == 2, let word = parts[0].split(separator: blank).first, word.count < 4 else { return nil }
        let name = String(decoding: word, as: UTF8.self)
        let known = ["ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR"]
        let numbers = parts[1].split(separator: blank).prefix(4).compactMap(number)
        if ["GDT", "IDT"].contains(name), numbers.count == 2 {
            return (name.lowercased(), TargetSegment(selector: 0, base: numbers[0], limit: numbers[1], flags: 0))
        }
        guard known.contains(name), numbers.count == 4 else { return nil }
        return (
            name.lowercased(),
            TargetSegment(selector: numbers[0], base: numbers[1], limit: numbers[2], flags: numbers[3])
        )
    }

    private static let names: [String: String] = {
        var names: [String: String] = ["RFL": "rflags", "EFL": "rflags", "EFER": "efer"]
        for name in ["AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP", "IP"] {
            names["R" + name] = "r" + name.lowercased()
            names["E" + name] = "r" + name.lowercased()
        }
        for number in 8...15 {
            names["R\(number)"] = "r\(number)"
        }
        // ARM: R00...R15, PSR.
        names["PSR"] = "psr"
        for number in 0...9 { names["R0\(number)"] = "r\(number)" }
        for name in ["CR0", "CR2", "CR3", "CR4", "CR8"] { names[name] = name.lowercased() }
        return names
    }()

    /// So many numbers as `xp /512gx` prints them, or nil if any is missing.
    ///
    ///     0000000000001000: 0x0000000000002067 0x0000000000000000
    package static func numbers(_ text: String, count: Int) -> [UInt64]? {
        var found: [UInt64] = []
        found.reserveCapacity(count)
        for line in lines(text) {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
            for word in line[(colon + 1)...].split(separator: blank) {
                guard let number = prefixed(word), found.count < count else { return nil }
                found.append(number)
            }
        }
        return found.count == count ? found : nil
    }

    // MARK: Bytes

    private static let blank = UInt8(ascii: " ")
    private static let equals = UInt8(ascii: "=")

    private static func lines(_ text: String) -> [Bytes] {
        Array(text.utf8).split { $0 == 10 || $0 == 13 }
    }

    private static func ends(_ word: Bytes, _ end: String) -> Bool {
        word.count >= end.utf8.count && word.suffix(end.utf8.count).elementsEqual(end.utf8)
    }

    /// Hexadecimal digits with 0x before them.
    private static func prefixed(_ word: Bytes) -> UInt64? {
        word.starts(with: "0x".utf8) ? number(word.dropFirst(2)) : nil
    }

    /// Hexadecimal digits, nothing else; 64 bits at most.
    private static func number(_ digits: Bytes) -> UInt64? {
        var value: UInt64 = 0
        for digit in digits {
            let nibble: UInt8
            switch digit {
            case 0x30...0x39: nibble = digit &- 0x30
            case 0x61...0x66: nibble = digit &- 0x57
            case 0x41...0x46: nibble = digit &- 0x37
            default: return nil
            }
            guard value >> 60 == 0 else { return nil }
            value = value << 4 | UInt64(nibble)
        }
        return digits.isEmpty ? nil : value
    }
}

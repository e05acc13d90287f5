// What QEMU's human monitor prints, as far as it is needed: flat memory views, registers, memory.

import Addresses

/// Parsers of the human monitor's answers. They take what they understand and pass over everything else.
package enum QEMUText {
    /// A piece of RAM or ROM in the flat view of the address space `memory` (`info mtree -f`).
    package struct Range: Equatable {
        package let first: UInt64
        package let last: UInt64
        package let name: String
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
        for line in text.split(whereSeparator: \.isNewline) {
            if line.hasPrefix("FlatView") { isMemory = false }
            let words = line.split(separator: " ", maxSplits: 4)
            if words.first == "AS", words.count > 1, words[1].hasPrefix("\"memory\"") { isMemory = true }
            guard isMemory, words.count == 5, words[1] == "(prio", words[3].hasSuffix("):") else { continue }
            let kind = words[3].dropLast(2)
            guard kind.hasSuffix("ram") || kind.hasSuffix("rom") || kind.hasSuffix("romd") else { continue }
            let bounds = words[0].split(separator: "-")
            guard bounds.count == 2, let first = UInt64(bounds[0], radix: 16), let last = UInt64(bounds[1], radix: 16),
                first <= last
            else { continue }
            let name = words[4].split(separator: " ").first.map(String.init) ?? ""
            found.append(Range(first: first, last: last, name: name))
        }
        return found
    }

    /// The address in `Host virtual address for 0x0 (pc.ram) is 0x7fc6afe00000`.
    package static func hostAddress(_ text: String) -> UInt64? {
        let words = text.split { $0 == " " || $0.isNewline }
        guard words.count > 2, words[words.count - 2] == "is", words[words.count - 1].hasPrefix("0x") else {
            return nil
        }
        return UInt64(words[words.count - 1].dropFirst(2), radix: 16)
    }

    /// Registers as `CR3=0000000012345000`, segments as `CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0`, tables as
    /// `GDT=     fffffe0000001000 0000007f`.
    package static func registers(
        _ text: String
    ) -> (values: [(name: String, value: UInt64)], segments: [(name: String, segment: TargetSegment)]) {
        var values: [(name: String, value: UInt64)] = []
        var segments: [(name: String, segment: TargetSegment)] = []
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(separator: " ")
            if let segment = segment(line) {
                segments.append(segment)
                continue
            }
            for word in words {
                let parts = word.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, let value = UInt64(parts[1], radix: 16), let name = names[String(parts[0])],
                    !values.contains(where: { $0.name == name })
                else { continue }
                values.append((name, value))
            }
        }
        return (values, segments)
    }

    private static func segment(_ line: Substring) -> (name: String, segment: TargetSegment)? {
        let parts = line.split(separator: "=", maxSplits: 1)
        guard parts.count == 2, let name = parts[0].split(separator: " ").first else { return nil }
        let known = ["ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR"]
        let numbers = parts[1].split(separator: " ").prefix(4).compactMap { UInt64($0, radix: 16) }
        if ["GDT", "IDT"].contains(name), numbers.count == 2 {
            return (name.lowercased(), TargetSegment(selector: 0, base: numbers[0], limit: numbers[1], flags: 0))
        }
        guard known.contains(String(name)), numbers.count == 4 else { return nil }
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

    /// The 512 numbers of a page as `xp /512gx` prints them, or nil if any is missing.
    ///
    ///     0000000000001000: 0x0000000000002067 0x0000000000000000
    package static func page(_ text: String) -> [UInt64]? {
        var numbers: [UInt64] = []
        for line in text.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { return nil }
            for word in parts[1].split(separator: " ") {
                guard word.hasPrefix("0x"), let number = UInt64(word.dropFirst(2), radix: 16) else { return nil }
                numbers.append(number)
            }
        }
        return numbers.count == 512 ? numbers : nil
    }
}

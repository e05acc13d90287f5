import Addresses
import GuestMemory
import PageTables
import Targets
import TestSupport
import Testing

@testable import Inspection

@Suite struct SearchPatternTests {
    @Test(
        arguments: [
            ("hello", [0x68, 0x65, 0x6c, 0x6c, 0x6f]), ("string:0x10", [0x30, 0x78, 0x31, 0x30]),
            ("utf16:hé", [0x68, 0, 0xe9, 0]),
            ("0x1f", [0x1f]), ("0x1f8", [0xf8, 1]), ("0x1_0000", [0, 0, 1, 0]),
            ("0x123456789", [0x89, 0x67, 0x45, 0x23, 1, 0, 0, 0]),
            ("u16:258", [2, 1]), ("u16be:0x102", [1, 2]), ("u32:-1", [255, 255, 255, 255]),
            ("u64:0xffff800000200000", [0, 0, 0x20, 0, 0, 0x80, 0xff, 0xff]),
            ("bytes:7f 45_4C-46", [0x7f, 0x45, 0x4c, 0x46]),
            ("nokind:x", Array("nokind:x".utf8)),
        ] as [(String, [UInt8])]) func whatIsMeant(text: String, bytes: [UInt8]) throws
    {
        let pattern = try SearchPattern(parsing: text)
        #expect(pattern.values == bytes)
        #expect(pattern.masks == bytes.map { _ in 0xff })
    }

    @Test func wildcardsAndCase() throws {
        let pattern = try SearchPattern(parsing: "bytes:4? ?? ?? 0f")
        #expect(pattern.values == [0x40, 0, 0, 0x0f])
        #expect(pattern.masks == [0xf0, 0, 0, 0xff])
        let text = try SearchPattern(parsing: "a-Z", ignoresCase: true)
        #expect(text.masks == [0xdf, 0xff, 0xdf])
        #expect(text.values == [0x41, 0x2d, 0x5a])
        #expect(try SearchPattern(parsing: "u32:7").alignment == 4)
    }

    @Test(arguments: [
        "", "string:", "bytes:7f4", "bytes:7x", "bytes:????", "u8:256", "u16:-32769", "u32:abc", "0x12345678901234567",
        "u64:18446744073709551616", "u8:", "u12:5", "i32:1", String(repeating: "a", count: 1025),
    ]) func whatIsRefused(text: String) {
        #expect(throws: PatternError.self) { try SearchPattern(parsing: text) }
    }
}

@Suite struct PatternScannerTests {
    /// Every place, found one by one.
    private func places(of pattern: SearchPattern, in bytes: [UInt8]) -> [Int] {
        guard bytes.count >= pattern.values.count else { return [] }
        return (0...bytes.count - pattern.values.count).filter { place in
            pattern.values.indices.allSatisfy { bytes[place + $0] & pattern.masks[$0] == pattern.values[$0] }
        }
    }

    @Test(arguments: [
        "bytes:00", "bytes:01", "bytes:0001", "bytes:0100", "bytes:010001", "bytes:0?01", "bytes:01??01",
        "bytes:000000",
        "bytes:8001", "bytes:80", "bytes:ff00ff",
    ]) func everyPlace(text: String) throws {
        let pattern = try SearchPattern(parsing: text)
        let scanner = PatternScanner(pattern)
        var random = Random(seed: 1)
        for length in [0, 1, 2, 3, 63, 64, 65, 66, 127, 128, 129, 200, 1000] {
            for _ in 0..<20 {
                let bytes: [UInt8] = (0..<length).map { _ in
                    ([0, 0, 0, 1, 1, 0x80, 0xff] as [UInt8]).randomElement(using: &random) ?? 0
                }
                var found: [Int] = []
                bytes.withUnsafeBytes { scanner.scan($0) { found.append($0) } }
                #expect(found == places(of: pattern, in: bytes), "\(bytes)")
            }
        }
    }
}

@Suite struct MemorySearchTests {
    /// Pages that are mapped at random: aliases, pages in a row, the same page again and again.
    private struct Machine {
        static let root: UInt64 = 0x1000
        static let firstVA: UInt64 = 0x40_0000
        static let pages = 96
        let ram: GuestRAM
        let subject: Subject
        let memory: TargetMemory

        init(seed: UInt64, mapped: Bool) throws {
            let ram = try GuestRAM([
                RAMRange(name: "low", start: GPA(0), size: 0x4_0000),
                RAMRange(name: "high", start: GPA(0x4_0000), size: 0x2_0000),
            ])
            self.ram = ram
            var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
            func random(_ bound: UInt64) -> UInt64 {
                state ^= state << 13
                state ^= state >> 7
                state ^= state << 17
                return state % bound
            }
            func store(_ value: UInt64, at address: UInt64) {
                let bytes = withUnsafeBytes(of: value) { Array($0) }
                #expect(ram.write(bytes, at: GPA(address)))
            }
            for level in 0..<3 {
                store(
                    Self.root + UInt64(level + 1) << 12 | 7, at: Self.root + UInt64(level) << 12 + (level == 2 ? 16 : 0)
                )
            }
            var page: UInt64 = 16
            for place in 0..<UInt64(Self.pages) {
                switch random(5) {
                case 0: continue
                case 1, 2: page = page < 95 ? page + 1 : 16
                case 3: break
                default: page = 16 + random(80)
                }
                store(page << 12 | (random(3) == 0 ? 5 : 7), at: 0x4000 + place * 8)
            }
            for address in stride(from: UInt64(0x1_0000), to: 0x6_0000, by: 8) where random(3) != 0 {
                store(random(2) | random(2) << 8 | random(2) << 17 | random(2) << 33, at: address)
            }
            let view = try MappedMemory(slots: ram.slots, backings: ram.readOnlyBackings())
            memory = mapped ? .mapped(view) : .other(view)
            subject = Subject(
                name: "random", layout: nil, slots: ram.slots, memory: .live(memory), format: .x86FourLevel(),
                root: GPA(Self.root))
        }

        /// What is seen at each virtual address, page by page through the tables.
        func bytes() -> [UInt8?] {
            (0..<UInt64(Self.pages)).flatMap { page -> [UInt8?] in
                guard let gpa = subject.translate(GVA(Self.firstVA + page * 4096)).mapping?.gpa,
                    let bytes = memory.bytes(at: gpa, count: 4096)
                else { return Array(repeating: nil, count: 4096) }
                return bytes
            }
        }

        /// Every virtual address that the pattern is seen at.
        static func oracle(_ pattern: SearchPattern, in bytes: [UInt8?]) -> Set<UInt64> {
            var found: Set<UInt64> = []
            for start in 0...bytes.count - pattern.values.count where bytes[start] != nil {
                let matches = pattern.values.indices.allSatisfy { place in
                    bytes[start + place].map { $0 & pattern.masks[place] == pattern.values[place] } ?? false
                }
                if matches { found.insert(firstVA + UInt64(start)) }
            }
            return found
        }
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64], [true, false]) func everyVirtualAddressIsCounted(
        seed: UInt64, mapped: Bool
    ) throws {
        let machine = try Machine(seed: seed, mapped: mapped)
        let bytes = machine.bytes()
        for text in ["bytes:0101", "bytes:01000200", "bytes:0000000000000000000001", "bytes:02"] {
            let pattern = try SearchPattern(parsing: text)
            let expected = Machine.oracle(pattern, in: bytes)
            #expect(!expected.isEmpty)
            let result = searchMemory(of: machine.subject, for: pattern, limit: .max, memory: machine.memory)
            #expect(result.matches.reduce(0) { $0 + $1.count } == UInt64(expected.count), "\(text)")
            #expect(result.count == UInt64(result.matches.count))
            for match in result.matches {
                #expect(expected.contains(match.va.rawValue))
                #expect(machine.subject.translate(match.va).mapping?.gpa == match.gpa)
            }
            #expect(Set(result.matches.map(\.va)).count == result.matches.count)
        }
    }

    @Test func onlyWhatWasAskedFor() throws {
        let machine = try Machine(seed: 9, mapped: true)
        let pattern = try SearchPattern(parsing: "bytes:01")
        let all = searchMemory(of: machine.subject, for: pattern, limit: 5, memory: machine.memory)
        #expect(all.matches.count == 5 && all.count > 5)
        let few = searchMemory(
            of: machine.subject, for: pattern, filter: try RangeFilter(parsing: "not writable"), limit: .max,
            memory: machine.memory)
        #expect(few.count > 0 && few.count < all.count)
        #expect(few.matches.allSatisfy { !$0.flags.contains(.writable) })
        let aligned = searchMemory(of: machine.subject, for: pattern, alignment: 8, limit: .max, memory: machine.memory)
        #expect(aligned.count > 0 && aligned.matches.allSatisfy { $0.gpa.isAligned(to: 8) })
        let range = GVA(Machine.firstVA)...GVA(Machine.firstVA + 0x7fff)
        let near = searchMemory(of: machine.subject, for: pattern, in: range, limit: .max, memory: machine.memory)
        #expect(near.matches.allSatisfy { range.contains($0.va) })
    }
}

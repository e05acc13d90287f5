// A program's file, right and wrong: what the kernel's loader accepts and with which words it refuses the rest.

import TestSupport
import Testing

@testable import Processes

/// A static-PIE file made by hand: headers, code, a relocated word and the tables that say so.
///
///     0x000  ELF header, 3 program headers      0x1000  code (RX)
///     0x2000 a word to relocate, the dynamic table at 0x2010, the relocation at 0x2060 (RW, 64 KiB of zeros behind)
struct TestProgram {
    var bytes: [UInt8]

    init() {
        bytes = [UInt8](repeating: 0, count: 0x2080)
        set(0, UInt32(0x464c_457f))
        set(4, [2, 1, 1] as [UInt8])
        set(16, UInt16(3))
        set(18, UInt16(62))
        set(24, UInt64(0x1000))
        set(32, UInt64(64))
        set(54, UInt16(56))
        set(56, UInt16(3))
        header(0, type: 1, flags: 5, offset: 0x1000, address: 0x1000, fileSize: 16, memorySize: 16)
        header(1, type: 1, flags: 6, offset: 0x2000, address: 0x2000, fileSize: 0x80, memorySize: 0x10000)
        header(2, type: 2, flags: 6, offset: 0x2010, address: 0x2010, fileSize: 0x50, memorySize: 0x50)
        set(0x2010, [7, 0x2060, 8, 24, 9, 24, 0, 0] as [UInt64])
        set(0x2060, [0x2000, 8, 0x1234] as [UInt64])
    }

    mutating func header(
        _ index: Int, type: UInt32, flags: UInt32, offset: UInt64, address: UInt64, fileSize: UInt64, memorySize: UInt64
    ) {
        let at = 64 + index * 56
        set(at, type)
        set(at + 4, flags)
        set(at + 8, [offset, address, address, fileSize, memorySize, 4096])
    }

    mutating func set<T: FixedWidthInteger>(_ at: Int, _ value: T) { set(at, [value]) }

    mutating func set<T: FixedWidthInteger>(_ at: Int, _ values: [T]) {
        let little = values.flatMap { value in withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        bytes.replaceSubrange(at..<at + little.count, with: little)
    }

    /// What the loader finds, relocations included, or the error's name and number as text.
    func check(_ convention: ProgramImage.Convention = .own) -> String {
        bytes.withUnsafeBytes { file in
            do {
                let image = try ProgramImage(file, convention)
                var found = "entry \(image.entry) end \(image.end)"
                if image.isFixed { found += " fixed" }
                if let headers = image.headersInMemory { found += " headers \(headers.address) \(headers.count)" }
                try image.forEachRelocation { (address, value) throws(ProgramError) in
                    found += " relocation \(address) \(value)"
                }
                return found
            } catch {
                return "\(error)"
            }
        }
    }
}

@Suite struct ProgramImageTests {
    @Test func aGoodProgram() {
        #expect(TestProgram().check() == "entry 4096 end 73728 relocation 8192 4660")
    }

    /// Linux's programs: at fixed addresses too, with thread-local storage, relocated by themselves.
    @Test func aProgramOfLinux() {
        #expect(TestProgram().check(.standalone) == "entry 4096 end 73728")
        var program = TestProgram()
        program.set(16, UInt16(2))
        program.set(64 + 112, UInt32(7))
        #expect(program.check(.standalone) == "entry 4096 end 73728 fixed")
        // The first segment from the file's beginning on: the headers are in memory.
        program.header(0, type: 1, flags: 5, offset: 0, address: 0x10000, fileSize: 0x1010, memorySize: 0x1010)
        program.set(24, UInt64(0x11000))
        program.set(64 + 56 + 16, UInt64(0x20000))
        #expect(program.check(.standalone) == "entry 69632 end 196608 fixed headers 65600 3")
        program.set(64 + 112, UInt32(3))
        #expect(program.check(.standalone) == "dynamicallyLinked")
        program.set(16, UInt16(1))
        #expect(program.check(.standalone) == "notPositionIndependent(1)")
    }

    struct Bad: CustomTestStringConvertible, Sendable {
        let name: String
        let error: String
        let change: @Sendable (inout TestProgram) -> Void
        var testDescription: String { name }

        init(_ name: String, _ error: String, _ change: @escaping @Sendable (inout TestProgram) -> Void) {
            self.name = name
            self.error = error
            self.change = change
        }

        static let all = [
            Bad("empty", "notELF") { $0.bytes = [] },
            Bad("text", "notELF") { $0.set(0, Array("#!/b".utf8)) },
            Bad("header cut", "truncated(63)") { $0.bytes.removeLast($0.bytes.count - 63) },
            Bad("32-bit", "not64Bit") { $0.set(4, UInt8(1)) },
            Bad("big-endian", "notLittleEndian") { $0.set(5, UInt8(2)) },
            Bad("AArch64", "wrongMachine(183)") { $0.set(18, UInt16(183)) },
            Bad("ET_EXEC", "notPositionIndependent(2)") { $0.set(16, UInt16(2)) },
            Bad("header size", "programHeaderSize(0)") { $0.set(54, UInt16(0)) },
            Bad("headers beyond", "programHeadersOutsideFile") { $0.set(32, UInt64(0x2000)) },
            Bad("headers overflow", "programHeadersOutsideFile") { $0.set(32, UInt64.max - 100) },
            Bad("no headers", "noSegments") { $0.set(56, UInt16(0)) },
            Bad("interpreter", "dynamicallyLinked") { $0.set(64 + 112, UInt32(3)) },
            Bad("shared library", "dynamicallyLinked") { $0.set(0x2010, UInt64(1)) },
            Bad("TLS", "threadLocalStorage") { $0.set(64 + 112, UInt32(7)) },
            Bad("segment beyond the file", "segmentOutsideFile(4096)") {
                $0.set(64 + 32, [0x2000, 0x2000] as [UInt64])
            },
            Bad("offset overflows", "segmentOutsideFile(4096)") { $0.set(64 + 8, UInt64.max - 4095) },
            Bad("file larger than memory", "segmentFileLargerThanMemory(4096)") { $0.set(64 + 40, UInt64(8)) },
            Bad("address overflows", "segmentOverflows(18446744073709547520)") {
                $0.set(64 + 16, UInt64.max - 4095)
                $0.set(64 + 40, UInt64(8192))
            },
            Bad("misaligned", "segmentMisaligned(4104)") { $0.set(64 + 16, UInt64(4104)) },
            Bad("overlap", "segmentsOverlap(8192)") { $0.set(64 + 40, UInt64(0x1001)) },
            Bad("larger than 8 GiB", "tooLarge(8589938688)") { $0.set(120 + 40, UInt64(0x1_ffff_f000)) },
            Bad("entry in data", "entryOutsideCode(8192)") { $0.set(24, UInt64(0x2000)) },
            Bad("entry nowhere", "entryOutsideCode(4112)") { $0.set(24, UInt64(0x1010)) },
            Bad("dynamic table beyond", "dynamicTable") { $0.set(176 + 8, UInt64(0x2078)) },
            Bad("dynamic table without end", "dynamicTable") { $0.set(176 + 32, UInt64(0x30)) },
            Bad("relocations beyond", "relocationTable(8288)") { $0.set(0x2028, UInt64(48)) },
            Bad("relocations nowhere", "relocationTable(1048576)") { $0.set(0x2018, UInt64(1 << 20)) },
            Bad("REL", "relocationFormat(18)") { $0.set(0x2010, [18, 24] as [UInt64]) },
            Bad("JUMP_SLOT", "relocationType(7)") { $0.set(0x2068, UInt64(7)) },
            Bad("IRELATIVE", "relocationType(37)") { $0.set(0x2068, UInt64(37)) },
            Bad("relocation with a symbol", "relocationType(8)") { $0.set(0x2068, UInt64(1 << 32 | 8)) },
            Bad("relocated code", "relocationTarget(4096)") { $0.set(0x2060, UInt64(0x1000)) },
            Bad("relocation across the end", "relocationTarget(73721)") { $0.set(0x2060, UInt64(0x11ff9)) },
            Bad("relocation at the end of all", "relocationTarget(18446744073709551615)") {
                $0.set(0x2060, UInt64.max)
            },
        ]
    }

    @Test(arguments: Bad.all) func isRefused(bad: Bad) {
        var program = TestProgram()
        bad.change(&program)
        #expect(program.check() == bad.error)
    }

    /// Bytes changed at random, most of them in the headers and tables: anything but a trap.
    @Test func anyBytes() {
        var generator = Random(seed: 1)
        var accepted = 0
        for _ in 0..<20_000 {
            var program = TestProgram()
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = [0..<232, 0x2010..<0x2078, 0..<0x2080].randomElement(using: &generator) ?? 0..<1
                let at = Int.random(in: place, using: &generator)
                program.bytes[at] = [0, 255, UInt8.random(in: 0...255)].randomElement(using: &generator) ?? 0
            }
            if Int.random(in: 0..<20, using: &generator) == 0 {
                program.bytes.removeLast(Int.random(in: 0...program.bytes.count, using: &generator))
            }
            if program.check().hasPrefix("entry") { accepted += 1 }
            _ = program.check(.standalone)
        }
        #expect(accepted < 20_000)
    }
}

// Kernels made in memory: right ones, and wrong ones of every kind.

import Foundation
import Layouts
import TestSupport
import Testing

/// A file that goes away with its owner.
final class TemporaryFile {
    private let folder: TemporaryFolder
    let path: String

    init(_ bytes: [UInt8], name: String = "kernel") throws {
        folder = try TemporaryFolder()
        path = try folder.file(name, Data(bytes)).path
    }
}

/// An ELF file under construction. The default is a good kernel: code at 2 MiB, the boot tables behind it.
///
///     0x200000 code | 0x201000 PML4 | 0x202000 PDPT | 0x203000 PD: the first GiB 1:1 | 0x204000 data (zeros)
struct TestKernel {
    static let base: UInt64 = 0x20_0000
    static let pml4: UInt64 = 0x20_1000
    static let data: UInt64 = 0x20_4000

    struct Segment {
        var type: UInt32 = 1
        var bytes: [UInt8] = []
        var address: UInt64 = 0
        /// nil: as many as `bytes`.
        var fileSize: UInt64?
        var memorySize: UInt64?
        var fileOffset: UInt64?
    }

    var segments: [Segment]
    var machine: UInt16 = 62
    var elfClass: UInt8 = 2
    var type: UInt16 = 2
    var headerSize: UInt16 = 56
    /// nil: as many as there are segments.
    var headerCount: UInt16?

    init(_ code: [UInt8]) {
        var bytes = [UInt8](repeating: 0, count: 0x4000)
        bytes.replaceSubrange(0..<code.count, with: code)
        func put(_ value: UInt64, at address: UInt64) {
            let offset = Int(address - TestKernel.base)
            withUnsafeBytes(of: value) { bytes.replaceSubrange(offset..<offset + 8, with: $0) }
        }
        put(0x20_2067, at: TestKernel.pml4)
        put(0x20_3067, at: 0x20_2000)
        for index in 0..<512 as Range<UInt64> { put(index << 21 | 0xe7, at: 0x20_3000 + index * 8) }
        segments = [
            Segment(bytes: bytes, address: TestKernel.base, memorySize: 0x8000),
            TestKernel.vitrineNote(entry: TestKernel.base, pml4: TestKernel.pml4),
        ]
    }

    static func note(owner: String, type: UInt32, _ words: [UInt64]) -> Segment {
        let name = Array(owner.utf8) + [0]
        var bytes: [UInt8] = []
        func append(_ value: UInt32) { withUnsafeBytes(of: value) { bytes += $0 } }
        append(UInt32(name.count))
        append(UInt32(words.count * 8))
        append(type)
        bytes += name + [UInt8](repeating: 0, count: (4 - name.count % 4) % 4)
        for word in words { withUnsafeBytes(of: word) { bytes += $0 } }
        return Segment(type: 4, bytes: bytes)
    }

    static func vitrineNote(entry: UInt64, pml4: UInt64) -> Segment { note(owner: "Vitrine", type: 1, [entry, pml4]) }

    /// The whole file.
    var bytes: [UInt8] {
        var file: [UInt8] = []
        func append(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value) { file += $0 } }
        file += [0x7f, 0x45, 0x4c, 0x46, elfClass, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        append(type)
        append(machine)
        append(UInt32(1))
        append(UInt64(TestKernel.base))
        append(UInt64(64))
        append(UInt64(0))
        append(UInt32(0))
        append(UInt16(64))
        append(headerSize)
        append(headerCount ?? UInt16(segments.count))
        append(UInt16(0))
        append(UInt16(0))
        append(UInt16(0))
        var offset = UInt64(64 + segments.count * 56)
        for segment in segments {
            append(segment.type)
            append(UInt32(7))
            append(segment.fileOffset ?? offset)
            append(segment.address)
            append(segment.address)
            append(segment.fileSize ?? UInt64(segment.bytes.count))
            append(segment.memorySize ?? UInt64(segment.bytes.count))
            append(UInt64(4))
            offset += UInt64(segment.bytes.count)
        }
        for segment in segments { file += segment.bytes }
        return file
    }

    func file() throws -> TemporaryFile { try TemporaryFile(bytes) }
}

/// Machine code, a call an instruction.
struct Code {
    private(set) var bytes: [UInt8] = []

    init(_ build: (inout Code) -> Void) { build(&self) }

    mutating func raw(_ more: UInt8...) { bytes += more }
    private mutating func number32(_ value: UInt32) { withUnsafeBytes(of: value) { bytes += $0 } }
    private mutating func port(_ port: UInt16) { bytes += [0x66, 0xba, UInt8(port & 0xff), UInt8(port >> 8)] }

    /// Writes 8, 16 or 32 bits to a port. Changes EAX, DX.
    mutating func out8(_ number: UInt16, _ value: UInt8) {
        port(number)
        bytes += [0xb0, value, 0xee]
    }
    mutating func out16(_ number: UInt16, _ value: UInt16) {
        port(number)
        bytes += [0x66, 0xb8, UInt8(value & 0xff), UInt8(value >> 8), 0x66, 0xef]
    }
    mutating func out32(_ number: UInt16, _ value: UInt32) {
        port(number)
        bytes += [0xb8]
        number32(value)
        bytes += [0xef]
    }
    /// Writes EAX to a port.
    mutating func outEAX(_ number: UInt16) {
        port(number)
        bytes += [0xef]
    }
    /// Reads 8 or 32 bits into EAX.
    mutating func in8(_ number: UInt16) {
        bytes += [0x31, 0xc0]
        port(number)
        bytes += [0xec]
    }
    mutating func in32(_ number: UInt16) {
        port(number)
        bytes += [0xed]
    }
    /// Stores EAX at an address below 2 GiB.
    mutating func storeEAX(_ address: UInt32) {
        bytes += [0x89, 0x04, 0x25]
        number32(address)
    }
    /// Loads EAX from an address below 2 GiB.
    mutating func loadEAX(_ address: UInt32) {
        bytes += [0x8b, 0x04, 0x25]
        number32(address)
    }
    mutating func movECX(_ value: UInt32) {
        bytes += [0xb9]
        number32(value)
    }
    /// Prints to COM1.
    mutating func print(_ text: String) {
        for byte in text.utf8 { out8(Contract.consolePort, byte) }
    }
    mutating func stage(_ letter: Character) { out8(Contract.stagePort, letter.asciiValue ?? 0) }
    mutating func powerOff() { out16(Contract.powerPort, 0x2000) }
    mutating func loop() { bytes += [0xeb, 0xfe] }
    mutating func haltForever() { bytes += [0xfa, 0xf4] }
}

// Guest memory made of an input: a few pages, and records that say which word of them has which value.

import Addresses
import GuestMemory
import PageTables

/// The bytes of an input, taken from the front.
struct FuzzInput {
    private var rest: UnsafeRawBufferPointer.SubSequence

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes[...] }

    var isEmpty: Bool { rest.isEmpty }

    /// The next bytes as a number; 0 where there are none.
    mutating func next<Number: FixedWidthInteger>(_: Number.Type) -> Number {
        var value: Number = 0
        for place in 0..<MemoryLayout<Number>.size {
            guard let byte = rest.popFirst() else { break }
            value |= Number(truncatingIfNeeded: byte) << Number(truncatingIfNeeded: 8 * place)
        }
        return value
    }
}

/// Sixteen pages of RAM from address 0 on. `bytes` is one piece that all inputs share.
final class FuzzMemory: PhysicalMemory {
    static let pageCount: UInt64 = 16
    nonisolated(unsafe) static let bytes: UnsafeMutableRawBufferPointer = {
        .allocate(byteCount: Int(pageCount) * 4096, alignment: 4096)
    }()
    /// Runs at every page read.
    var onRead: (() -> Void)?
    private(set) var reads = 0

    /// Memory with what the records of an input say. Most changes of a record make another table that makes sense:
    ///
    ///     [0...127: which page][2: which entry][1: target][1: which kind of entry][1: how many]   entries in a row
    ///     [128...255][2: which 8-byte word][8: its value]                                         any value
    init(_ input: inout FuzzInput, format: PageTableFormat, entries: [FuzzEntry]) {
        FuzzMemory.bytes.initializeMemory(as: UInt8.self, repeating: 0)
        while !input.isEmpty {
            let page = input.next(UInt8.self)
            if page < 128 {
                FuzzMemory.fill(UInt64(page) % FuzzMemory.pageCount, &input, format, entries)
            } else {
                let place = input.next(UInt16.self)
                FuzzMemory.set(place, input.next(UInt64.self))
            }
        }
    }

    /// Entries in a row: the targets follow each other, or are the same (top bit of how many).
    private static func fill(
        _ page: UInt64, _ input: inout FuzzInput, _ format: PageTableFormat, _ entries: [FuzzEntry]
    ) {
        let size = UInt64(format.entrySize)
        let index = UInt64(input.next(UInt16.self))
        let target = UInt64(input.next(UInt8.self))
        let kind = input.next(UInt8.self)
        let count = UInt64(input.next(UInt8.self))
        let entry = entries[Int(kind & 15) % entries.count]
        for step in 0...(count & 0x3f) {
            let number = count & 0x80 == 0 ? target + step : target
            // 17 pages: one of them is not there.
            var value = entry.bits | (entry.shift <= 12 ? number % 17 << 12 : number << entry.shift)
            if kind & 0x10 != 0 { value ^= 0x60 }
            if kind & 0x20 != 0 { value ^= 2 }
            if kind & 0x40 != 0 { value ^= 1 << 51 }
            if kind & 0x80 != 0 { value ^= 1 << 63 }
            let offset = Int(page * 4096 + (index + step) * size % 4096)
            if size == 8 {
                bytes.storeBytes(of: value, toByteOffset: offset, as: UInt64.self)
            } else {
                bytes.storeBytes(of: UInt32(truncatingIfNeeded: value), toByteOffset: offset, as: UInt32.self)
            }
        }
    }

    /// A value whose address bits are made small, unless the place's top bit asks for them as they are.
    static func folded(_ value: UInt64, _ place: UInt16, _ format: PageTableFormat) -> UInt64 {
        guard place & 0x8000 == 0 else { return value }
        // 17 pages: one of them is not there.
        if format.entrySize == 8 { return value & 0xfff0_0000_0000_0fff | (value >> 12 & 0xff) % 17 << 12 }
        func half(_ entry: UInt64) -> UInt64 { entry & 0xfff | (entry >> 12 & 0xff) % 17 << 12 }
        return half(value) | half(value >> 32) << 32
    }

    static func set(_ place: UInt16, _ value: UInt64) {
        bytes.storeBytes(of: value, toByteOffset: Int(UInt64(place) % (pageCount * 512)) * 8, as: UInt64.self)
    }

    func page(at address: GPA) -> UnsafeRawPointer? {
        let start = address.rawValue & ~4095
        guard start < UInt64(FuzzMemory.bytes.count) else { return nil }
        reads += 1
        onRead?()
        return UnsafeRawPointer(FuzzMemory.bytes.baseAddress.map { $0 + Int(start) })
    }

    /// Every format there is, with different widths and abilities, and what its entries look like.
    static let formats: [(format: PageTableFormat, entries: [FuzzEntry])] = {
        var ept = EPTState(pointer: 3 << 3 | 1 << 6)
        ept.maxPhysicalAddressBits = 36
        var mode = EPTState(pointer: 4 << 3)
        mode.modeBasedExecute = true
        mode.executeOnly = false
        mode.gibibytePages = false
        let x86: [PageTableFormat] = [
            .x86PAE(maxPhysicalAddressBits: 36), .x86FourLevel(maxPhysicalAddressBits: 36),
            .x86FiveLevel(gibibytePages: false), .nested(.x86FourLevel(maxPhysicalAddressBits: 40)), .nested(.x86PAE()),
        ]
        let short: [PageTableFormat] = [
            .x86ThirtyTwoBit(), .x86ThirtyTwoBit(largePages: false), .nested(.x86ThirtyTwoBit()),
        ]
        let arm: [PageTableFormat] = [
            .armShort(domainAccess: 0x4567_89ab),
            .armShort(split: 3, accessFlag: true, privilegedExecuteNever: false),
        ]
        return x86.map { ($0, FuzzEntry.x86) } + short.map { ($0, FuzzEntry.short) } + arm.map { ($0, FuzzEntry.arm) }
            + [ept.format, mode.format].compactMap { $0 }.map { ($0, FuzzEntry.ept) }
    }()
}

/// A kind of entry.
struct FuzzEntry {
    /// All but the address.
    let bits: UInt64
    /// Where the address begins; up to 12 it is that of a page of the memory.
    let shift: UInt64

    init(_ bits: UInt64, _ shift: UInt64 = 12) {
        self.bits = bits
        self.shift = shift
    }

    /// Tables, then leaves of 2 MiB and 1 GiB, global, with PAT, absent with bits that count elsewhere.
    static let x86 = [
        FuzzEntry(0x67), FuzzEntry(0x63), FuzzEntry(0x65), FuzzEntry(0x61), FuzzEntry(0x67), FuzzEntry(0x7),
        FuzzEntry(0x167), FuzzEntry(0x8000_0000_0000_0067), FuzzEntry(0xe7, 21), FuzzEntry(0xe5, 21),
        FuzzEntry(0x1e3, 21), FuzzEntry(0x10e7, 21), FuzzEntry(0xe7, 30), FuzzEntry(0xe7), FuzzEntry(0x166),
        FuzzEntry(0),
    ]
    /// The same with entries of 4 bytes: leaves of 4 MiB, those with address bits of PSE-36.
    static let short = [
        FuzzEntry(0x67), FuzzEntry(0x63), FuzzEntry(0x65), FuzzEntry(0x61), FuzzEntry(0x167), FuzzEntry(0x7),
        FuzzEntry(0xe7, 22), FuzzEntry(0xe5, 22), FuzzEntry(0x1e3, 22), FuzzEntry(0x20e7, 22), FuzzEntry(0x166),
        FuzzEntry(0),
    ]
    /// Readable, writable and executable in all ways, leaves with memory types.
    static let ept = [
        FuzzEntry(0x7), FuzzEntry(0x1), FuzzEntry(0x3), FuzzEntry(0x5), FuzzEntry(0x37), FuzzEntry(0x137),
        FuzzEntry(0x407),
        FuzzEntry(0x2), FuzzEntry(0xb7, 21), FuzzEntry(0x81, 21), FuzzEntry(0x4b7, 21), FuzzEntry(0xb7, 30),
        FuzzEntry(0x4),
        FuzzEntry(0x107), FuzzEntry(0x0),
    ]
    /// Tables, sections, supersections; small and large pages (which are 16 entries that are the same).
    static let arm = [
        FuzzEntry(0x1), FuzzEntry(0x21), FuzzEntry(0xc02, 20), FuzzEntry(0x8c12, 20), FuzzEntry(0x40c02, 24),
        FuzzEntry(0x401), FuzzEntry(0x32), FuzzEntry(0x33), FuzzEntry(0x232), FuzzEntry(0x31, 16),
        FuzzEntry(0x8031, 16),
        FuzzEntry(0),
    ]
}

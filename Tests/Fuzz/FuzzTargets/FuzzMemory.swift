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

    /// Memory with what the records of an input say: [2: which 8-byte word][8: its value].
    ///
    /// - Parameter format: so that most entries refer to tables that are there.
    init(_ input: inout FuzzInput, format: PageTableFormat) {
        FuzzMemory.bytes.initializeMemory(as: UInt8.self, repeating: 0)
        while !input.isEmpty {
            let place = input.next(UInt16.self)
            FuzzMemory.set(place, FuzzMemory.folded(input.next(UInt64.self), place, format))
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

    /// Every format there is, with different widths and abilities.
    static let formats: [PageTableFormat] = {
        var ept = EPTState(pointer: 3 << 3 | 1 << 6)
        ept.maxPhysicalAddressBits = 36
        var mode = EPTState(pointer: 4 << 3)
        mode.modeBasedExecute = true
        mode.executeOnly = false
        mode.gibibytePages = false
        return [
            .x86ThirtyTwoBit(), .x86ThirtyTwoBit(largePages: false), .x86PAE(maxPhysicalAddressBits: 36),
            .x86FourLevel(maxPhysicalAddressBits: 36), .x86FiveLevel(gibibytePages: false),
            .nested(.x86FourLevel(maxPhysicalAddressBits: 40)), .nested(.x86PAE()), .nested(.x86ThirtyTwoBit()),
            .armShort(domainAccess: 0x4567_89ab), .armShort(split: 3, accessFlag: true, privilegedExecuteNever: false),
        ] + [ept.format, mode.format].compactMap { $0 }
    }()
}

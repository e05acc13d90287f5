// Page tables as the guest kernel of the osv layout makes them, in memory of the test's own, to be looked at and broken.

import Addresses
import GuestMemory
import Inspection
import Layouts
import PageTables

/// RAM of which only touched pages exist.
final class SparseMemory: PhysicalMemory, @unchecked Sendable {
    private var pages: [UInt64: UnsafeMutableRawPointer] = [:]
    let ranges: [Range<UInt64>]

    init(ranges: [Range<UInt64>]) { self.ranges = ranges }

    deinit { for page in pages.values { page.deallocate() } }

    private func storage(_ address: UInt64) -> UnsafeMutableRawPointer? {
        let page = address & ~4095
        if let known = pages[page] { return known }
        guard ranges.contains(where: { $0.contains(page) }) else { return nil }
        let new = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
        new.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
        pages[page] = new
        return new
    }

    func page(at address: GPA) -> UnsafeRawPointer? { storage(address.rawValue).map { UnsafeRawPointer($0) } }

    subscript(address: UInt64) -> UInt64 {
        get { storage(address)?.load(fromByteOffset: Int(address & 4095), as: UInt64.self) ?? 0 }
        set { storage(address)?.storeBytes(of: newValue, toByteOffset: Int(address & 4095), as: UInt64.self) }
    }
}

/// A guest of the osv layout, ready.
final class OSvImage {
    let memory: SparseMemory
    let slots: SlotTable
    let size: UInt64
    let kernelEnd: UInt64 = 0x48_0000
    private(set) var root: UInt64 = 0
    private var nextTable: UInt64

    /// Stage C of a guest with so much RAM.
    init(size: UInt64 = 256 << 20) throws {
        self.size = size
        let arena = OSv.arenaBase
        let arenaEnd = arena + OSv.arenaSize(memory: size)
        let low = min(size, 3 << 30)
        var slots = [
            MemorySlot(
                id: 0, name: "low", guestPhysicalAddress: GPA(0), size: arena, userspaceAddress: HVA(0x7f12_0000_0000)),
            MemorySlot(
                id: 1, name: "arena", guestPhysicalAddress: GPA(arena), size: arenaEnd - arena,
                userspaceAddress: HVA(0x7f10_8000_0000)),
            MemorySlot(
                id: 2, name: "low2", guestPhysicalAddress: GPA(arenaEnd), size: low - arenaEnd,
                userspaceAddress: HVA(0x7f10_9000_0000)),
        ]
        var ranges = [0..<low]
        if size > low {
            ranges.append((4 << 30)..<(4 << 30) + size - low)
            slots.append(
                MemorySlot(
                    id: 3, name: "high", guestPhysicalAddress: GPA(4 << 30), size: size - low,
                    userspaceAddress: HVA(0x7e00_0000_0000)))
        }
        self.slots = try SlotTable(slots)
        memory = SparseMemory(ranges: ranges)
        nextTable = arena
        buildStageC()
    }

    func table() -> UInt64 {
        defer { nextTable += 4096 }
        return nextTable
    }

    func entryAddress(_ va: UInt64, level: Int) -> UInt64? {
        var table = root
        for current in stride(from: 4, to: level, by: -1) {
            let entry = memory[table + (va >> UInt64(3 + 9 * current) & 511) * 8]
            guard entry & 1 == 1 else { return nil }
            table = entry & X86Bit.address
        }
        return table + (va >> UInt64(3 + 9 * level) & 511) * 8
    }

    func map(_ va: UInt64, level: Int, leaf: UInt64) {
        var table = root
        for current in stride(from: 4, to: level, by: -1) {
            let at = table + (va >> UInt64(3 + 9 * current) & 511) * 8
            if memory[at] & 1 == 0 { memory[at] = self.table() | OSv.tableBits }
            table = memory[at] & X86Bit.address
        }
        memory[table + (va >> UInt64(3 + 9 * level) & 511) * 8] = leaf
    }

    func map2M(_ va: UInt64, _ pa: UInt64) { map(va, level: 2, leaf: pa | OSv.leafBits2M) }
    func map4K(_ va: UInt64, _ pa: UInt64, bits: UInt64 = OSv.leafBits4K) { map(va, level: 1, leaf: pa | bits) }

    private func buildStageC() {
        root = table()
        for area in [OSv.Area.main, .page, .mempool] {
            for page in 0..<512 as Range<UInt64> where area != .main || page > 0 {
                map2M(area.base + page << 21, page << 21)
            }
            for range in memory.ranges {
                var at = max(range.lowerBound, 1 << 30)
                while at < range.upperBound {
                    map2M(area.base + at, at)
                    at += 2 << 20
                }
            }
        }
        for page in 0..<512 as Range<UInt64> { map4K(OSv.Area.main.base + page << 12, page << 12) }
        for device in [0xfec0_0000, 0xfee0_0000] as [UInt64] { map4K(OSv.Area.main.base + device, device) }
        var at = OSv.kernelBase
        while at < kernelEnd {
            map2M(at, at)
            at += 2 << 20
        }
    }

    /// Stage A, or B: a root of its own, one table of 512 large pages.
    func stage(_ name: String) -> Subject {
        let tables = SparseMemory(ranges: [0..<1 << 20])
        tables[0x1000] = 0x2067
        tables[0x2000] = 0x3067
        for page in 0..<512 as Range<UInt64> { tables[0x3000 + page * 8] = page << 21 | OSv.leafBits2M }
        if name == "B" { for index in [256, 288, 320] as [UInt64] { tables[0x1000 + index * 8] = 0x2067 } }
        return Subject(
            name: "a", layout: .osv, slots: slots, memory: .other(tables),
            format: .x86FourLevel(maxPhysicalAddressBits: 40),
            root: GPA(0x1000), moment: "stage \(name)")
    }

    var subject: Subject {
        Subject(
            name: "a", layout: .osv, slots: slots, memory: .other(memory),
            format: .x86FourLevel(maxPhysicalAddressBits: 40),
            root: GPA(root))
    }
}

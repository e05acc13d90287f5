// Guest memory made of an array, and a builder of x86 tables in it.

import Addresses
import GuestMemory
import PageTables

/// RAM from 0 to `size`, all zero at first.
final class TestMemory: PhysicalMemory {
    let bytes: UnsafeMutableRawBufferPointer
    /// How often a page was asked for.
    private(set) var pageReads = 0
    /// Runs at every page read, with the page's address: a guest that changes its tables meanwhile.
    var onRead: ((GPA) -> Void)?
    private var nextTable: UInt64 = 0x1000

    init(size: Int = 1 << 20) {
        bytes = .allocate(byteCount: size, alignment: 4096)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { bytes.deallocate() }

    func page(at address: GPA) -> UnsafeRawPointer? {
        let start = address.rawValue & ~4095
        guard start < UInt64(bytes.count) else { return nil }
        pageReads += 1
        onRead?(GPA(start))
        return UnsafeRawPointer(bytes.baseAddress.map { $0 + Int(start) })
    }

    subscript(address: UInt64) -> UInt64 {
        get { bytes.load(fromByteOffset: Int(address), as: UInt64.self) }
        set { bytes.storeBytes(of: newValue, toByteOffset: Int(address), as: UInt64.self) }
    }

    subscript(word address: UInt64) -> UInt32 {
        get { bytes.load(fromByteOffset: Int(address), as: UInt32.self) }
        set { bytes.storeBytes(of: newValue, toByteOffset: Int(address), as: UInt32.self) }
    }

    /// A fresh, empty table.
    func table() -> UInt64 {
        defer { nextTable += 4096 }
        return nextTable
    }

    /// Maps a page of `level` (1: 4 KiB, 2: 2 MiB, 3: 1 GiB) with the leaf as given, making the tables above it.
    func map(_ va: UInt64, root: UInt64, level: Int = 1, leaf: UInt64, levels: Int = 4, tableBits: UInt64 = 0x67) {
        var table = root
        var current = levels
        while current > level {
            let at = entryAddress(va, table: table, level: current)
            if self[at] & 1 == 0 { self[at] = self.table() | tableBits }
            table = self[at] & X86Bit.address
            current -= 1
        }
        self[entryAddress(va, table: table, level: level)] = leaf
    }

    func entryAddress(_ va: UInt64, table: UInt64, level: Int) -> UInt64 {
        table + (va >> UInt64(12 + 9 * (level - 1)) & 511) * 8
    }
}

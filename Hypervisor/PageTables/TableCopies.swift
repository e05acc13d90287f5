// Copies of pages that hold tables, and the view of what has been read since.

import Addresses
import GuestMemory

/// Copies of pages, by address.
final class TableCopies: PhysicalMemory {
    private var pages: [UInt64: UnsafeMutableRawPointer] = [:]

    var count: Int { pages.count }

    deinit {
        for (_, page) in pages { page.deallocate() }
    }

    func page(at address: GPA) -> UnsafeRawPointer? {
        pages[address.rawValue & ~4095].map { UnsafeRawPointer($0) }
    }

    /// Keeps a copy of what `bytes` points to.
    func set(_ page: UInt64, _ bytes: UnsafeRawPointer) {
        room(for: page).copyMemory(from: bytes, byteCount: 4096)
    }

    /// Copies a page; false if it is not RAM.
    func copy(_ page: UInt64, from memory: some PhysicalMemory) -> Bool {
        let place = room(for: page)
        guard memory.read(GPA(page), into: UnsafeMutableRawBufferPointer(start: place, count: 4096)) else {
            remove(page)
            return false
        }
        return true
    }

    func remove(_ page: UInt64) {
        pages.removeValue(forKey: page)?.deallocate()
    }

    private func room(for page: UInt64) -> UnsafeMutableRawPointer {
        if let known = pages[page] { return known }
        let new = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
        pages[page] = new
        return new
    }
}

/// Tables as they are now: what was read again, else the copies, else what is read when it is first asked for.
final class NewTables: PhysicalMemory {
    private let copies: TableCopies
    private let read: (GPA, UnsafeMutableRawBufferPointer) -> Bool
    private let fresh = TableCopies()

    init(_ copies: TableCopies, memory: some PhysicalMemory) {
        self.copies = copies
        read = { memory.read($0, into: $1) }
    }

    /// What was read of a page, if it was.
    func fresh(_ page: UInt64) -> UnsafeRawPointer? { fresh.page(at: GPA(page)) }

    /// Reads a page again.
    ///
    /// - Returns: whether it differs from its copy, in the bits of `mask` of each 8-byte word. One that does not, or cannot
    ///   be read any more, counts as it was.
    func take(_ page: UInt64, comparing mask: UInt64) -> Bool {
        guard let known = copies.page(at: GPA(page)), fresh.copy(page, from: memory),
            let now = fresh.page(at: GPA(page))
        else { return false }
        var offset = 0
        while offset < 4096 {
            let old = known.load(fromByteOffset: offset, as: UInt64.self)
            if (old ^ now.load(fromByteOffset: offset, as: UInt64.self)) & mask != 0 { return true }
            offset += 8
        }
        fresh.remove(page)
        return false
    }

    func page(at address: GPA) -> UnsafeRawPointer? {
        if let page = fresh.page(at: address) ?? copies.page(at: address) { return page }
        let page = address.rawValue & ~4095
        return fresh.copy(page, from: memory) ? fresh.page(at: address) : nil
    }

    /// The memory itself, for the copies.
    private var memory: Reader { Reader(copy: read) }

    private struct Reader: PhysicalMemory {
        let copy: (GPA, UnsafeMutableRawBufferPointer) -> Bool
        func page(at address: GPA) -> UnsafeRawPointer? { nil }
        func read(_ address: GPA, into buffer: UnsafeMutableRawBufferPointer) -> Bool { copy(address, buffer) }
    }
}

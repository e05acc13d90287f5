// The monitor's side of guest memory: a memory file a slot, mapped writable.
//
//     RAM ranges (GPA)        low      arena     low2              high
//     memory files            memfd    memfd     memfd             memfd
//     host addresses (HVA)    map      map       map               map
//
// What nobody touches costs nothing: 6 GiB of RAM run on a machine that has less.

import Addresses
import Glibc
import SystemCalls

/// A range of RAM that becomes a slot.
public struct RAMRange: Hashable, Sendable {
    /// What it is for: `low`, `arena`, `low2`, `high`.
    public let name: String
    /// The first guest physical address.
    public let start: GPA
    /// The size in bytes.
    public let size: UInt64

    /// A range of RAM.
    public init(name: String, start: GPA, size: UInt64) {
        self.name = name
        self.start = start
        self.size = size
    }
}

/// The guest's RAM, mapped writable.
public final class GuestRAM: PhysicalMemory, Sendable {
    /// The slots, with the host addresses of this process.
    public let slots: SlotTable
    /// One region a slot, in the order of `slots.slots`.
    private let regions: RegionList
    let files: [SharedDescriptor]
    /// Where each slot is: the index of its file, and the offset in it.
    let places: [(file: Int, offset: UInt64)]
    private let maps: [SharedMap]

    /// A map with an owner that can be in an array.
    private final class SharedMap: Sendable {
        let map: MemoryMap
        init(_ map: consuming MemoryMap) { self.map = map }
    }

    /// Makes the RAM.
    ///
    /// - Parameters:
    ///   - ranges: the ranges in ascending order; slots are numbered in it.
    ///   - hugePageSize: take huge pages of this size, a power of two. Ranges that are no multiples of it share a file
    ///     and a map with their neighbours.
    public init(_ ranges: [RAMRange], hugePageSize: UInt64? = nil) throws(GuestMemoryError) {
        var files: [SharedDescriptor] = []
        var maps: [SharedMap] = []
        var slots: [MemorySlot] = []
        var places: [(file: Int, offset: UInt64)] = []
        for group in try GuestRAM.grouped(ranges, pageSize: hugePageSize ?? 4096) {
            do {
                let size = group.reduce(0) { $0 + $1.size }
                let name = group.count == 1 ? group[0].name : "ram"
                let file = try FileDescriptor.memoryFile(
                    named: "vitrine-\(name)", size: size,
                    hugePageShift: hugePageSize.map { UInt32($0.trailingZeroBitCount) } ?? 0)
                // KVM maps 2 MiB at once only where guest physical and host virtual addresses agree below that.
                let map = try MemoryMap(
                    file, size: size, alignment: hugePageSize ?? 2 << 20, reserve: hugePageSize != nil)
                // Only a convenience: a dump of the monitor stays small.
                try? map.excludeFromDump()
                var offset: UInt64 = 0
                for range in group {
                    slots.append(
                        MemorySlot(
                            id: UInt32(slots.count), name: range.name, guestPhysicalAddress: range.start,
                            size: range.size,
                            userspaceAddress: HVA(UInt64(UInt(bitPattern: map.address)) + offset)))
                    places.append((files.count, offset))
                    offset += range.size
                }
                maps.append(SharedMap(map))
                files.append(SharedDescriptor(file))
            } catch {
                throw GuestRAM.explain(error, group, hugePageSize)
            }
        }
        do { self.slots = try SlotTable(slots) } catch { throw .slots(error) }
        self.files = files
        self.maps = maps
        self.places = places
        regions = RegionList(
            slots.map { slot in
                let base = UnsafeRawPointer(bitPattern: UInt(slot.userspaceAddress.rawValue))
                return (start: slot.guestPhysicalAddress.rawValue, size: slot.size, base: base)
            })
    }

    /// Ranges that share a file: each its own, or, where a range is no multiple of the page size, those that adjoin.
    private static func grouped(_ ranges: [RAMRange], pageSize: UInt64) throws(GuestMemoryError) -> [[RAMRange]] {
        var groups: [[RAMRange]] = []
        for range in ranges {
            if let last = groups.last, let end = last.last, end.start &+ end.size == range.start,
                last.reduce(0, { $0 &+ $1.size }) & (pageSize - 1) != 0 || range.size & (pageSize - 1) != 0
            {
                groups[groups.count - 1].append(range)
            } else {
                groups.append([range])
            }
        }
        for group in groups {
            let size = group.reduce(0) { $0 &+ $1.size }
            guard let first = group.first, size != 0, size & (pageSize - 1) == 0, first.start.isAligned(to: pageSize)
            else {
                let start = group.first?.start.hex ?? "0x0"
                throw .size("RAM at \(start), \(formatSize(size)): not in multiples of \(formatSize(pageSize))")
            }
        }
        return groups
    }

    private static func explain(_ error: Errno, _ group: [RAMRange], _ hugePageSize: UInt64?) -> GuestMemoryError {
        let size = group.reduce(0) { $0 &+ $1.size }
        guard let hugePageSize else {
            return error.code == ENOMEM
                ? .size("\(formatSize(size)) of RAM have no room in this process's address space (\(error))")
                : .call(error)
        }
        return .size(
            "\(formatSize(size)) of RAM in pages of \(formatSize(hugePageSize)) cannot be had (\(error)): reserve "
                + "\(size / hugePageSize) pages in "
                + "/sys/kernel/mm/hugepages/hugepages-\(hugePageSize >> 10)kB/nr_hugepages, or do without huge pages")
    }

    /// The page that holds `address`, or nil if that is not RAM.
    public func page(at address: GPA) -> UnsafeRawPointer? { regions.page(at: address.rawValue) }

    /// The host memory of `count` bytes from `address` on, or nil unless all of them lie in one slot.
    public func hostMemory(at address: GPA, count: UInt64) -> UnsafeMutableRawBufferPointer? {
        guard let slot = slots.slot(containing: address), let hva = slot.hva(of: address) else { return nil }
        let offset = address &- slot.guestPhysicalAddress
        guard count <= slot.size - offset, let size = Int(exactly: count),
            let pointer = UnsafeMutableRawPointer(bitPattern: UInt(hva.rawValue))
        else { return nil }
        return UnsafeMutableRawBufferPointer(start: pointer, count: size)
    }

    /// The pieces of host memory behind `count` bytes from `address` on, slot by slot; nil if any byte is not RAM.
    public func pieces(at address: GPA, count: UInt64) -> [UnsafeMutableRawBufferPointer]? {
        var pieces: [UnsafeMutableRawBufferPointer] = []
        var current = address
        var rest = count
        while rest > 0 {
            guard let slot = slots.slot(containing: current) else { return nil }
            let size = min(rest, slot.size - (current &- slot.guestPhysicalAddress))
            guard let piece = hostMemory(at: current, count: size) else { return nil }
            pieces.append(piece)
            rest -= size
            if rest > 0 {
                guard let next = current.advanced(by: size) else { return nil }
                current = next
            }
        }
        return pieces
    }

    /// Copies bytes into the guest; false, and nothing written, if any of them would not be in RAM.
    public func write(_ bytes: UnsafeRawBufferPointer, at address: GPA) -> Bool {
        guard let pieces = pieces(at: address, count: UInt64(bytes.count)) else { return false }
        var done = 0
        for piece in pieces {
            piece.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[done..<done + piece.count]))
            done += piece.count
        }
        return true
    }

    /// Copies bytes into the guest; false, and nothing written, if any of them would not be in RAM.
    public func write(_ bytes: [UInt8], at address: GPA) -> Bool {
        bytes.withUnsafeBytes { write($0, at: address) }
    }

    /// Makes all RAM read as zeros and cost nothing, as at the start. The maps stay.
    public func discard() throws(Errno) {
        for (slot, place) in zip(slots.slots, places) {
            try files[place.file].descriptor.punchHole(offset: place.offset, size: slot.size)
        }
    }

    /// The files behind the slots, in the order of `slots.slots`, reopened so that a writable map is refused.
    public func readOnlyBackings() throws(Errno) -> [SlotBacking] {
        var reopened: [SharedDescriptor] = []
        for file in files { reopened.append(SharedDescriptor(try file.descriptor.reopenedReadOnly())) }
        return places.map { SlotBacking(descriptor: reopened[$0.file], offset: $0.offset) }
    }
}

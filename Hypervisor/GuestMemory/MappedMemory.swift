// Guest memory as an inspector maps it: read-only, from descriptors that were handed over.

import Addresses
import SystemCalls

/// Guest memory mapped read-only. What it reads may change at any moment.
public final class MappedMemory: PhysicalMemory, Sendable {
    /// The slots that are mapped; their `userspaceAddress` is that of the process that runs the guest.
    public let slots: SlotTable
    @usableFromInline let regions: RegionList
    private let maps: [SharedMap]
    private let backings: [SlotBacking]

    private final class SharedMap: Sendable {
        let map: MemoryMap
        init(_ map: consuming MemoryMap) { self.map = map }
    }

    /// Maps the files behind the slots. A file that may shrink is refused: reading past its end would be SIGBUS.
    ///
    /// - Parameters:
    ///   - slots: the slot table of the guest.
    ///   - backings: the files, in the order of `slots.slots`.
    public init(slots: SlotTable, backings: [SlotBacking]) throws(GuestMemoryError) {
        guard slots.slots.count == backings.count else {
            throw .backing("\(slots.slots.count) memory slots and \(backings.count) descriptors do not belong together")
        }
        var maps: [SharedMap] = []
        var bases: [UnsafeRawPointer] = []
        for (slot, backing) in zip(slots.slots, backings) {
            do {
                try MappedMemory.check(backing, slot)
                // Files of huge pages are mapped in units of such pages.
                let unit = max(4096, try backing.descriptor.descriptor.blockSize())
                let start = backing.offset / unit * unit
                let map = try MemoryMap(
                    backing.descriptor.descriptor, offset: start, size: backing.offset - start + slot.size,
                    writable: false)
                bases.append(UnsafeRawPointer(map.address) + Int(backing.offset - start))
                maps.append(SharedMap(map))
            } catch let error as GuestMemoryError {
                throw error
            } catch let error as Errno {
                throw .call(error)
            } catch {
                throw .backing("memory slot \(slot.id): \(error)")
            }
        }
        self.slots = slots
        self.maps = maps
        self.backings = backings
        regions = RegionList(
            zip(slots.slots, bases).map { slot, base in
                (start: slot.guestPhysicalAddress.rawValue, size: slot.size, base: base)
            })
    }

    private static func check(_ backing: SlotBacking, _ slot: MemorySlot) throws {
        let file = backing.descriptor
        guard case .regular(let size) = try file.descriptor.kind() else {
            throw GuestMemoryError.backing("the descriptor of memory slot \(slot.id) (\(slot.name)) is no memory file")
        }
        let (end, overflow) = backing.offset.addingReportingOverflow(slot.size)
        guard !overflow, end <= size, backing.offset & 4095 == 0 else {
            throw GuestMemoryError.backing(
                "memory slot \(slot.id) (\(slot.name)) has \(slot.size) bytes at offset \(backing.offset), its file "
                    + "\(size)")
        }
        let sealed = (try? file.descriptor.cannotShrink()) ?? false
        guard sealed else {
            throw GuestMemoryError.backing(
                "the file of memory slot \(slot.id) (\(slot.name)) is not sealed against shrinking")
        }
    }

    /// The 4 KiB of the page that holds `address`, or nil if no slot holds it.
    @inlinable public func page(at address: GPA) -> UnsafeRawPointer? { regions.page(at: address.rawValue) }

    /// `count` bytes from `address` on, or nil if one of them is not RAM.
    public func bytes(at address: GPA, count: Int) -> [UInt8]? {
        guard count >= 0, let size = UInt64(exactly: count), covers(address, size) else { return nil }
        var complete = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            complete = read(address, into: UnsafeMutableRawBufferPointer(buffer))
            initialized = complete ? count : 0
        }
        return complete ? bytes : nil
    }

    /// Hands over what the memory files hold of a physical range, by ascending address, as it is mapped.
    ///
    /// What was never written is left out: it reads as zeros, and reading it through a map would make pages of it.
    public func populated(_ range: ClosedRange<GPA>, _ body: (GPA, UnsafeRawBufferPointer) throws -> Void) rethrows {
        for (slot, backing) in zip(slots.slots, backings) {
            let end = slot.guestPhysicalAddress &+ (slot.size &- 1)
            guard range.lowerBound <= end, slot.guestPhysicalAddress <= range.upperBound,
                let base = regions.page(at: slot.guestPhysicalAddress.rawValue)
            else { continue }
            let first = max(range.lowerBound, slot.guestPhysicalAddress) &- slot.guestPhysicalAddress
            let limit = min(range.upperBound, end) &- slot.guestPhysicalAddress &+ 1
            try backing.forEachPopulated(first, limit) { offset, stop in
                try body(
                    slot.guestPhysicalAddress &+ offset,
                    UnsafeRawBufferPointer(start: base + Int(offset), count: Int(stop &- offset)))
            }
        }
    }

    /// Whether every byte is RAM: asked before memory is taken for the copy.
    private func covers(_ address: GPA, _ count: UInt64) -> Bool {
        var current = address
        var rest = count
        while rest > 0 {
            guard let slot = slots.slot(containing: current) else { return false }
            let here = slot.size - (current &- slot.guestPhysicalAddress)
            if rest <= here { return true }
            rest -= here
            guard let next = current.advanced(by: here) else { return false }
            current = next
        }
        return true
    }
}

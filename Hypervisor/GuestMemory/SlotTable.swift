// Memory slots: the second half of the double mapping.
//
//     GPA  --slot: HVA = userspaceAddress + (GPA - guestPhysicalAddress)-->  HVA
//
// Defines the slot and the table of slots. Does not define where the bytes come from.

import Addresses

/// One memory slot, as KVM_SET_USER_MEMORY_REGION2 knows it.
public struct MemorySlot: Hashable, Sendable {
    /// The slot's number.
    public let id: UInt32
    /// What the slot is for: `low`, `arena`, `low2`, `high`.
    public let name: String
    /// The first guest physical address, a multiple of 4 KiB.
    public let guestPhysicalAddress: GPA
    /// The size in bytes, a multiple of 4 KiB, not 0.
    public let size: UInt64
    /// Where the slot begins in the process that runs the guest, a multiple of 4 KiB.
    public let userspaceAddress: HVA

    /// A slot; nothing is checked before it enters a `SlotTable`.
    public init(id: UInt32, name: String, guestPhysicalAddress: GPA, size: UInt64, userspaceAddress: HVA) {
        self.id = id
        self.name = name
        self.guestPhysicalAddress = guestPhysicalAddress
        self.size = size
        self.userspaceAddress = userspaceAddress
    }

    /// The host virtual address of a guest physical one, or nil if it lies outside the slot.
    @inlinable public func hva(of address: GPA) -> HVA? {
        let offset = address &- guestPhysicalAddress
        return offset < size ? userspaceAddress &+ offset : nil
    }

    /// The guest physical address of a host virtual one, or nil if it lies outside the slot.
    @inlinable public func gpa(of address: HVA) -> GPA? {
        let offset = address &- userspaceAddress
        return offset < size ? guestPhysicalAddress &+ offset : nil
    }
}

/// Why a set of slots is refused.
public enum SlotError: Error, Equatable, CustomStringConvertible {
    /// An address or the size is not a multiple of 4 KiB.
    case misaligned(MemorySlot)
    /// The size is 0.
    case empty(MemorySlot)
    /// The slot runs past the end of the guest physical or host virtual address space.
    case overflow(MemorySlot)
    /// Two slots share guest physical addresses.
    case overlap(MemorySlot, MemorySlot)
    /// Two slots have the same number.
    case duplicateID(UInt32)

    /// Which slot is wrong, where it is, and why.
    public var description: String {
        func text(_ slot: MemorySlot) -> String {
            "memory slot \(slot.id) (\(slot.name)) at GPA \(slot.guestPhysicalAddress.hex), \(slot.size) bytes"
        }
        switch self {
        case .misaligned(let slot):
            return "\(text(slot)), HVA \(slot.userspaceAddress.hex): addresses and sizes are multiples of 4096"
        case .empty(let slot): return "\(text(slot)): a slot cannot be empty"
        case .overflow(let slot): return "\(text(slot)) runs past the end of the address space"
        case .overlap(let first, let second): return "\(text(second)) overlaps \(text(first))"
        case .duplicateID(let id): return "two memory slots have the number \(id)"
        }
    }
}

/// The slots of a guest: sorted by guest physical address, none overlapping another.
public struct SlotTable: Equatable, Sendable {
    /// The slots, by ascending guest physical address.
    public let slots: [MemorySlot]

    /// Checks and sorts the slots.
    public init(_ slots: [MemorySlot]) throws(SlotError) {
        let sorted = slots.sorted { $0.guestPhysicalAddress < $1.guestPhysicalAddress }
        var numbers: Set<UInt32> = []
        for (index, slot) in sorted.enumerated() {
            guard slot.size != 0 else { throw .empty(slot) }
            guard slot.guestPhysicalAddress.isAligned(to: 4096), slot.userspaceAddress.isAligned(to: 4096),
                slot.size & 4095 == 0
            else { throw .misaligned(slot) }
            guard slot.guestPhysicalAddress.advanced(by: slot.size - 1) != nil,
                slot.userspaceAddress.advanced(by: slot.size - 1) != nil
            else { throw .overflow(slot) }
            guard numbers.insert(slot.id).inserted else { throw .duplicateID(slot.id) }
            if index > 0 {
                let previous = sorted[index - 1]
                guard slot.guestPhysicalAddress &- previous.guestPhysicalAddress >= previous.size else {
                    throw .overlap(previous, slot)
                }
            }
        }
        self.slots = sorted
    }

    /// The slot that holds an address, or nil if none does.
    @inlinable public func slot(containing address: GPA) -> MemorySlot? {
        var low = 0
        var high = slots.count
        while low < high {
            let middle = (low + high) / 2
            if slots[middle].guestPhysicalAddress <= address { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return nil }
        let slot = slots[low - 1]
        return address &- slot.guestPhysicalAddress < slot.size ? slot : nil
    }

    /// The host virtual address of a guest physical one, or nil if no slot holds it.
    @inlinable public func hva(of address: GPA) -> HVA? { slot(containing: address)?.hva(of: address) }
}

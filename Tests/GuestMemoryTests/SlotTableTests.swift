// Which slots are refused, and what a table answers.

import Addresses
import GuestMemory
import Testing

private func slot(_ id: UInt32, _ start: UInt64, _ size: UInt64, _ host: UInt64 = 0x10_0000) -> MemorySlot {
    MemorySlot(id: id, name: "s\(id)", guestPhysicalAddress: GPA(start), size: size, userspaceAddress: HVA(host))
}

@Suite struct SlotTableTests {
    @Test func wrongSlotsAreRefused() {
        let cases: [([MemorySlot], SlotError)] = [
            ([slot(0, 0x800, 0x1000)], .misaligned(slot(0, 0x800, 0x1000))),
            ([slot(0, 0, 0x1001)], .misaligned(slot(0, 0, 0x1001))),
            ([slot(0, 0, 0x1000, 0x10)], .misaligned(slot(0, 0, 0x1000, 0x10))),
            ([slot(0, 0, 0)], .empty(slot(0, 0, 0))),
            ([slot(0, UInt64.max - 4095, 0x2000)], .overflow(slot(0, UInt64.max - 4095, 0x2000))),
            ([slot(0, 0, 0x1000), slot(0, 0x1000, 0x1000)], .duplicateID(0)),
            (
                [slot(1, 0x1000, 0x1000), slot(0, 0, 0x1001 & ~0xfff + 0x1000)],
                .overlap(slot(0, 0, 0x2000), slot(1, 0x1000, 0x1000))
            ),
        ]
        for (slots, expected) in cases {
            let error = #expect(throws: SlotError.self) { _ = try SlotTable(slots) }
            #expect(error == expected)
        }
    }

    @Test func theSlotOfAnAddress() throws {
        let table = try SlotTable([slot(1, 4 << 30, 0x2000, 0x70_0000), slot(0, 0, 0x3000, 0x50_0000)])
        #expect(table.slots.map(\.id) == [0, 1])
        #expect(table.slot(containing: GPA(0x2fff))?.id == 0)
        #expect(table.slot(containing: GPA(0x3000)) == nil)
        #expect(table.slot(containing: GPA(4 << 30 - 1)) == nil)
        #expect(table.hva(of: GPA(4 << 30 + 0x1fff)) == HVA(0x70_1fff))
        #expect(table.slots[1].gpa(of: HVA(0x70_1fff)) == GPA(4 << 30 + 0x1fff))
        #expect(table.hva(of: GPA(UInt64.max)) == nil)
    }
}

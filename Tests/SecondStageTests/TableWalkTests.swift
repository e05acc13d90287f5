// Tables put together by hand, walked from their roots.

import Addresses
import PageTables
import Testing

@testable import SecondStage

@Suite struct TableWalkTests {
    /// Where the direct map is, in these tests.
    static let base: UInt64 = 0xffff_8880_0000_0000
    static let inUse: UInt64 = 1 << 11

    /// A snapshot of tables at host physical addresses 0x1000, 0x2000, ...
    static func snapshot(_ tables: [(level: Int, entries: [Int: UInt64])], nested: Bool) -> TableSnapshot {
        var snapshot = TableSnapshot()
        for (number, table) in tables.enumerated() {
            snapshot.tables.append(
                KernelTable(
                    entries: base + UInt64(number + 1) * 0x1000, level: table.level, role: 0,
                    rootCount: number == 0 ? 1 : 0))
            var entries = [UInt64](repeating: 0, count: 512)
            for (index, entry) in table.entries { entries[index] = entry }
            snapshot.entries += entries
            snapshot.framesStart.append(-1)
        }
        if nested { snapshot.nestedTables = 0..<tables.count }
        return snapshot
    }

    static func vcpu(root: UInt64, guestTable: UInt64 = 0) -> KernelVCPU {
        KernelVCPU(
            id: 0, paging: PagingState(cr0: 0, cr3: 0, cr4: 0, efer: 0), cr3Moment: .now,
            root: KernelRoot(hpa: HPA(root), guestTable: guestTable), previousRoots: [], role: 0, paeRoot: 0,
            isNested: false)
    }

    static func walk(
        _ snapshot: TableSnapshot, _ format: SecondStageFormat, vcpus: [KernelVCPU]
    ) -> KernelTables {
        var walk = TableWalk(
            snapshot: snapshot, decoder: SecondStageDecoder(format: format), base: base, isShifted: true)
        walk.addRoots(of: vcpus)
        walk.countLeaves()
        return walk.result(statistics: [])
    }

    @Test func nestedPagesOfEverySize() {
        let table: UInt64 = Self.inUse | 7
        let leaf: UInt64 = Self.inUse | 7
        let found = Self.walk(
            Self.snapshot(
                [
                    (4, [0: 0x2000 | table, 1: 0x9000 | table]),  // the second leads to no table that is known
                    (3, [0: 0x3000 | table, 5: 0x1_4000_0000 | leaf | 1 << 7]),
                    (2, [1: 0x4000 | table, 2: 0x60_0000 | leaf | 1 << 7]),
                    (1, [0: 0x7000 | leaf, 511: 0x8000 | leaf, 7: 1 << 51 | 0xfee0_0001, 8: 0x5a0]),
                ], nested: true),
            .npt, vcpus: [Self.vcpu(root: 0x1000)])
        #expect(found.roots.count == 1)
        #expect(found.roots[0].use == .current)
        #expect(found.leaves == LeafCounts(pages4K: 2, pages2M: 1, pages1G: 1))
        #expect(found.mmioEntries == 1)
        #expect(found.removedEntries == 1)
        let seen = found.mappings.map { [$0.gpa.rawValue, $0.hpa.rawValue, $0.size] }
        #expect(
            seen == [
                [0x20_0000, 0x7000, 4096], [0x3f_f000, 0x8000, 4096], [0x40_0000, 0x60_0000, 2 << 20],
                [5 << 30, 0x1_4000_0000, 1 << 30],
            ])
        #expect(found.mappings.allSatisfy { $0.va == GVA(0) })
    }

    @Test func rootsThatNoVCPUUsesAreFoundAndLabelled() {
        let found = Self.walk(
            Self.snapshot([(4, [:])], nested: true), .npt, vcpus: [])
        #expect(found.roots.map(\.use) == [.kept])
        #expect(found.mappings.isEmpty)
    }

    @Test func shadowAddressesAndRights() throws {
        // Level 4 takes away the right to write; the frame comes from what KVM notes beside the table.
        let above: UInt64 = Self.inUse | 5
        let table: UInt64 = Self.inUse | 7
        var snapshot = Self.snapshot(
            [
                (4, [256: 0x2000 | above]), (3, [0: 0x3000 | table]), (2, [0: 0x4000 | table]),
                (1, [3: 0x7000 | table]),
            ], nested: false)
        snapshot.framesStart[3] = 0
        snapshot.frames = [UInt64](repeating: 0, count: 512)
        snapshot.frames[3] = 0x1234 << 12 | 7
        let found = Self.walk(snapshot, .shadow, vcpus: [Self.vcpu(root: 0x1000, guestTable: 0x5000)])
        #expect(found.roots[0].guestTable == 0x5000)
        let mapping = try #require(found.mappings.first)
        #expect(found.mappings.count == 1)
        #expect(mapping.va == GVA(0xffff_8000_0000_3000))
        #expect(mapping.gpa == GPA(0x123_4000))
        #expect(mapping.hpa == HPA(0x7000))
        #expect(mapping.flags.letters == "rxu")
    }

    @Test func tablesOfTheWrongLevelAreNotFollowed() {
        let table: UInt64 = Self.inUse | 7
        // A table that refers to itself, and one that refers to its parent.
        let found = Self.walk(
            Self.snapshot([(4, [0: 0x1000 | table, 1: 0x2000 | table]), (3, [0: 0x1000 | table])], nested: true), .npt,
            vcpus: [Self.vcpu(root: 0x1000)])
        #expect(found.mappings.isEmpty)
    }

    @Test func fourEntryRootsAreInUseByBitZero() {
        let leaf: UInt64 = Self.inUse | 7
        var snapshot = Self.snapshot(
            [(2, [0: 0x60_0000 | leaf | 1 << 7]), (3, [0: 0, 3: 0x1000 | 1])], nested: false)
        snapshot.specialTables = [1]
        let found = Self.walk(snapshot, .shadow, vcpus: [Self.vcpu(root: 0x2000, guestTable: 0x5000)])
        #expect(found.mappings.map(\.va) == [GVA(3 << 30)])
        #expect(found.leaves == LeafCounts(pages2M: 1))
    }

    @Test func tablesOutOfReachAreCounted() {
        let leaf: UInt64 = Self.inUse | 7
        let found = Self.walk(
            Self.snapshot([(1, [0: 0x7000 | leaf, 1: 0x8000 | leaf])], nested: false), .shadow, vcpus: [])
        #expect(found.mappings.isEmpty)
        #expect(found.leaves == LeafCounts(pages4K: 2))
    }
}

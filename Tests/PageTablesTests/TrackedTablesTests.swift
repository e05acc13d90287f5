import Addresses
import GuestMemory
import PageTables
import TestSupport
import Testing

/// Tables in copy: what an update says is what a comparison of whole walks says, and it reads what was written only.
@Suite struct TrackedTablesTests {
    let format = PageTableFormat.x86FourLevel(maxPhysicalAddressBits: 40)
    let memory = TestMemory(size: 2 << 20)
    let root: UInt64

    init() { root = memory.table() }

    func tracked(_ options: TrackingOptions = TrackingOptions()) throws -> TrackedTables {
        try TrackedTables(root: GPA(root), format: format, memory: memory, options: options)
    }

    func update(_ tables: TrackedTables, _ pages: [UInt64]) throws -> [MappingChange] {
        var changes: [MappingChange] = []
        #expect(try tables.update(pages.map { GPA($0) }, memory: memory) { changes.append($0) })
        return changes
    }

    @Test func anEntryChanges() throws {
        for page in 0..<1000 as Range<UInt64> { memory.map(page << 12, root: root, leaf: page << 12 | 0x67) }
        let tables = try tracked()
        #expect(tables.tableCount == 5)
        let table = memory[root] & X86Bit.address
        let directory = memory[table] & X86Bit.address
        let leaves = memory[directory + 8] & X86Bit.address
        memory[leaves + 5 * 8] ^= 2
        let reads = memory.pageReads
        let changes = try update(tables, [leaves])
        // The page itself and nothing else.
        #expect(memory.pageReads - reads == 1)
        #expect(changes.map(\.va) == [GVA(0x20_5000)])
        #expect(changes.first?.from?.flags.contains(.writable) == true)
        #expect(changes.first?.to?.flags.contains(.writable) == false)
        #expect(try update(tables, [leaves]).isEmpty)
        // Accessed and dirty bits are no change; a page that holds no table is passed over.
        memory[leaves + 6 * 8] &= ~0x60
        #expect(try update(tables, [leaves, 0x1f_0000]).isEmpty)
        var options = TrackingOptions()
        options.countsAccessed = true
        let counting = try tracked(options)
        memory[leaves + 6 * 8] |= 0x20
        #expect(try update(counting, [leaves]).map(\.va) == [GVA(0x20_6000)])
    }

    /// A table that two entries refer to changes at both addresses; one that is not referred to any more is forgotten.
    @Test func tablesComeAndGo() throws {
        memory.map(0x4000_0000, root: root, leaf: 0x7067)
        let upper = memory[root] & X86Bit.address
        let directory = memory[upper + 8] & X86Bit.address
        let leaves = memory[directory] & X86Bit.address
        let tables = try tracked()
        memory[upper + 16] = directory | 0x65
        #expect(try update(tables, [upper]).map(\.va) == [GVA(0x8000_0000)])
        memory[leaves + 8] = 0x9067
        let both = try update(tables, [leaves])
        #expect(both.map(\.va) == [GVA(0x4000_1000), GVA(0x8000_1000)])
        #expect(both.map { $0.to?.flags.contains(.writable) } == [true, false])
        memory[upper + 8] = 0
        memory[upper + 16] = 0
        #expect(try update(tables, [upper]).map(\.size) == [0x1000, 0x1000, 0x1000, 0x1000])
        #expect(tables.tableCount == 2)
        memory[leaves] = 0
        #expect(try update(tables, [leaves]).isEmpty)
        // It comes back with what it holds then.
        memory[upper + 24] = directory | 0x67
        #expect(try update(tables, [upper]).map(\.va) == [GVA(0xc000_1000)])
        #expect(Set(tables.pages) == Set([root, upper, directory, leaves].map { GPA($0) }))
    }

    @Test func tooManyTables() {
        for index in 0..<8 as Range<UInt64> { memory.map(index << 30, root: root, leaf: 0x7067) }
        var options = TrackingOptions()
        options.pageLimit = 8
        #expect(throws: TrackedTablesError.tooManyTables(limit: 8)) { _ = try tracked(options) }
    }

    /// Tables that refer to each other and to themselves are followed as far as levels fall.
    @Test func tablesInCircles() throws {
        let other = memory.table()
        memory[root + 8] = root | 0x67
        memory[root + 16] = other | 0x67
        memory[other] = root | 0x67
        memory[other + 8] = other | 0x67
        let tables = try tracked()
        memory[other + 16] = 0x7067
        let before = try update(tables, [])
        #expect(before.isEmpty)
        let changes = try update(tables, [other])
        #expect(!changes.isEmpty)
        #expect(try update(tables, [root, other]).isEmpty)
    }

    /// Random writes: the updates say the same as a comparison of everything before with everything after.
    @Test func updatesEqualComparisons() throws {
        var generator = Random(seed: 1)
        for index in 0..<24 as Range<UInt64> {
            memory.map(index * 0x11_3000 + index << 30, root: root, leaf: 0x7067)
        }
        let end = memory.table()
        let tables = try tracked()
        var before = tables.mappings().list
        var total = 0
        for round in 0..<300 {
            var written: Set<UInt64> = []
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let page = UInt64.random(in: 1..<end >> 12, using: &generator) << 12
                let place = UInt64.random(in: 0..<4, using: &generator) * 8
                let target = UInt64.random(in: 1..<end >> 12, using: &generator) << 12
                memory[page + place] =
                    [0, target | 0x67, target | 0x65, 0xe7, memory[page] ^ 2].randomElement(
                        using: &generator) ?? 0
                written.insert(page)
            }
            let found = try update(tables, Array(written))
            var list = MappingList()
            let summary = walk(
                root: GPA(root), format: format, memory: memory, options: MappingList.walkOptions(), into: &list)
            #expect(summary.isComplete)
            var expected: [MappingChange] = []
            _ = compareMappings(before, format, list, format) {
                expected.append($0)
                return true
            }
            // Ranges that are walked apart are not merged over their borders.
            #expect(pages(found) == pages(expected), "round \(round)")
            guard pages(found) == pages(expected) else { return }
            #expect(tables.mappings().list.runs == list.runs)
            total += expected.count
            before = list
        }
        #expect(total > 500)
    }

    /// Changes cut to what cannot be merged: the addresses at which either side begins anew, with both states there.
    func pages(_ changes: [MappingChange]) -> [String] {
        var merged: [MappingChange] = []
        for change in changes {
            if var last = merged.last, last.va &+ last.size == change.va, goesOn(last.from, change.from, last.size),
                goesOn(last.to, change.to, last.size)
            {
                last.size += change.size
                merged[merged.count - 1] = last
            } else {
                merged.append(change)
            }
        }
        return merged.map { "\($0.va.hex) \($0.size) \($0.from.debugDescription) \($0.to.debugDescription)" }
    }

    func goesOn(_ known: MappedState?, _ next: MappedState?, _ size: UInt64) -> Bool {
        guard let known, let next else { return known == nil && next == nil }
        return known.pageShift == next.pageShift && known.flags == next.flags && known.leafBits == next.leafBits
            && !known.repeatsPage && !next.repeatsPage && next.gpa == known.gpa &+ size
    }
}

import Addresses
import GuestMemory
import PageTables
import TestSupport
import Testing

/// Two sets of tables and what the comparison says of them.
@Suite struct MappingChangesTests {
    let format = PageTableFormat.x86FourLevel(maxPhysicalAddressBits: 40)

    func list(_ memory: TestMemory, _ root: UInt64, _ format: PageTableFormat) -> MappingList {
        var list = MappingList()
        var options = WalkOptions()
        options.absentMask = 1 << 9
        let summary = walk(
            root: GPA(root), format: format, memory: memory, options: MappingList.walkOptions(options), into: &list)
        #expect(summary.isComplete)
        return list
    }

    func changes(
        _ before: MappingList, _ after: MappingList, _ options: ComparisonOptions = ComparisonOptions()
    ) -> [MappingChange] {
        var changes: [MappingChange] = []
        let summary = compareMappings(before, format, after, format, options: options) {
            changes.append($0)
            return true
        }
        #expect(summary.isComplete)
        return changes
    }

    func run(
        _ va: UInt64, _ gpa: UInt64, _ count: UInt64, shift: UInt8 = 12, repeats: Bool = false,
        _ flags: PageFlags = [.readable, .writable], bits: UInt64 = 3
    ) -> MappedRun {
        MappedRun(
            va: GVA(va), gpa: GPA(gpa), pageCount: count, pageShift: shift, repeatsPage: repeats, flags: flags,
            leafBits: bits)
    }

    func state(_ gpa: UInt64, _ flags: PageFlags = [.readable, .writable], bits: UInt64 = 3) -> MappedState {
        MappedState(gpa: GPA(gpa), pageShift: 12, flags: flags, leafBits: bits)
    }

    /// 10,000 pages that lose a permission are one change, also where their physical addresses do not follow each other.
    @Test func protectedPagesAreOneChange() {
        for stride: UInt64 in [1, 3] {
            let before = (0..<10_000 as Range<UInt64>).map { run(0x4000_0000 + $0 << 12, $0 * stride << 12, 1) }
            let after = before.map {
                var run = $0
                run.flags = .readable
                run.leafBits = 1
                return run
            }
            let found = changes(MappingList(runs: before), MappingList(runs: after))
            #expect(found.count == 1)
            #expect(found.first?.size == 10_000 << 12)
            #expect(found.first?.isScattered == (stride == 3))
            #expect(found.first?.from == state(0))
            #expect(found.first?.to == state(0, .readable, bits: 1))
        }
    }

    /// How runs are cut does not matter; what is cut out of one does.
    @Test func cutsDoNotMatter() {
        let whole = MappingList(runs: [run(0x10000, 0x80000, 100)])
        let cut = MappingList(runs: [run(0x10000, 0x80000, 1), run(0x11000, 0x81000, 60), run(0x4d000, 0xbd000, 39)])
        #expect(changes(whole, cut).isEmpty)
        #expect(changes(cut, whole).isEmpty)
        let holed = MappingList(runs: [run(0x10000, 0x80000, 60), run(0x4d000, 0xbd000, 39)])
        #expect(changes(whole, holed) == [MappingChange(va: GVA(0x4c000), size: 4096, from: state(0xbc000), to: nil)])
        #expect(changes(holed, whole) == [MappingChange(va: GVA(0x4c000), size: 4096, from: nil, to: state(0xbc000))])
        // One page mapped ten times, in one run and in two, and once beside pages that follow each other.
        let same = MappingList(runs: [run(0, 0x5000, 10, repeats: true)])
        let twice = MappingList(runs: [run(0, 0x5000, 4, repeats: true), run(0x4000, 0x5000, 6, repeats: true)])
        #expect(changes(same, twice).isEmpty)
        let rising = MappingList(runs: [run(0, 0x2000, 10)])
        let risen = changes(same, rising)
        #expect(risen.map(\.va.rawValue) == [0, 0x4000])
        #expect(risen.map(\.size) == [0x3000, 0x6000])
        #expect(risen.allSatisfy { $0.from?.repeatsPage == true && $0.to?.repeatsPage == false })
    }

    /// The last page of the address space, and a range that cuts.
    @Test func theEdges() {
        let top: UInt64 = 0xffff_ffff_ffff_f000
        let before = MappingList(runs: [run(0, 0x1000, 4), run(top, 0x9000, 1)])
        let after = MappingList(runs: [run(0, 0x1000, 1)])
        #expect(changes(before, after).map(\.va.rawValue) == [0x1000, top])
        #expect(changes(before, before).isEmpty)
        var options = ComparisonOptions()
        options.range = GVA(0x2000)...GVA(0x2fff)
        #expect(
            changes(before, after, options) == [
                MappingChange(va: GVA(0x2000), size: 4096, from: state(0x3000), to: nil)
            ])
    }

    /// Accessed and dirty bits count only if they are asked for.
    @Test func accessedBits() {
        let before = MappingList(runs: [run(0, 0x1000, 4, [.readable], bits: 1)])
        let after = MappingList(runs: [
            run(0, 0x1000, 1, [.readable, .accessed], bits: 0x21),
            run(0x1000, 0x2000, 3, [.readable, .accessed, .dirty], bits: 0x61),
        ])
        #expect(changes(before, after).isEmpty)
        var options = ComparisonOptions()
        options.countsAccessed = true
        #expect(changes(before, after, options).map(\.size) == [4096, 3 * 4096])
    }

    /// 16 GiB of one table after the other, again and again: equal at once, and a difference in one of them is found.
    @Test func repeatedTables() {
        let memory = TestMemory(size: 1 << 20)
        let root = memory.table()
        let levels = (0..<3).map { _ in memory.table() }
        for index in 0..<512 as Range<UInt64> {
            memory[levels[2] + index * 8] = 0x5067
            memory[levels[1] + index * 8] = levels[2] | 0x67
            if index < 16 { memory[levels[0] + index * 8] = levels[1] | 0x67 }
        }
        for index in 0..<200 as Range<UInt64> { memory[root + index * 8] = levels[0] | 0x67 }
        let whole = list(memory, root, format)
        #expect(whole.repetitions.count > 2)
        #expect(whole.runs.count < 10)
        #expect(changes(whole, whole).isEmpty)
        // A permission that is gone in the last of them.
        memory[root + 199 * 8] = levels[0] | 0x65
        let other = list(memory, root, format)
        let found = changes(whole, other)
        #expect(found.count == 1)
        #expect(found.first?.va == GVA(199 << 39))
        #expect(found.first?.size == 16 << 30)
        #expect(found.first?.from?.repeatsPage == true)
        #expect(found.first?.to?.flags.contains(.writable) == false)
        // One page in all of them: too many changes to wait for, and that is said.
        var options = ComparisonOptions()
        options.stepLimit = 20_000
        memory[levels[2]] = 0x6067
        let changed = list(memory, root, format)
        var count = 0
        let summary = compareMappings(whole, format, changed, format, options: options) { _ in
            count += 1
            return true
        }
        #expect(!summary.isComplete && summary.stoppedAt != nil && count > 1000)
    }

    /// Tables with the same mappings in four and in five levels.
    @Test func otherNumbersOfLevels() {
        let five = PageTableFormat.x86FiveLevel(maxPhysicalAddressBits: 40)
        let memory = TestMemory(size: 1 << 20)
        let (one, other) = (memory.table(), memory.table())
        for va: UInt64 in [0x1000, 0x7fff_ffff_f000, 0xffff_8000_0000_0000, 0xffff_ffff_ffff_f000] {
            memory.map(va, root: one, leaf: 0x7000 | 0x67)
            memory.map(va, root: other, leaf: 0x7000 | 0x67, levels: 5)
        }
        memory.map(0x9000, root: other, leaf: 0x7000 | 0x67, levels: 5)
        var found: [MappingChange] = []
        _ = compareMappings(list(memory, one, format), format, list(memory, other, five), five) {
            found.append($0)
            return true
        }
        #expect(found.map(\.va.rawValue) == [0x9000])
    }

    // MARK: Random tables

    /// What is mapped, page by page, straight from the tables: no run, no walk.
    struct Page: Hashable {
        let gpa: UInt64
        let state: MappedState
    }

    func pages(_ memory: TestMemory, _ root: UInt64, _ addresses: [UInt64]) -> [UInt64: Page] {
        var pages: [UInt64: Page] = [:]
        for va in addresses {
            let translation = translate(GVA(va), root: GPA(root), format: format, memory: memory)
            guard let entry = translation.entries.last else { continue }
            let rule = format.levels[entry.level - 1].leaf(for: entry.value)
            if case .mapped(let mapping) = translation.result, let rule {
                let bits = entry.value & ~rule.allAddressBits & ~format.volatileBits
                let state = MappedState(
                    gpa: GPA(0), pageShift: rule.pageShift, flags: mapping.flags.subtracting([.accessed, .dirty]),
                    leafBits: bits)
                pages[va] = Page(gpa: mapping.gpa.rawValue, state: state)
            } else if case .notMapped(let level, let value) = translation.result, level == 1, value & 1 << 9 != 0,
                let rule = format.levels[0].leaf
            {
                let bits = value & ~rule.allAddressBits & ~format.volatileBits
                let state = MappedState(gpa: GPA(0), pageShift: 12, flags: [], leafBits: bits)
                pages[va] = Page(gpa: rule.address(of: value), state: state)
            }
        }
        return pages
    }

    func page(_ state: MappedState, offset: UInt64) -> Page {
        var gpa = state.gpa.rawValue &+ offset
        if state.repeatsPage { gpa = state.gpa.rawValue &+ offset % state.pageSize }
        var plain = state
        plain.gpa = GPA(0)
        plain.repeatsPage = false
        return Page(gpa: gpa, state: plain)
    }

    /// Two directories of 16 tables' worth of addresses, with tables shared, large pages, holes and absent entries.
    func randomTables(_ memory: TestMemory, _ generator: inout some RandomNumberGenerator) -> UInt64 {
        let (root, upper) = (memory.table(), memory.table())
        memory[root] = upper | 0x67
        let bits: [UInt64] = [0x67, 0x63, 0x61, 0x27, 0x1 << 63 | 0x63, 0x7, 0x1 << 53 | 0x25]
        var tables: [UInt64] = []
        for directoryIndex in 0..<2 as Range<UInt64> {
            let directory = memory.table()
            memory[upper + directoryIndex * 8] = directory | (Bool.random(using: &generator) ? 0x67 : 0x65)
            for index in 0..<8 as Range<UInt64> {
                let at = directory + index * 8
                switch Int.random(in: 0..<6, using: &generator) {
                case 0: memory[at] = index << 21 | 0xe7
                case 1, 2:
                    // A table that is there already: right before, or anywhere.
                    guard
                        let known = Bool.random(using: &generator)
                            ? tables.last : tables.randomElement(using: &generator)
                    else { continue }
                    memory[at] = known | 0x67
                case 3: continue
                default:
                    let table = memory.table()
                    tables.append(table)
                    memory[at] = table | 0x67
                    var entry: UInt64 = 0
                    while entry < 512 {
                        let length = UInt64.random(in: 1...200, using: &generator)
                        let kind = Int.random(in: 0..<5, using: &generator)
                        let leaf = bits.randomElement(using: &generator) ?? 0x67
                        let base = UInt64.random(in: 0..<64, using: &generator) << 12
                        for place in entry..<min(512, entry + length) {
                            let step = kind == 1 ? 0 : (place - entry) << 12
                            if kind == 0 { continue }
                            memory[table + place * 8] =
                                kind == 2 ? (base + step) | 1 << 9 | leaf & ~1 & 0x66 : (base + step) | leaf
                        }
                        entry += length
                    }
                }
            }
        }
        return root
    }

    /// A page that is mapped over and over, and behind it a run that begins with that page again.
    @Test func aRunBehindARepetition() {
        let before = MappingList(runs: [run(0x10_0000, 0x5000, 3, repeats: true), run(0x10_3000, 0x5000, 4)])
        let repeated = MappedState(
            gpa: GPA(0x5000), pageShift: 12, repeatsPage: true, flags: [.readable, .writable], leafBits: 3)
        #expect(
            changes(before, MappingList()) == [
                MappingChange(va: GVA(0x10_0000), size: 0x3000, from: repeated, to: nil),
                MappingChange(va: GVA(0x10_3000), size: 0x4000, from: state(0x5000), to: nil),
            ])
    }

    /// What changes say, applied to the first tables, gives the second ones; and no change says what is not so.
    @Test(arguments: [1, 2, 3, 4, 26, 35, 49] as [UInt64]) func applyingTheChanges(seed: UInt64) {
        var generator = Random(seed: seed)
        let addresses = (0..<2 as Range<UInt64>).flatMap { directory in
            (0..<9 * 512 as Range<UInt64>).map { directory << 30 | $0 << 12 }
        }
        let looked = Set(addresses)
        var total = 0
        for round in 0..<12 {
            let memory = TestMemory(size: 2 << 20)
            let root = randomTables(memory, &generator)
            let before = list(memory, root, format)
            var expected = pages(memory, root, addresses)
            let otherMemory: TestMemory
            let otherRoot: UInt64
            if round % 2 == 0 {
                otherMemory = TestMemory(size: 2 << 20)
                otherRoot = randomTables(otherMemory, &generator)
            } else {
                // The same tables with a few entries changed.
                otherMemory = memory
                otherRoot = root
                for _ in 0..<20 {
                    let at = UInt64.random(in: 0x3000..<0x1_0000, using: &generator) & ~7
                    memory[at] = [0, 0x5067, memory[at] ^ 2].randomElement(using: &generator) ?? 0
                    // An entry of a directory may refer to anything now: also to a page as a table.
                }
            }
            let after = list(otherMemory, otherRoot, format)
            let wanted = pages(otherMemory, otherRoot, addresses)
            let found = changes(before, after)
            total += found.count
            var mistakes: [String] = []
            var last: UInt64?
            for change in found {
                let first = change.va.rawValue
                #expect(last.map { first > $0 } ?? true)
                last = change.lastVA.rawValue
                for va in stride(from: first, to: first + change.size, by: 4096)
                where looked.contains(va) {
                    let was = expected[va]
                    if let from = change.from {
                        var there = page(from, offset: va - first)
                        if change.isScattered { there = Page(gpa: was?.gpa ?? 0, state: there.state) }
                        if was != there { mistakes.append("not so before: \(GVA(va).hex)") }
                    } else if was != nil {
                        mistakes.append("mapped before: \(GVA(va).hex)")
                    }
                    guard let to = change.to else {
                        expected[va] = nil
                        continue
                    }
                    var new = page(to, offset: va - first)
                    if change.isScattered { new = Page(gpa: was?.gpa ?? 0, state: new.state) }
                    if was == new { mistakes.append("no change: \(GVA(va).hex)") }
                    expected[va] = new
                }
            }
            #expect(mistakes.isEmpty)
            // Not the dictionaries themselves: they are long.
            let wrong = addresses.filter { expected[$0] != wanted[$0] }
            #expect(wrong.isEmpty, "round \(round)")
            if !wrong.isEmpty { break }
        }
        #expect(total > 200)
    }
}

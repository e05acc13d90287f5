import Addresses
import GuestMemory
import PageTables
import Testing

@Suite struct WalkTests {
    let memory = TestMemory(size: 4 << 20)
    let root: UInt64
    let format = PageTableFormat.x86FourLevel(maxPhysicalAddressBits: 40)

    init() { root = memory.table() }

    func walked(_ options: WalkOptions = WalkOptions()) -> (RunCollector, WalkSummary) {
        var collector = RunCollector()
        let summary = walk(root: GPA(root), format: format, memory: memory, options: options, into: &collector)
        return (collector, summary)
    }

    @Test func nothingIsMapped() {
        let (collector, summary) = walked()
        #expect(collector.runs.isEmpty)
        #expect(summary.leaves == 0)
        #expect(summary.tables.count == 1)
        #expect(summary.isComplete)
    }

    /// 1,000 pages over the border of two tables, then another page size, then a gap in the physical addresses.
    @Test func runsMergeAcrossTables() {
        for page in 0..<1000 as Range<UInt64> {
            memory.map(0x1ff0_0000 + page << 12, root: root, leaf: 0x10_0000 + page << 12 | 0x67)
        }
        memory.map(0x2040_0000, root: root, level: 2, leaf: 0x60_0000 | 0xe7)
        memory.map(0x2060_0000, root: root, level: 2, leaf: 0x80_0000 | 0xe7)
        memory.map(0x2080_0000, root: root, level: 2, leaf: 0x80_0000 | 0xe7)
        let (collector, summary) = walked()
        let all: PageFlags = [.readable, .writable, .executable, .user, .accessed, .dirty]
        #expect(
            collector.runs == [
                MappedRun(
                    va: GVA(0x1ff0_0000), gpa: GPA(0x10_0000), pageCount: 1000, pageShift: 12, flags: all,
                    leafBits: 0x67),
                MappedRun(
                    va: GVA(0x2040_0000), gpa: GPA(0x60_0000), pageCount: 2, pageShift: 21, flags: all, leafBits: 0xe7),
                MappedRun(
                    va: GVA(0x2080_0000), gpa: GPA(0x80_0000), pageCount: 1, pageShift: 21, flags: all, leafBits: 0xe7),
            ])
        #expect(summary.leaves == 1003)
    }

    /// A leaf's bit, a level above that grants less, a hole: each ends a run.
    @Test func whatEndsARun() {
        for page in 0..<8 as Range<UInt64> { memory.map(page << 12, root: root, leaf: page << 12 | 0x67) }
        memory.map(3 << 12, root: root, leaf: 3 << 12 | 0x65)
        memory.map(5 << 12, root: root, leaf: 5 << 12 | 0x67 | 1 << 53)
        memory.map(7 << 12, root: root, leaf: 0)
        #expect(walked().0.runs.map(\.pageCount) == [3, 1, 1, 1, 1])
        var options = WalkOptions()
        options.ignoredBits = 1 << 53
        #expect(walked(options).0.runs.map(\.pageCount) == [3, 1, 3])
    }

    @Test func thePermissionsOfTheWay() {
        memory.map(0x1f_f000, root: root, leaf: 0x1f_f067)
        memory.map(0x20_0000, root: root, leaf: 0x20_0067, tableBits: 0x61)
        memory.map(0x4000_0000, root: root, leaf: 0x20_1067, tableBits: 0x61)
        let runs = walked().0.runs
        #expect(runs.map(\.flags.letters) == ["urwxad", "rxad", "rxad"])
    }

    /// The address after the last physical one must not run over into the software bits.
    @Test func theTopOfThePhysicalAddresses() {
        let wide = PageTableFormat.x86FourLevel()
        memory.map(0, root: root, leaf: 0x000f_ffff_ffff_f067)
        memory.map(0x1000, root: root, leaf: 0x0010_0000_0000_0067)
        var collector = RunCollector()
        _ = walk(root: GPA(root), format: wide, memory: memory, into: &collector)
        #expect(collector.runs.map(\.gpa) == [GPA(0x000f_ffff_ffff_f000), GPA(0)])
    }

    @Test func onePageManyTimes() {
        for page in 0..<700 as Range<UInt64> { memory.map(page << 12, root: root, leaf: 0x5_0067) }
        memory.map(700 << 12, root: root, leaf: 0x5_1067)
        let runs = walked().0.runs
        #expect(runs.map(\.repeatsPage) == [true, false])
        #expect(runs.map(\.pageCount) == [700, 1])
        #expect(runs.map(\.physicalSize) == [4096, 4096])
    }

    /// 2^35 leaves from four tables: at once, and counted.
    @Test func theGreatestMultiplication() {
        let tables = (0..<3).map { _ in memory.table() }
        let chain = [root] + tables
        for index in 0..<512 as Range<UInt64> {
            for (table, next) in zip(chain, tables) where table != root || index < 256 {
                memory[table + index * 8] = next | 0x67
            }
            memory[tables[2] + index * 8] = index << 12 | 0x67
        }
        let (collector, summary) = walked()
        #expect(summary.leaves == 1 << 35)
        #expect(summary.tables.map(\.references) == [1, 256, 512, 512])
        #expect(collector.runs.count == 1)
        #expect(collector.repetitions.map(\.count) == [511, 511, 255])
        #expect(collector.repetitions.map(\.leaves) == [512, 512 << 9, 512 << 18])
        #expect(collector.repetitions.map(\.firstVA) == [GVA(0), GVA(0), GVA(0)])
        var options = WalkOptions()
        options.everyPath = true
        options.tableLimit = 1000
        let limited = walked(options).1
        #expect(!limited.isComplete)
        #expect(limited.findings.last?.kind == .tableLimit)
    }

    /// The same within a range that begins and ends in the middle of tables: still at once, and the same leaves.
    @Test func aMultiplicationWithinARange() {
        let tables = (0..<3).map { _ in memory.table() }
        for index in 0..<512 as Range<UInt64> {
            for (table, next) in zip([root] + tables, tables) { memory[table + index * 8] = next | 0x67 }
            memory[tables[2] + index * 8] = index << 12 | 0x67
        }
        var options = WalkOptions()
        options.range = GVA(0x1234_5000)...GVA(0x7654_3210_0fff)
        let (collector, summary) = walked(options)
        #expect(summary.isComplete)
        #expect(summary.leaves == (0x7654_3210_1000 - 0x1234_5000) / 4096)
        #expect(collector.runs.count < 300)
        #expect(collector.runs.first?.va == GVA(0x1234_5000))
    }

    /// Two tables in turn are no neighbours: walked again while that is cheap, then handed out as repetitions.
    @Test func tablesInTurn() {
        var chain: [(UInt64, UInt64)] = []
        for _ in 0..<3 { chain.append((memory.table(), memory.table())) }
        for index in 0..<512 as Range<UInt64> {
            let odd = index & 1 == 1
            memory[root + index * 8] = (odd ? chain[0].1 : chain[0].0) | 0x67
            for step in 0..<2 {
                for table in [chain[step].0, chain[step].1] {
                    memory[table + index * 8] = (odd ? chain[step + 1].1 : chain[step + 1].0) | 0x67
                }
            }
            memory[chain[2].0 + index * 8] = index << 12 | 0x67
            memory[chain[2].1 + index * 8] = index << 12 | 0x65
        }
        var options = WalkOptions()
        options.revisitLimit = 20
        let (collector, summary) = walked(options)
        #expect(summary.leaves == 1 << 36)
        #expect(summary.tables.count == 7)
        #expect(collector.runs.count <= 60)
        #expect(collector.repetitions.count <= 30 * 512)
    }

    /// As OSv at stage B: four entries of the root refer to the same table, and each is shown in full.
    @Test func sharedHalves() {
        memory.map(0, root: root, level: 2, leaf: 0xe7)
        for index in [256, 288, 320] as [UInt64] { memory[root + index * 8] = memory[root] }
        let (collector, summary) = walked()
        #expect(
            collector.runs.map(\.va) == [
                GVA(0), GVA(0xffff_8000_0000_0000), GVA(0xffff_9000_0000_0000), GVA(0xffff_a000_0000_0000),
            ])
        #expect(collector.repetitions.isEmpty)
        #expect(summary.findings.map(\.kind) == [.shared])
    }

    @Test func aRecursiveEntry() {
        memory.map(0x1000, root: root, leaf: 0x5_0067)
        memory[root + 510 * 8] = root | 0x67
        let (collector, summary) = walked()
        #expect(summary.findings.first?.kind == .selfMap)
        #expect(summary.findings.first?.va == GVA(0xffff_ff00_0000_0000))
        #expect(summary.findings.filter { $0.kind == .selfMap || $0.kind == .loop }.count == 1)
        // The root's own page appears at the address of the recursion four times over.
        let own = translate(GVA(0xffff_ff7f_bfdf_e000), root: GPA(root), format: format, memory: memory)
        #expect(own.mapping?.gpa == GPA(root))
        #expect(collector.runs.contains { $0.va == GVA(0xffff_ff7f_bfdf_e000) && $0.gpa == GPA(root) })
    }

    @Test func loopsAndTablesOutsideRAM() {
        let table = memory.table()
        memory[root] = table | 0x67
        for index in 0..<512 as Range<UInt64> { memory[table + index * 8] = table | 0x67 }
        memory[root + 8] = 0x70_0000_0067
        memory[root + 16] = table | 0x67 | 1 << 45
        let (_, summary) = walked()
        #expect(Set(summary.findings.map(\.kind)) == [.loop, .shared, .tableOutsideRAM, .reservedBits])
        let outside = summary.findings.first { $0.kind == .tableOutsideRAM }
        #expect(outside?.at == GPA(root + 8))
        #expect(outside?.value == 0x70_0000_0067)
        #expect(outside?.va == GVA(1 << 39))
        var collector = RunCollector()
        let nowhere = walk(root: GPA(0x7000_0000), format: format, memory: memory, into: &collector)
        #expect(nowhere.findings.map(\.kind) == [.tableOutsideRAM])
    }

    @Test func rangesAndAbsentEntries() {
        for page in 0..<600 as Range<UInt64> { memory.map(page << 12, root: root, leaf: page << 12 | 0x67) }
        memory.map(0xffff_8000_0000_0000, root: root, level: 2, leaf: 0xe7)
        memory.map(0x70_0000, root: root, leaf: 0x200)
        var options = WalkOptions()
        options.range = GVA(0x5_0800)...GVA(0x5_2000)
        #expect(walked(options).0.runs.map { [$0.va.rawValue, $0.pageCount] } == [[0x5_0000, 3]])
        options.range = GVA(0x8000_0000_0000)...GVA(.max)
        #expect(walked(options).0.runs.map(\.va) == [GVA(0xffff_8000_0000_0000)])
        options.range = GVA(0x60_0000)...GVA(0x7f_ffff)
        #expect(walked(options).0.runs.isEmpty)
        options.absentMask = 1 << 9
        let absent = walked(options).0.runs
        #expect(absent.map(\.va) == [GVA(0x70_0000)])
        #expect(absent.first?.isPresent == false)
    }

    @Test func tablesThatChange() {
        memory.map(0x1000, root: root, leaf: 0x5_0007)
        memory.map(0x2000, root: root, leaf: 0x5_1007)
        var options = WalkOptions()
        options.detectsChanges = true
        let summary = walked(options).1
        #expect(tableChanges(since: summary, format: format, memory: memory).changed == 0)
        #expect(tableChanges(since: summary, format: format, memory: memory).checked == 4)
        memory.map(0x2000, root: root, leaf: 0x5_1067)
        #expect(tableChanges(since: summary, format: format, memory: memory).changed == 0)
        memory.map(0x2000, root: root, leaf: 0x5_1065)
        let changes = tableChanges(since: summary, format: format, memory: memory)
        #expect(changes.changed == 1)
        #expect(changes.examples == [summary.tables[3].gpa])
    }

    /// Entries come one by one, tables and leaves, each before what is below it.
    @Test func everyEntry() {
        struct Entries: WalkConsumer {
            static var wantsEntries: Bool { true }
            var entries: [WalkEntry] = []
            mutating func run(_ run: MappedRun) {}
            mutating func entry(_ entry: WalkEntry) { entries.append(entry) }
        }
        memory.map(0xffff_8000_0000_0000, root: root, level: 2, leaf: 0x60_00e7)
        memory.map(0xffff_8000_0020_0000, root: root, leaf: 0x5_0067)
        var entries = Entries()
        let summary = walk(root: GPA(root), format: format, memory: memory, into: &entries)
        #expect(entries.entries.map(\.entry.level) == [4, 3, 2, 2, 1])
        #expect(entries.entries.map(\.isLeaf) == [false, false, true, false, true])
        #expect(entries.entries.last?.target == GPA(0x5_0000))
        #expect(summary.leaves == 2)
    }
}

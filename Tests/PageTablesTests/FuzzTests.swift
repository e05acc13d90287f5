import Addresses
import GuestMemory
import PageTables
import TestSupport
import Testing

/// One leaf, as found by trying every entry.
struct Leaf: Hashable {
    let va: UInt64
    let gpa: UInt64
    let size: UInt64
    let flags: PageFlags
}

@Suite struct FuzzTests {
    /// Tables of random entries that mostly refer to each other: the walk equals one that tries everything, and what
    /// `translate` says of each leaf.
    @Test(arguments: 0..<60 as Range<UInt64>) func randomTables(seed: UInt64) {
        var random = Random(seed: seed)
        let memory = TestMemory(size: 32 * 4096)
        let format =
            seed & 1 == 0
            ? PageTableFormat.x86FourLevel(maxPhysicalAddressBits: 36) : .x86FiveLevel(maxPhysicalAddressBits: 36)
        for table in 0..<32 as Range<UInt64> {
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let index = UInt64.random(in: 0..<512, using: &random)
                memory[table * 4096 + index * 8] = entry(&random)
                if Bool.random(using: &random) { memory[table * 4096 + (index + 1) % 512 * 8] = entry(&random) }
            }
        }
        var expected: [Leaf] = []
        everything(memory, format, table: 0, level: format.rootLevel, va: 0, allowed: (true, true, true), &expected)
        var options = WalkOptions()
        options.everyPath = true
        var collector = RunCollector()
        let summary = walk(root: GPA(0), format: format, memory: memory, options: options, into: &collector)
        #expect(summary.isComplete)
        #expect(collector.runs.flatMap(leaves) == expected)
        #expect(summary.leaves == UInt64(expected.count))
        for leaf in expected.shuffled(using: &random).prefix(50) {
            let result = translate(GVA(leaf.va &+ 5), root: GPA(0), format: format, memory: memory)
            var mapping = result.mapping
            if case .reservedBits(_, _, let reserved) = result.result { mapping = reserved }
            #expect(mapping == PageMapping(gpa: GPA(leaf.gpa &+ 5), pageSize: leaf.size, flags: leaf.flags))
        }
        // Once each: the same number of leaves, whether shown or counted.
        var once = RunCollector()
        let short = walk(root: GPA(0), format: format, memory: memory, into: &once)
        #expect(short.leaves == summary.leaves)
        #expect(
            once.runs.flatMap(leaves).count + once.repetitions.reduce(0) { $0 + Int($1.count * $1.leaves) }
                == expected.count)
        reverse(expected, memory: memory, format: format, random: &random)
    }

    /// Every alias that trying everything finds, and no other.
    func reverse(_ expected: [Leaf], memory: TestMemory, format: PageTableFormat, random: inout Random) {
        guard let some = expected.randomElement(using: &random) else { return }
        let low = some.gpa &+ UInt64.random(in: 0..<some.size, using: &random) & ~4095
        let found = aliases(of: GPA(low)...GPA(low + 4095), root: GPA(0), format: format, memory: memory).0
        let wanted = expected.filter { low >= $0.gpa && low - $0.gpa < $0.size }.map { $0.va &+ (low - $0.gpa) }
        let addresses = found.aliases.flatMap { alias in
            (0..<alias.count).map { alias.va.rawValue &+ $0 &* alias.stride }
        }
        #expect(Set(addresses) == Set(wanted))
        #expect(addresses.count == wanted.count)
    }

    func entry(_ random: inout Random) -> UInt64 {
        var entry = UInt64.random(in: 0..<33, using: &random) << 12 | 1
        for bit in [1, 2, 5, 6, 8, 53, 63] as [UInt64] where Bool.random(using: &random) { entry |= 1 << bit }
        switch UInt64.random(in: 0..<16, using: &random) {
        case 0: entry |= 0x80
        case 1: entry |= random.next()
        case 2: entry &= ~1
        default: break
        }
        return entry
    }

    func leaves(_ run: MappedRun) -> [Leaf] {
        (0..<run.pageCount).map { page in
            Leaf(
                va: run.va.rawValue &+ page &* run.pageSize,
                gpa: run.gpa.rawValue &+ (run.repeatsPage ? 0 : page &* run.pageSize), size: run.pageSize,
                flags: run.flags)
        }
    }

    /// A walk written without a thought for speed, from the manual's tables alone.
    func everything(
        _ memory: TestMemory, _ format: PageTableFormat, table: UInt64, level: Int, va: UInt64,
        allowed: (write: Bool, user: Bool, execute: Bool), _ found: inout [Leaf]
    ) {
        guard table < UInt64(memory.bytes.count) else { return }
        let reserved: UInt64 = 0x000f_fff0_0000_0000
        for index in 0..<512 as Range<UInt64> {
            let entry = memory[table + index * 8]
            guard entry & 1 == 1 else { continue }
            var address = va | index << UInt64(12 + 9 * (level - 1))
            if level == format.rootLevel, index >= 256 { address |= ~((1 << UInt64(12 + 9 * level)) - 1) }
            let now = (
                allowed.write && entry & 2 != 0, allowed.user && entry & 4 != 0, allowed.execute && entry >> 63 == 0
            )
            let large = level > 1 && entry & 0x80 != 0
            guard level == 1 || large else {
                if entry & reserved != 0 { continue }
                everything(
                    memory, format, table: entry & 0xf_ffff_f000, level: level - 1, va: address, allowed: now, &found)
                continue
            }
            if level > 3 { continue }
            let size: UInt64 = 4096 << UInt64(9 * (level - 1))
            var flags: PageFlags = .readable
            if now.0 { flags.insert(.writable) }
            if now.1 { flags.insert(.user) }
            if now.2 { flags.insert(.executable) }
            for (bit, flag) in [
                (3, .writeThrough), (4, .cacheDisable), (5, .accessed), (6, .dirty), (8, .global),
            ] as [(UInt64, PageFlags)] where entry >> bit & 1 == 1 { flags.insert(flag) }
            if entry >> (level == 1 ? 7 : 12) & 1 == 1 { flags.insert(.attributeTable) }
            if entry & (reserved | (level == 1 ? 0 : (size - 1) & 0xf_ffff_e000)) != 0 { flags.insert(.reserved) }
            found.append(Leaf(va: address, gpa: entry & 0xf_ffff_f000 & ~(size - 1), size: size, flags: flags))
        }
    }

    /// Memory of nothing but noise: the walk ends and stays within its bounds.
    @Test(arguments: 0..<8 as Range<UInt64>) func noise(seed: UInt64) {
        var random = Random(seed: seed)
        let memory = TestMemory(size: 16 * 4096)
        for place in stride(from: 0, to: memory.bytes.count, by: 8) {
            memory[UInt64(place)] =
                random.next() & 0xfff0_0000_0000_ffff | UInt64.random(in: 0..<18, using: &random) << 12
        }
        var options = WalkOptions()
        options.revisitLimit = 16
        var collector = RunCollector()
        let summary = walk(
            root: GPA(0), format: .x86FourLevel(maxPhysicalAddressBits: 36), memory: memory, options: options,
            into: &collector)
        #expect(summary.isComplete)
        #expect(summary.tables.count <= 16 * 4)
        #expect(summary.findings.count + summary.findingsDropped > 0)
    }

    /// A guest that rewrites every table at every read: no hang, no crash, all within the bounds.
    @Test func tablesRewrittenWhileTheyAreRead() {
        var random = Random(seed: 7)
        let memory = TestMemory(size: 16 * 4096)
        memory.onRead = { page in
            for _ in 0..<64 {
                let place = page.rawValue + UInt64.random(in: 0..<512, using: &random) * 8
                memory[place] = UInt64.random(in: 0..<16, using: &random) << 12 | 0x67
            }
        }
        var options = WalkOptions()
        options.detectsChanges = true
        options.revisitLimit = 16
        for _ in 0..<5 {
            var collector = RunCollector()
            let summary = walk(
                root: GPA(0), format: .x86FourLevel(), memory: memory, options: options, into: &collector)
            #expect(summary.tables.count <= 16 * 4)
            #expect(tableChanges(since: summary, format: .x86FourLevel(), memory: memory).changed > 0)
        }
    }
}

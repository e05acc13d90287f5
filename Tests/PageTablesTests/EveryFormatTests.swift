import Addresses
import GuestMemory
import PageTables
import TestSupport
import Testing

@Suite struct EveryFormatTests {
    static let formats: [PageTableFormat] = {
        var ept = EPTState(pointer: 3 << 3 | 1 << 6)
        ept.maxPhysicalAddressBits = 36
        var mode = ept
        mode.modeBasedExecute = true
        mode.executeOnly = false
        mode.gibibytePages = false
        return [
            .x86ThirtyTwoBit(), .x86ThirtyTwoBit(largePages: false), .x86PAE(maxPhysicalAddressBits: 36),
            .x86FourLevel(maxPhysicalAddressBits: 36), .x86FiveLevel(gibibytePages: false),
            .nested(.x86FourLevel(maxPhysicalAddressBits: 40)), .nested(.x86PAE()), .nested(.x86ThirtyTwoBit()),
            .armShort(domainAccess: 0x4567_89ab), .armShort(split: 3, accessFlag: true, privilegedExecuteNever: false),
        ] + [ept.format, mode.format].compactMap { $0 }
    }()

    /// Sparse random memory: the walk hands out exactly the pages that `translate` finds, and nothing between them.
    @Test(arguments: formats.indices) func theWalkIsWhatTranslateSays(index: Int) {
        let format = Self.formats[index]
        for seed in 0..<12 as Range<UInt64> {
            var random = Random(seed: seed &* 100 &+ UInt64(index))
            let memory = TestMemory(size: 24 * 4096)
            for _ in 0..<160 {
                let at = UInt64.random(in: 0..<24 * 512, using: &random) * 8
                let table = UInt64.random(in: 0..<25, using: &random) << 12
                var entry = table | UInt64.random(in: 0..<4096, using: &random) | 1
                if format.entrySize == 4 { entry |= (table | UInt64.random(in: 0..<4096, using: &random)) << 32 }
                if Bool.random(using: &random) { entry |= random.next() & 0xffff_0000_0000_0000 }
                memory[at] = entry
            }
            check(format, memory, &random)
        }
    }

    func check(_ format: PageTableFormat, _ memory: TestMemory, _ random: inout Random) {
        var options = WalkOptions()
        options.everyPath = true
        options.tableLimit = 3000
        var collector = RunCollector()
        let summary = walk(root: GPA(0), format: format, memory: memory, options: options, into: &collector)
        var previousEnd: UInt64 = 0
        for run in collector.runs {
            #expect(run.isPresent)
            for page in [0, run.pageCount / 2, run.pageCount - 1] {
                let va = run.va &+ page &* run.pageSize &+ 7
                let translation = translate(va, root: GPA(0), format: format, memory: memory)
                var mapping = translation.mapping
                if case .reservedBits(_, _, let reserved) = translation.result { mapping = reserved }
                #expect(mapping?.gpa == run.gpa &+ (run.repeatsPage ? 0 : page &* run.pageSize) &+ 7)
                #expect(mapping?.flags == run.flags)
                #expect((mapping?.pageSize ?? 0) >= run.pageSize)
            }
            // What lies between two runs is not mapped.
            if run.va.rawValue > previousEnd && format.isCanonical(previousEnd) && summary.isComplete {
                let gap = GVA(previousEnd + (run.va.rawValue - previousEnd) / 2)
                if format.isCanonical(gap.rawValue) {
                    #expect(translate(gap, root: GPA(0), format: format, memory: memory).mapping == nil)
                }
            }
            previousEnd = run.lastVA.rawValue &+ 1
        }
        for _ in 0..<200 {
            let va = GVA(format.canonical(random.next()))
            let translation = translate(va, root: GPA(0), format: format, memory: memory)
            let run = collector.runs.first { $0.va <= va && va <= $0.lastVA }
            if let mapping = translation.mapping, summary.isComplete {
                #expect(run?.flags == mapping.flags)
            } else if translation.mapping == nil, let run {
                #expect(run.flags.contains(.reserved))
            }
        }
    }

    /// Noise everywhere: every format's walk ends and stays in its bounds; findings are counted.
    @Test(arguments: formats.indices) func noise(index: Int) {
        let format = Self.formats[index]
        var random = Random(seed: UInt64(index))
        let memory = TestMemory(size: 16 * 4096)
        for place in stride(from: 0, to: memory.bytes.count, by: 8) {
            memory[UInt64(place)] =
                random.next() & 0xffff_0000_0000_0fff | UInt64.random(in: 0..<18, using: &random) << 12
                | (format.entrySize == 4 ? UInt64.random(in: 0..<18, using: &random) << 44 : 0)
        }
        var options = WalkOptions()
        options.revisitLimit = 16
        options.detectsChanges = true
        var collector = RunCollector()
        let summary = walk(root: GPA(0), format: format, memory: memory, options: options, into: &collector)
        #expect(summary.isComplete)
        #expect(summary.tables.count <= 64 * 5)
        #expect(tableChanges(since: summary, format: format, memory: memory).changed == 0)
        for _ in 0..<2000 {
            _ = translate(
                GVA(random.next() >> UInt64.random(in: 0..<64, using: &random)), root: GPA(random.next() & 0xffff),
                format: format, memory: memory)
        }
    }
}

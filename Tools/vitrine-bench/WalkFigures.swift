// Page-table walks and translations inside a process, beside plain C over the same memory.

import Addresses
import Glibc
import GuestMemory
import PageTables

/// 64 GiB mapped in 4 KiB pages: 16.7 million leaves in tables that are all distinct.
struct WalkFigures {
    private static let pages: UInt64 = (64 << 30) >> 12
    private static let leafTables = pages / 512
    /// PML4, PDPT, the page directories, then the page tables.
    private static let root: UInt64 = 0
    private static let directories: UInt64 = 0x2000
    private static let firstLeafTable = directories + leafTables / 512 * 4096
    private static let size = firstLeafTable + leafTables * 4096

    private let floorProgram: String
    private let rounds: Int

    /// - Parameter floorProgram: where `vitrine-bench-floor` is.
    init(floorProgram: String, rounds: Int) {
        self.floorProgram = floorProgram
        self.rounds = rounds
    }

    /// Measures; the rows.
    func measure() -> [Row] {
        do {
            return try regular() + single()
        } catch {
            return [Row(what: "page-table walks", measured: "\(error)", goal: "-", met: false)]
        }
    }

    /// Tables whose leaves follow each other physically.
    private func regular() throws -> [Row] {
        let tables = try Tables(stride: 1)
        var ours = Sample()
        var sum = Sample()
        var plain = Sample()
        for _ in 0..<rounds {
            ours.add(
                best {
                    var consumer = RunChecksum()
                    let summary = walk(
                        root: GPA(Self.root), format: .x86FourLevel(), memory: tables.memory, into: &consumer)
                    guard summary.leaves == Self.pages, consumer.runs == 1 else { stop("the walk missed leaves") }
                })
            sum.add(try reference("sum", tables, [Self.firstLeafTable, Self.leafTables]))
            plain.add(try reference("walk", tables, [Self.root]))
        }
        return try [
            row(
                "walk and merge, 16.7 M regular entries", ours, beside: sum, "sum of the same pages",
                goal: ">= 0.8 x the sum", least: 0.8),
            row("  the same, beside a C walker", ours, beside: plain, "C walker", goal: ">= 2.5 x", least: 2.5),
        ] + translations(tables)
    }

    /// Tables in which no leaf continues the one before.
    private func single() throws -> [Row] {
        let tables = try Tables(stride: 2)
        var ours = Sample()
        var plain = Sample()
        for _ in 0..<rounds {
            ours.add(
                best {
                    var consumer = RunChecksum()
                    let summary = walk(
                        root: GPA(Self.root), format: .x86FourLevel(), memory: tables.memory, into: &consumer)
                    guard summary.leaves == Self.pages, consumer.runs == Self.pages else {
                        stop("the walk missed leaves")
                    }
                })
            plain.add(try reference("walk", tables, [Self.root]))
        }
        let entries = Double(Self.pages)
        let speed = entries / ours.minimum
        return [
            Row(
                what: "every leaf a run of its own, checksummed", measured: millions(speed),
                reference: millions(entries / plain.minimum) + " C walker",
                ratio: fixed(plain.minimum / ours.minimum), goal: ">= 250 M/s", met: speed >= 250e6)
        ]
    }

    /// One translation: of random pages among a few thousand, and of random ones among all, where the tables' own
    /// memory is what takes the time.
    private func translations(_ tables: Tables) throws -> [Row] {
        let near = translate(tables, pages: 4096)
        let far = translate(tables, pages: Self.pages)
        let plain = try reference("translate", tables, [Self.root, Self.pages, UInt64(Self.translations)])
        let each = plain / Double(Self.translations)
        return [
            Row(
                what: "one translation inside a process, 4,096 pages", measured: nanoseconds(near), goal: "<= 100 ns",
                met: near <= 100e-9),
            Row(
                what: "  the same, 16.7 M pages: tables of 128 MiB", measured: nanoseconds(far),
                reference: nanoseconds(each) + " C", ratio: fixed(far / each), goal: "-", met: nil),
        ]
    }

    private static let translations = 1_000_000

    /// Seconds a translation.
    private func translate(_ tables: Tables, pages: UInt64) -> Double {
        let format = PageTableFormat.x86FourLevel()
        var wrong = 0
        let seconds = best {
            var random = Xorshift()
            for _ in 0..<Self.translations {
                let va = random.next() % (pages * 4096)
                let translation = PageTables.translate(
                    GVA(va), root: GPA(Self.root), format: format, memory: tables.memory)
                if translation.mapping?.gpa.rawValue != va { wrong += 1 }
            }
        }
        guard wrong == 0 else { stop("\(wrong) translations were wrong") }
        return seconds / Double(Self.translations)
    }

    private func nanoseconds(_ seconds: Double) -> String { fixed(seconds * 1e9, 1) + " ns" }

    private func row(
        _ what: String, _ ours: Sample, beside theirs: Sample, _ name: String, goal: String, least: Double
    ) -> Row {
        let entries = Double(Self.pages)
        let ratio = theirs.minimum / ours.minimum
        return Row(
            what: what, measured: millions(entries / ours.minimum),
            reference: millions(entries / theirs.minimum) + " " + name, ratio: fixed(ratio), goal: goal,
            met: ratio >= least)
    }

    private func millions(_ speed: Double) -> String { fixed(speed / 1e6, 0) + " M/s" }

    /// The best of five, in seconds of processor time: what is in the way of a round only makes it longer.
    private func best(_ body: () -> Void) -> Double {
        var best = Double.infinity
        for _ in 0..<5 {
            let start = processorTime()
            body()
            best = min(best, processorTime() - start)
        }
        return best
    }

    /// The same memory under plain C, in seconds.
    private func reference(_ what: String, _ tables: Tables, _ numbers: [UInt64]) throws -> Double {
        guard
            let run = run([floorProgram, what, tables.path, "\(Self.size)"] + numbers.map { "\($0)" }),
            run.status == 0,
            let first = String(decoding: run.output, as: UTF8.self).split(separator: " ").first,
            let nanoseconds = Double(first)
        else { stop("\(floorProgram) \(what) does not run") }
        return nanoseconds / 1e9
    }

    /// The tables in a memory file, mapped as an inspector maps a guest's.
    private struct Tables {
        let ram: GuestRAM
        let backing: SlotBacking
        let memory: MappedMemory
        /// How a child process opens the file.
        var path: String { "/proc/\(getpid())/fd/\(backing.descriptor.rawValue)" }

        /// - Parameter stride: how many pages lie between the pages that leaves in a row map.
        init(stride: UInt64) throws {
            ram = try GuestRAM([RAMRange(name: "tables", start: GPA(0), size: WalkFigures.size)])
            let backings = try ram.readOnlyBackings()
            guard let first = backings.first,
                let bytes = ram.hostMemory(at: GPA(0), count: WalkFigures.size)
            else { throw GuestMemoryError.backing("no memory for the tables") }
            backing = first
            memory = try MappedMemory(slots: ram.slots, backings: backings)
            let entries = bytes.bindMemory(to: UInt64.self)
            let flags = X86Bit.present | X86Bit.writable | X86Bit.user | X86Bit.accessed
            entries[0] = 0x1000 | flags
            let directories = WalkFigures.leafTables / 512
            for index in 0..<directories {
                entries[512 + Int(index)] = (WalkFigures.directories + index * 4096) | flags
            }
            for index in 0..<WalkFigures.leafTables {
                entries[Int(WalkFigures.directories / 8 + index)] = (WalkFigures.firstLeafTable + index * 4096) | flags
            }
            for page in 0..<WalkFigures.pages {
                entries[Int(WalkFigures.firstLeafTable / 8 + page)] = (page * stride * 4096) | flags | X86Bit.dirty
            }
        }
    }
}

/// Adds up what it is told, so that nothing can be left out.
private struct RunChecksum: WalkConsumer {
    var runs: UInt64 = 0
    var sum: UInt64 = 0

    @inline(__always) mutating func run(_ run: MappedRun) {
        runs &+= 1
        sum = sum &+ (run.va.rawValue ^ run.gpa.rawValue ^ run.size ^ run.leafBits ^ UInt64(run.flags.rawValue))
    }
}

/// Numbers that are the same in every run (Marsaglia, "Xorshift RNGs", 2003).
private struct Xorshift {
    var state: UInt64 = 0x9e37_79b9_7f4a_7c15

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

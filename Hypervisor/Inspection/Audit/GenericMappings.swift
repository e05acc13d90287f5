// Everything that tables map, for the rules that hold for any system.

import Addresses
import GuestMemory
import PageTables

/// What the rules for any system look at.
struct GenericMappings {
    let subject: Subject
    /// What is mapped, with every permission that any way to it grants. Addresses at which the same is seen again with no
    /// more permissions may be missing.
    private(set) var runs: [MappedRun] = []
    /// What is odd in the tables.
    private(set) var findings: [WalkFinding] = []
    /// Oddities that were not kept.
    private(set) var findingsDropped = 0
    /// Every table, by ascending address, each once.
    private(set) var tables: [GPA] = []
    /// False if there are more tables than are read.
    private(set) var isComplete = true

    /// At most so many tables are read, those read again included: more than a terabyte in 4 KiB pages has.
    static let tableLimit = 1 << 20
    /// At most so many runs are kept (200 MiB).
    static let runLimit = 1 << 22
    /// At most so many tables are read again because another way to them grants something else.
    static let againLimit = 1 << 14

    /// A way to a table that differs from others by what it grants, or by the half of the addresses that it is in.
    private struct Way: Hashable {
        let table: GPA
        let level: Int
        let flags: PageFlags
        let isUpper: Bool
    }

    /// Reads the tables of a subject.
    init(_ subject: Subject, tableLimit: Int = GenericMappings.tableLimit) {
        self.subject = subject
        var left = tableLimit
        var again = 0
        var known: Set<Way> = []
        var places: Set<UInt64> = []
        var waiting: [RepeatedTable] = []
        func read(_ range: ClosedRange<GVA>?, into mappings: inout GenericMappings) {
            var options = WalkOptions()
            options.range = range
            options.ignoredBits = subject.format.volatileBits
            options.tableLimit = left
            // What is reached again by another way is read again below, once for each way that matters.
            options.revisitLimit = 0
            options.findingLimit = 1 << 16
            var collector = SomeRuns(limit: GenericMappings.runLimit - mappings.runs.count)
            let summary = subject.space.walk(in: subject.memory, options: options, into: &collector)
            mappings.runs += collector.runs
            mappings.isComplete = mappings.isComplete && summary.isComplete
            left = max(0, left - summary.tables.count)
            for table in summary.tables { places.insert(table.gpa.rawValue) }
            if range == nil {
                mappings.findings = summary.findings
                mappings.findingsDropped = summary.findingsDropped
            }
            for table in collector.repetitions {
                let way = Way(
                    table: table.table, level: table.level, flags: table.flags, isUpper: table.va.rawValue >> 63 == 1)
                if known.insert(way).inserted { waiting.append(table) }
            }
        }
        read(nil, into: &self)
        while let table = waiting.popLast() {
            again += 1
            guard left > 0, again <= GenericMappings.againLimit else {
                isComplete = false
                break
            }
            read(table.va...(table.va &+ (table.coverage &- 1)), into: &self)
        }
        tables = places.sorted().map { GPA($0) }
    }
}

extension MappedRun {
    /// Ring 3 may write through it.
    var isUserWritable: Bool { flags.isSuperset(of: [.user, .writable]) && !flags.contains(.userReadOnly) }
    /// Ring 3 may execute it.
    var isUserExecutable: Bool { flags.isSuperset(of: [.user, .executable]) && !flags.contains(.noUserExecute) }
    /// The kernel executes it: it may, and ring 3 may not use it at all.
    var isKernelExecutable: Bool {
        flags.contains(.executable) && flags.isDisjoint(with: [.user, .noSupervisorExecute])
    }
}

// Runs that are kept, but not without end: a guest decides how many there are.

import PageTables

/// Keeps runs and repetitions up to a number; a walk with more is incomplete.
struct SomeRuns: WalkConsumer {
    let limit: Int
    var runs: [MappedRun] = []
    var repetitions: [RepeatedTable] = []

    init(limit: Int) { self.limit = limit }

    mutating func run(_ run: MappedRun) { runs.append(run) }
    mutating func repeated(_ table: RepeatedTable) { repetitions.append(table) }
    var isFinished: Bool { runs.count + repetitions.count > limit }
}

import Addresses
import GuestMemory
import PageTables

/// [format][options][2: root][8: an address] and memory: the walk hands out what translations find, and nothing else.
func fuzzWalk(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let (format, entries) = FuzzMemory.formats[Int(input.next(UInt8.self)) % FuzzMemory.formats.count]
    let choices = input.next(UInt8.self)
    let root = GPA(UInt64(input.next(UInt16.self))).alignedDown(to: format.rootAlignment)
    let address = GVA(format.canonical(input.next(UInt64.self)))
    let memory = FuzzMemory(&input, format: format, entries: entries)
    let options = options(choices, around: address)
    var collector = RunCollector()
    let summary = walk(root: root, format: format, memory: memory, options: options, into: &collector)
    precondition(summary.tables.count <= options.tableLimit + 1, "more tables than allowed")
    var previous: GVA?
    for run in collector.runs {
        precondition(run.pageCount > 0, "an empty run")
        // 5-level and nested tables reach to the end of the addresses, 32-bit ones do not.
        if let previous { precondition(run.va > previous, "runs out of order") }
        previous = run.lastVA
        guard run.isPresent else { continue }
        for page in [0, run.pageCount / 2, run.pageCount - 1] {
            check(run, page: page, format: format, root: root, memory: memory)
        }
    }
    let translation = translate(address, root: root, format: format, memory: memory)
    if options.range == nil, options.everyPath, summary.isComplete {
        let run = collector.runs.first { $0.isPresent && $0.va <= address && address <= $0.lastVA }
        precondition(translation.mapping == nil || run != nil, "a translation that the walk does not have")
        if translation.mapping == nil, let run {
            precondition(run.flags.contains(.reserved), "a run that does not translate")
        }
    }
    if options.detectsChanges {
        precondition(tableChanges(since: summary, format: format, memory: memory).changed == 0, "nothing changed")
    }
    let range = GPA(UInt64(choices) << 12)...GPA(UInt64(choices) << 12 | 4095)
    if summary.isComplete && summary.tables.count < 60 {
        _ = aliases(of: range, root: root, format: format, memory: memory, limit: 1000)
    }
}

private func options(_ choices: UInt8, around address: GVA) -> WalkOptions {
    var options = WalkOptions()
    options.everyPath = choices & 1 != 0
    options.detectsChanges = choices & 2 != 0
    if choices & 4 != 0 { options.range = address...GVA(address.rawValue | 0xfff_ffff) }
    if choices & 8 != 0 { options.absentMask = 0x100 }
    options.revisitLimit = choices & 16 != 0 ? 0 : 16
    options.tableLimit = choices & 32 != 0 ? 7 : 100
    options.findingLimit = 50
    return options
}

private func check(_ run: MappedRun, page: UInt64, format: PageTableFormat, root: GPA, memory: FuzzMemory) {
    let va = run.va &+ page &* run.pageSize &+ 7
    let translation = translate(va, root: root, format: format, memory: memory)
    var mapping = translation.mapping
    if case .reservedBits(_, _, let reserved) = translation.result { mapping = reserved }
    guard let mapping else { preconditionFailure("a run that does not translate: \(va)") }
    precondition(mapping.gpa == run.gpa &+ (run.repeatsPage ? 0 : page &* run.pageSize) &+ 7, "another address")
    precondition(mapping.flags == run.flags, "other flags")
    precondition(mapping.pageSize >= run.pageSize, "a smaller page")
}

/// [format][options][2: root][8: an address] and memory, of which a word changes with each page that is read: the walk ends
/// and stays within its bounds.
func fuzzChangingMemory(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let (format, entries) = FuzzMemory.formats[Int(input.next(UInt8.self)) % FuzzMemory.formats.count]
    let choices = input.next(UInt8.self)
    let root = GPA(UInt64(input.next(UInt16.self))).alignedDown(to: format.rootAlignment)
    let address = GVA(format.canonical(input.next(UInt64.self)))
    let memory = FuzzMemory(&input, format: format, entries: entries)
    var records = FuzzInput(bytes)
    memory.onRead = {
        // The same records again and again, each somewhere else.
        if records.isEmpty { records = FuzzInput(bytes) }
        let place = records.next(UInt16.self)
        FuzzMemory.set(place, FuzzMemory.folded(records.next(UInt64.self), place, format))
    }
    let options = options(choices, around: address)
    var collector = RunCollector()
    let summary = walk(root: root, format: format, memory: memory, options: options, into: &collector)
    precondition(summary.tables.count <= options.tableLimit + 1, "more tables than allowed")
    precondition(summary.findings.count <= options.findingLimit, "more findings than allowed")
    _ = translate(address, root: root, format: format, memory: memory)
    _ = tableChanges(since: summary, format: format, memory: memory)
    if summary.tables.count < 60 {
        _ = aliases(of: root...(root &+ 4095), root: root, format: format, memory: memory, limit: 1000)
    }
}

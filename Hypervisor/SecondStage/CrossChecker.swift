// How the comparison of CrossCheck.swift is made.

import Addresses
import Glibc
import GuestMemory
import PageTables
import SystemCalls

/// Compares KVM's tables with what they are made from.
public struct CrossChecker<Memory: PhysicalMemory>: ~Copyable {
    private let vm: KernelVM
    private let slots: SlotTable
    private let memory: Memory
    /// Nil if there is nothing to compare.
    private var frames: PageMapCache?
    private let tables: KernelTables
    private var states: [PagingState?] = []

    /// - Parameters:
    ///   - tables: KVM's tables.
    ///   - slots: the slots in force.
    ///   - memory: guest memory, for the guest's tables (shadow paging).
    public init(
        _ tables: KernelTables, of vm: KernelVM, slots: SlotTable, memory: Memory
    ) throws(SecondStageError) {
        self.vm = vm
        self.tables = tables
        self.slots = slots
        self.memory = memory
        frames =
            tables.mappings.isEmpty
            ? nil
            : try PageMapCache(process: vm.process, tables: HostPageTables(of: vm, directMap: tables.directMap))
    }

    /// Compares every leaf below a root that is in use.
    public mutating func check() throws(SecondStageError) -> CrossCheck {
        var result = CrossCheck()
        try findStates(tables)
        var doubtful: [Int] = []
        for index in tables.mappings.indices {
            let mapping = tables.mappings[index]
            let root = tables.roots[Int(mapping.root)]
            // Shadow roots that no vCPU uses now may be behind: KVM brings them up to date when it takes them up again.
            guard !root.isInvalid, !root.isNestedGuest, root.use == .current || tables.format.isNested else {
                result.skipped += 1
                continue
            }
            result.leaves += 1
            result.pages += Int(mapping.size / 4096)
            if try firstDifference(mapping, mapping.hpa, tables) != nil { doubtful.append(index) }
        }
        guard frames?.seesFrames ?? true || result.leaves == 0 else {
            throw .refused(
                what: "frame numbers in /proc/\(vm.process)/pagemap may not be seen",
                remedy: "run as root or with CAP_SYS_ADMIN, or look at one side: --source kernel")
        }
        try readAgain(doubtful, tables, &result)
        try compareCounts(tables, &result)
        try vm.checkStillThere()
        return result
    }

    /// The registers by which each root translates.
    private mutating func findStates(_ tables: KernelTables) throws(SecondStageError) {
        let vcpus = try vm.vcpus()
        states = tables.roots.map { root in
            guard let vcpu = vcpus.first(where: { root.vcpus.contains($0.id) }) else { return nil }
            var state = vcpu.paging
            if let table = root.guestTable { state.cr3 = table }
            return state
        }
    }

    /// The first page of a leaf that is not where it should be; nil if all are.
    private mutating func firstDifference(
        _ mapping: KernelMapping, _ hpa: HPA, _ tables: KernelTables
    ) throws(SecondStageError) -> Disagreement? {
        func differs(_ offset: UInt64, _ gpa: GPA?, _ computed: HPA?, _ reason: String) -> Disagreement {
            Disagreement(
                mapping: mapping, offset: offset, gpa: gpa, kernel: hpa &+ offset, computed: computed, reason: reason)
        }
        var start = mapping.gpa
        if !tables.format.isNested {
            guard let state = states[Int(mapping.root)] else { return differs(0, nil, nil, "no vCPU uses its root") }
            switch state.mode {
            case .pagingOff: start = GPA(mapping.va.rawValue)
            case .unsupported(let mode): return differs(0, nil, nil, "the guest uses \(mode), which is not known here")
            case .paging(let format, let root):
                let translation = translate(mapping.va, root: root, format: format, memory: memory)
                guard let page = translation.mapping else {
                    return differs(0, nil, nil, "the guest's tables map nothing there")
                }
                start = page.gpa
            }
        }
        for offset in stride(from: 0, to: mapping.size, by: 4096) {
            let gpa = start &+ offset
            guard let hva = slots.hva(of: gpa) else { return differs(offset, gpa, nil, "no slot holds it") }
            guard let computed = try frames?.hpa(of: hva) else {
                return differs(offset, gpa, nil, "the process's page tables have no page there")
            }
            if computed != hpa &+ offset { return differs(offset, gpa, computed, "another host page") }
        }
        return nil
    }

    /// Looks at what disagreed once more, with nothing of the first time.
    private mutating func readAgain(
        _ doubtful: [Int], _ tables: KernelTables, _ result: inout CrossCheck
    ) throws(SecondStageError) {
        guard !doubtful.isEmpty else { return }
        try findStates(tables)
        let entries = try vm.reread(doubtful.map { tables.mappings[$0] }, of: tables)
        let shadow = try vm.tables(listAt: vm.layout.vm.activePages).values
        let behind = Set(shadow.filter(\.isUnsynchronised).map(\.entries))
        frames?.forget()
        memory.refresh()
        for (number, index) in doubtful.enumerated() {
            let mapping = tables.mappings[index]
            guard let entry = entries[number],
                case .leaf(let hpa, _, _) = tables.decoder.decode(entry, level: Int(mapping.level)),
                let difference = try firstDifference(mapping, hpa, tables)
            else {
                result.settled += 1
                continue
            }
            if behind.contains(tables.tables[Int(mapping.table)].entries) {
                result.awaitingFlush += 1
            } else {
                result.disagreements.append(difference)
            }
        }
    }

    /// Compares the number of leaves with what KVM counts. Both change while the guest runs: only what differs each time,
    /// with KVM's number standing still, is a disagreement.
    private func compareCounts(_ tables: KernelTables, _ result: inout CrossCheck) throws(SecondStageError) {
        var tables = tables
        for attempt in 0..<8 {
            result.counted = tables.leaves
            result.statistics = tables.statistics.last
            guard let first = tables.statistics.first, let last = tables.statistics.last else { return }
            if first == tables.leaves || last == tables.leaves {
                result.statistics = tables.leaves
                return
            }
            if first != last || tables.vanishedTables > 0 || tables.removedEntries > 0 { result.countsMoved = true }
            guard attempt < 7 else { return }
            usleep(2000)
            tables = try vm.tables()
        }
    }
}

/// Entries of a process's page map, read in pieces of 2 MiB and kept.
struct PageMapCache: ~Copyable {
    /// Where the entries come from: /proc/PID/pagemap if it shows frames, else the process's tables in the kernel's memory.
    private enum Source: ~Copyable {
        case pageMap(PageMapFile)
        case tables(HostPageTables)
    }

    private let process: Int32
    private let source: Source
    private var chunks: [UInt64: Int] = [:]
    private var entries: [UInt64] = []
    private var lastChunk: UInt64 = .max
    private var lastStart = 0
    private(set) var seesFrames = false

    init(process: Int32, tables: HostPageTables? = nil) throws(SecondStageError) {
        self.process = process
        do throws(Errno) {
            let pageMap = try PageMapFile(process: process)
            if let tables, !SecondStageAbilities.seesFrames {
                source = .tables(tables)
            } else {
                source = .pageMap(pageMap)
            }
        } catch {
            guard let tables else { throw SecondStageError.reading(process: process, error) }
            source = .tables(tables)
        }
    }

    /// The host physical address of a page; nil if there is none, or it may not be seen.
    mutating func hpa(of hva: HVA) throws(SecondStageError) -> HPA? {
        let chunk = hva.rawValue >> 21
        if chunk != lastChunk {
            lastStart = try start(of: chunk)
            lastChunk = chunk
        }
        let entry = PageMapEntry(entries[lastStart + Int(hva.rawValue >> 12 & 511)])
        guard let frame = entry.frame else { return nil }
        seesFrames = true
        return HPA(frame << 12 | hva.rawValue & 4095)
    }

    private mutating func start(of chunk: UInt64) throws(SecondStageError) -> Int {
        if let known = chunks[chunk] { return known }
        let start = entries.count
        entries.append(contentsOf: repeatElement(0, count: 512))
        switch source {
        case .tables(let tables): entries.replaceSubrange(start..<start + 512, with: try tables.chunk(chunk).entries)
        case .pageMap(let pageMap):
            do throws(Errno) {
                try entries.withUnsafeMutableBufferPointer { buffer throws(Errno) in
                    let part = UnsafeMutableBufferPointer(rebasing: buffer[start..<start + 512])
                    _ = try pageMap.entries(from: chunk << 21, into: part)
                }
            } catch {
                throw SecondStageError.reading(process: process, error)
            }
        }
        chunks[chunk] = start
        return start
    }

    /// The next look reads anew.
    mutating func forget() {
        chunks.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
        lastChunk = .max
    }
}

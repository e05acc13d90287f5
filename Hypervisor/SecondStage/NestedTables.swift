// Copying the tables that are found by physical address: those of nested paging, and the small roots of shadow paging.

import Addresses

extension KernelVM {
    /// Copies the tables below the roots of the TDP MMU, level by level.
    func copyNested(
        _ roots: [KernelTable], base: UInt64, decoder: SecondStageDecoder, into snapshot: inout TableSnapshot
    ) throws(SecondStageError) {
        let first = snapshot.tables.count
        snapshot.nestedTables = first..<first
        var known = Set(roots.map(\.entries))
        var level = roots
        var inner: [Int] = []
        while !level.isEmpty {
            let start = snapshot.tables.count
            try copy(level, into: &snapshot)
            level = []
            for table in start..<snapshot.tables.count {
                let parent = snapshot.tables[table]
                guard parent.level > 1 else { continue }
                inner.append(table)
                for index in 0..<512 {
                    guard case .table(let hpa) = decoder.decode(snapshot.entry(table, index), level: parent.level),
                        known.insert(base &+ hpa.rawValue).inserted
                    else { continue }
                    level.append(parent.child(at: base &+ hpa.rawValue, index: index))
                }
            }
            guard known.count <= Self.mostTables else {
                throw .missing("this VM has more than \(Self.mostTables) second-stage tables: more than are read here")
            }
        }
        snapshot.nestedTables = first..<snapshot.tables.count
        try dropChanged(inner, base: base, decoder: decoder, in: &snapshot)
    }

    /// A table that was unlinked while those below it were copied may hold anything by then: reads the links again, and
    /// leaves out what is behind those that changed.
    private func dropChanged(
        _ inner: [Int], base: UInt64, decoder: SecondStageDecoder, in snapshot: inout TableSnapshot
    ) throws(SecondStageError) {
        var again = TableSnapshot()
        try copy(inner.map { snapshot.tables[$0] }, into: &again)
        var byAddress: [UInt64: Int] = [:]
        for table in snapshot.nestedTables { byAddress[snapshot.tables[table].entries] = table }
        for (number, table) in inner.enumerated() {
            let level = snapshot.tables[table].level
            for index in 0..<512 {
                guard case .table(let hpa) = decoder.decode(snapshot.entry(table, index), level: level) else {
                    continue
                }
                if case .table(hpa) = decoder.decode(again.entry(number, index), level: level) { continue }
                snapshot.entries[table * 512 + index] = 0
                if let child = byAddress[base &+ hpa.rawValue] { snapshot.empty(child) }
            }
        }
    }

    /// Copies the roots that are no tables of KVM's lists: the four entries for guests with PAE or 32-bit paging.
    func copySpecialRoots(
        of vcpus: [KernelVCPU], base: UInt64, into snapshot: inout TableSnapshot
    ) throws(SecondStageError) {
        for vcpu in vcpus where vcpu.paeRoot != 0 {
            guard let root = vcpu.root, vcpu.paeRoot &- root.hpa.rawValue == base,
                !snapshot.tables.contains(where: { $0.entries == vcpu.paeRoot })
            else { continue }
            let table = snapshot.tables.count
            try copy([KernelTable(entries: vcpu.paeRoot, level: 3, role: vcpu.role, rootCount: 1)], into: &snapshot)
            // Four entries of 8 bytes (Intel SDM volume 3, "PAE Paging"); the rest of the page is something else.
            for index in 4..<512 { snapshot.entries[table * 512 + index] = 0 }
            snapshot.specialTables.insert(table)
        }
    }

    /// The base of the direct map: what is added to a host physical address to read it. Nil if nothing needs it.
    func directMap(
        of snapshot: TableSnapshot, nestedRoots: [KernelTable], vcpus: [KernelVCPU], decoder: SecondStageDecoder
    ) throws(SecondStageError) -> UInt64? {
        let addresses = Set(snapshot.tables.map(\.entries) + nestedRoots.map(\.entries))
        guard !addresses.isEmpty else { return nil }
        var physical = vcpus.flatMap { [$0.root].compactMap { $0 } + $0.previousRoots }.map(\.hpa.rawValue)
        search: for (table, description) in snapshot.tables.enumerated() where description.level > 1 {
            for index in 0..<512 {
                if case .table(let hpa) = decoder.decode(snapshot.entry(table, index), level: description.level) {
                    physical.append(hpa.rawValue)
                }
                if physical.count > 64 { break search }
            }
        }
        // The base is a multiple of 1 GiB (arch/x86/mm/kaslr.c): address and physical address end in the same 30 bits.
        let mask: UInt64 = (1 << 30) - 1
        var byLowBits: [UInt64: [UInt64]] = [:]
        for address in addresses { byLowBits[address & mask, default: []].append(address) }
        for vcpu in vcpus where vcpu.paeRoot != 0 { byLowBits[vcpu.paeRoot & mask, default: []].append(vcpu.paeRoot) }
        var votes: [UInt64: Int] = [:]
        for hpa in Set(physical) {
            for address in byLowBits[hpa & mask] ?? [] where address > hpa { votes[address &- hpa, default: 0] += 1 }
        }
        if let best = votes.max(by: { ($0.value, $0.key) < ($1.value, $1.key) }) { return best.key }
        if let base = try KernelSymbols.directMapBase(memory) { return base }
        return try guessedDirectMap(nestedRoots, decoder: decoder)
    }

    /// The two bases without KASLR (Documentation/arch/x86/x86_64/mm.rst), if one of them leads from a root to what looks like
    /// a table.
    private func guessedDirectMap(
        _ roots: [KernelTable], decoder: SecondStageDecoder
    ) throws(SecondStageError) -> UInt64? {
        var snapshot = TableSnapshot()
        try copy(roots, into: &snapshot)
        for base: UInt64 in [0xffff_8880_0000_0000, 0xff11_0000_0000_0000] {
            for table in roots.indices {
                for index in 0..<512 {
                    let level = roots[table].level
                    guard case .table(let hpa) = decoder.decode(snapshot.entry(table, index), level: level) else {
                        continue
                    }
                    var below = TableSnapshot()
                    try copy([roots[table].child(at: base &+ hpa.rawValue, index: index)], into: &below)
                    let entries = below.entries.map { decoder.decode($0, level: level - 1) }
                    if entries.contains(where: { $0 != .empty }), !entries.contains(.unknown) { return base }
                }
            }
        }
        return nil
    }
}

extension KernelTable {
    /// The table that entry `index` of a direct table refers to.
    func child(at address: UInt64, index: Int) -> KernelTable {
        KernelTable(
            entries: address, level: level - 1, role: role, rootCount: 0,
            firstFrame: firstFrame &+ UInt64(index) << UInt64(9 * (level - 1)), isInvalid: isInvalid,
            isNestedGuest: isNestedGuest, isSystemManagement: isSystemManagement)
    }

    /// A direct table.
    init(
        entries: UInt64, level: Int, role: UInt32, rootCount: Int, firstFrame: UInt64 = 0, isInvalid: Bool = false,
        isNestedGuest: Bool = false, isSystemManagement: Bool = false
    ) {
        self.entries = entries
        self.level = level
        self.firstFrame = firstFrame
        isDirect = true
        self.isInvalid = isInvalid
        isUnsynchronised = false
        self.isNestedGuest = isNestedGuest
        self.isSystemManagement = isSystemManagement
        noHugePage = false
        self.rootCount = rootCount
        translation = 0
        self.role = role
    }
}

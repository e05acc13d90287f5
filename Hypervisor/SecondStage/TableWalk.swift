// From copies of KVM's tables to the leaves below each root.

import Addresses

/// Walks copied tables.
struct TableWalk {
    private let snapshot: TableSnapshot
    private let decoder: SecondStageDecoder
    private let isShifted: Bool
    /// Tables by host physical address.
    private var byAddress: [UInt64: Int] = [:]
    private var roots: [KernelTableRoot] = []
    private var mappings: [KernelMapping] = []
    private var leaves = LeafCounts()
    private var mmioEntries = 0
    private var removedEntries = 0
    private let base: UInt64?
    /// The most leaves that are listed: a shadow table can be reached on many ways.
    private static let mostMappings = 64 << 20

    /// - Parameters:
    ///   - base: the direct map's base; nil if there are no tables.
    ///   - isShifted: frames of indirect tables have 12 bits of rights below them.
    init(snapshot: TableSnapshot, decoder: SecondStageDecoder, base: UInt64?, isShifted: Bool) {
        self.snapshot = snapshot
        self.decoder = decoder
        self.base = base
        self.isShifted = isShifted
        guard let base else { return }
        byAddress.reserveCapacity(snapshot.tables.count)
        for (index, table) in snapshot.tables.enumerated() { byAddress[table.entries &- base] = index }
    }

    /// What was found.
    func result(statistics: [LeafCounts]) -> KernelTables {
        KernelTables(
            format: decoder.format, roots: roots, mappings: mappings, tables: snapshot.tables, leaves: leaves,
            statistics: statistics, mmioEntries: mmioEntries, removedEntries: removedEntries,
            vanishedTables: snapshot.vanished, decoder: decoder, directMap: base)
    }

    /// Walks from every root: those of the vCPUs, then those that they used before, then others of nested paging.
    mutating func addRoots(of vcpus: [KernelVCPU]) {
        guard let base else { return }
        // Most leaves are found once.
        mappings.reserveCapacity(min(leaves.total, Self.mostMappings))
        var seen: Set<KernelRoot> = []
        for use in [KernelTableRoot.Use.current, .previous] {
            for vcpu in vcpus {
                for root in use == .current ? [vcpu.root].compactMap({ $0 }) : vcpu.previousRoots {
                    guard let table = byAddress[root.hpa.rawValue], seen.insert(root).inserted else { continue }
                    let users = vcpus.filter { use == .current ? $0.root == root : $0.previousRoots.contains(root) }
                    add(table, hpa: root.hpa, use: use, vcpus: users.map(\.id), guestTable: root.guestTable)
                }
            }
        }
        let used = Set(seen.map(\.hpa.rawValue))
        for table in snapshot.nestedTables where snapshot.tables[table].rootCount > 0 || isRoot(table) {
            let hpa = snapshot.tables[table].entries &- base
            if !used.contains(hpa) { add(table, hpa: HPA(hpa), use: .kept, vcpus: [], guestTable: 0) }
        }
    }

    /// The roots of nested paging were copied first, and nothing else has their level.
    private func isRoot(_ table: Int) -> Bool {
        snapshot.tables[table].level == snapshot.tables[snapshot.nestedTables.lowerBound].level
    }

    private mutating func add(_ table: Int, hpa: HPA, use: KernelTableRoot.Use, vcpus: [Int], guestTable: UInt64) {
        guard roots.count < Int(UInt16.max) else { return }
        let description = snapshot.tables[table]
        roots.append(
            KernelTableRoot(
                hpa: hpa, level: description.level, use: use, vcpus: vcpus,
                guestTable: decoder.format == .shadow ? guestTable : nil, isInvalid: description.isInvalid,
                isSystemManagement: description.isSystemManagement, isNestedGuest: description.isNestedGuest))
        visit(table, level: description.level, position: 0, grants: .all)
    }

    /// The rights that the levels above leave.
    private struct Grants {
        var bits: UInt64
        static let all = Grants(bits: 7)
    }

    /// Readable, writable, and executable (EPT) or user, as bits 0-2 of an entry; bit 3: not executable.
    private func narrowed(_ grants: Grants, by entry: UInt64) -> Grants {
        var bits = grants.bits & (entry | ~7)
        if decoder.format != .ept, entry >> 63 != 0 { bits |= 8 }
        return Grants(bits: bits)
    }

    private mutating func visit(_ table: Int, level: Int, position: UInt64, grants: Grants) {
        let description = snapshot.tables[table]
        let isSpecial = snapshot.specialTables.contains(table)
        let shift = UInt64(12 + 9 * (level - 1))
        let framesStart = snapshot.framesStart[table]
        let rootLevel = roots[roots.count - 1].level
        for index in 0..<512 {
            let entry = snapshot.entries[table * 512 + index]
            if entry == 0 || entry == SecondStageDecoder.emptyBit { continue }
            let here = position &+ UInt64(index) << shift
            if isSpecial {
                // In use by bit 0, and nothing but an address otherwise.
                guard entry & 1 != 0, let child = byAddress[entry & SecondStageDecoder.address] else { continue }
                visit(child, level: snapshot.tables[child].level, position: here, grants: grants)
                continue
            }
            switch decoder.decode(entry, level: level) {
            case .table(let hpa):
                guard level > 1, let child = byAddress[hpa.rawValue], snapshot.tables[child].level == level - 1 else {
                    continue
                }
                visit(child, level: level - 1, position: here, grants: narrowed(grants, by: entry))
            case .leaf(_, let flags, _):
                guard mappings.count < Self.mostMappings else { return }
                // With nested paging the position says it all; KVM's note of it is for shadow tables.
                var frame = here >> 12
                if !decoder.format.isNested { frame = description.firstFrame &+ UInt64(index) << (shift &- 12) }
                if framesStart >= 0 {
                    frame = snapshot.frames[framesStart + index]
                    if isShifted { frame >>= 12 }
                }
                mappings.append(
                    KernelMapping(
                        gpa: GPA(frame << 12), va: GVA(decoder.format == .shadow ? canonical(here, rootLevel) : 0),
                        entry: entry, flags: effective(flags, grants), table: Int32(table), index: UInt16(index),
                        level: UInt8(level), root: UInt16(roots.count - 1)))
            default: continue
            }
        }
    }

    private func effective(_ flags: SecondStageFlags, _ grants: Grants) -> SecondStageFlags {
        var flags = flags
        if grants.bits & 2 == 0 { flags.remove(.writable) }
        if decoder.format == .ept {
            if grants.bits & 1 == 0 { flags.remove(.readable) }
            if grants.bits & 4 == 0 { flags.remove(.executable) }
        } else {
            if grants.bits & 4 == 0 { flags.remove(.user) }
            if grants.bits & 8 != 0 { flags.remove(.executable) }
        }
        return flags
    }

    /// A guest virtual address with the bits above those that the root's level translates made canonical.
    private func canonical(_ address: UInt64, _ rootLevel: Int) -> UInt64 {
        guard rootLevel >= 4 else { return address }
        let unused = UInt64(64 - (12 + 9 * rootLevel))
        return UInt64(bitPattern: Int64(bitPattern: address << unused) >> Int64(unused))
    }

    /// Counts the leaves of every table once, whether a root leads to it or not, as KVM does.
    mutating func countLeaves() {
        for (table, description) in snapshot.tables.enumerated() where !snapshot.specialTables.contains(table) {
            for index in 0..<512 {
                let entry = snapshot.entries[table * 512 + index]
                if entry == 0 || entry == SecondStageDecoder.emptyBit { continue }
                switch decoder.decode(entry, level: description.level) {
                case .leaf:
                    switch description.level {
                    case 1: leaves.pages4K += 1
                    case 2: leaves.pages2M += 1
                    default: leaves.pages1G += 1
                    }
                case .mmio: mmioEntries += 1
                case .removed: removedEntries += 1
                default: continue
                }
            }
        }
    }
}

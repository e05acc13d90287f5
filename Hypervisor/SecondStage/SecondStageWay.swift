// One address through KVM's own tables.

import Addresses

/// The entries of KVM's tables on the way to one page.
public struct SecondStageWay: Sendable {
    /// An entry on the way.
    public struct Step: Sendable {
        /// Its level: 1 maps 4 KiB.
        public let level: Int
        /// Its place in its table.
        public let index: Int
        /// Where it is.
        public let at: HPA
        /// What it holds.
        public let value: UInt64
        /// What that means.
        public let meaning: SecondStageEntry
    }

    /// The tables' format.
    public let format: SecondStageFormat
    /// The entries, the root's first.
    public let steps: [Step]
    /// The page and the byte in it; nil if nothing is mapped there (yet).
    public let hpa: HPA?
}

extension KernelVM {
    /// Follows an address through the tables that a vCPU uses now.
    ///
    /// - Parameters:
    ///   - va: the guest virtual address: what shadow tables translate.
    ///   - gpa: the guest physical address: what nested tables translate.
    /// - Returns: nil if the vCPU has no tables now: it has not run since the slots last changed.
    public func way(to va: GVA, gpa: GPA, vcpu number: Int) throws(SecondStageError) -> SecondStageWay? {
        let vcpus = try vcpus()
        guard vcpus.indices.contains(number), let root = vcpus[number].root else { return nil }
        var nestedRoots: [KernelTable] = []
        if let offset = layout.vm.tdpRoots { nestedRoots = Array(try tables(listAt: offset).values) }
        let format = format(usesNestedRoots: !nestedRoots.isEmpty, vcpus: vcpus)
        let decoder = SecondStageDecoder(format: format, mmioValue: try word(layout.vm.mmioValue))
        // The direct map's base is a multiple of 1 GiB: the root is among the tables whose address ends like its own.
        let low: UInt64 = (1 << 30) - 1
        let alike = try tables(listAt: layout.vm.activePages).values.filter {
            ($0.entries ^ root.hpa.rawValue) & low == 0
        }
        var candidates = TableSnapshot()
        try copy(Array(alike), into: &candidates)
        guard
            let base = try directMap(of: candidates, nestedRoots: nestedRoots, vcpus: vcpus, decoder: decoder)
        else { return nil }
        let isSpecial = vcpus[number].paeRoot == base &+ root.hpa.rawValue
        let table = (Array(alike) + nestedRoots).first { $0.entries == base &+ root.hpa.rawValue }
        guard var level = isSpecial ? 3 : table?.level else { return nil }
        let position = format.isNested ? gpa.rawValue : va.rawValue
        var steps: [SecondStageWay.Step] = []
        var at = root.hpa
        while level > 0 {
            let index = position >> UInt64(12 + 9 * (level - 1)) & 511
            let place = at &+ index * 8
            guard let value = try memory.words([base &+ place.rawValue])[0] else { break }
            var meaning = decoder.decode(value, level: level)
            if isSpecial, steps.isEmpty {
                meaning = value & 1 != 0 ? .table(HPA(value & SecondStageDecoder.address)) : .empty
            }
            steps.append(
                SecondStageWay.Step(level: level, index: Int(index), at: place, value: value, meaning: meaning))
            switch meaning {
            case .table(let next):
                at = next
                level -= 1
            case .leaf(let hpa, _, _):
                let offset = position & (SecondStageDecoder.pageSize(level: level) &- 1)
                return SecondStageWay(format: format, steps: steps, hpa: hpa &+ offset)
            default: return SecondStageWay(format: format, steps: steps, hpa: nil)
            }
        }
        return SecondStageWay(format: format, steps: steps, hpa: nil)
    }
}

extension SecondStageEntry {
    /// What an entry means, in words.
    public var text: String {
        switch self {
        case .empty: return "empty"
        case .table: return "table"
        case .leaf(_, let flags, let memory):
            return "page, \(flags.letters)" + (memory == .pat(index: 0) ? "" : ", \(memory.text)")
        case .mmio: return "MMIO"
        case .removed: return "being changed"
        case .unknown: return "not in use"
        }
    }
}

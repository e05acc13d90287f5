// Aliases that differ in their address alone, in few lines.

import Addresses
import PageTables

/// Virtual addresses of the same bytes with the same permissions.
public struct AliasGroup: Sendable {
    /// The addresses.
    public let pattern: AddressPattern
    /// The physical address behind each.
    public let gpa: GPA
    /// Bytes reached from there on.
    public let size: UInt64
    /// The size of the pages.
    public let pageSize: UInt64
    /// Effective permissions.
    public let flags: PageFlags
    /// The regions that the addresses lie in, without those that have no name.
    public let regions: [String]

    /// The regions in a few words.
    var regionText: String {
        guard !regions.isEmpty else { return "-" }
        return regions.count <= 3
            ? regions.joined(separator: ", ") : "\(regions[0]), \(regions[1]) and \(regions.count - 2) more"
    }
}

extension Aliases {
    /// What makes two aliases go together.
    private struct Kind: Hashable {
        let gpa: GPA
        let size: UInt64
        let pageSize: UInt64
        let flags: PageFlags
    }

    /// The same aliases in groups, by ascending physical address, then by the first virtual one.
    ///
    /// - Parameter region: the name of the region that holds an address.
    func groups(named region: (GVA) -> String?) -> [AliasGroup] {
        var byKind: [Kind: [Alias]] = [:]
        for alias in aliases {
            byKind[Kind(gpa: alias.gpa, size: alias.size, pageSize: alias.pageSize, flags: alias.flags), default: []]
                .append(alias)
        }
        var groups: [AliasGroup] = []
        for (kind, members) in byKind {
            for pattern in AddressPattern.covering(members.map { ($0.va, $0.stride, $0.count) }) {
                groups.append(
                    AliasGroup(
                        pattern: pattern, gpa: kind.gpa, size: kind.size, pageSize: kind.pageSize, flags: kind.flags,
                        regions: AliasGroup.regions(of: pattern, named: region)))
            }
        }
        return groups.sorted {
            ($0.gpa, $0.pattern.first, $0.size, $0.flags.rawValue) < (
                $1.gpa, $1.pattern.first, $1.size, $1.flags.rawValue
            )
        }
    }
}

extension AliasGroup {
    /// Of so many addresses of a pattern the regions are looked up.
    private static let lookups: UInt64 = 4096

    /// The regions of a pattern's addresses in the order in which they come; of a long pattern those of its beginning and end.
    fileprivate static func regions(of pattern: AddressPattern, named region: (GVA) -> String?) -> [String] {
        var names: [String] = []
        func look(_ address: GVA) {
            if let name = region(address), !names.contains(name) { names.append(name) }
        }
        if pattern.isPlain && pattern.repetitions > lookups {
            look(pattern.first)
            look(pattern.first &+ (pattern.repetitions / 2) &* pattern.stride)
            look(pattern.first &+ (pattern.repetitions &- 1) &* pattern.stride)
            return names
        }
        var left = lookups
        pattern.forEach { address in
            look(address)
            left -= 1
            return left > 0
        }
        return names
    }
}

extension Subject {
    /// The physical ranges behind virtual addresses, by ascending address, those that touch as one.
    public func physicalRanges(behind range: ClosedRange<GVA>) -> [ClosedRange<GPA>] {
        var found: [ClosedRange<GPA>] = []
        for run in runs(in: range).collector.runs where run.isPresent {
            // Leaves that touch the range come whole.
            let first = max(run.va, range.lowerBound)
            let last = min(run.lastVA, range.upperBound)
            guard first <= last else { continue }
            found.append(
                run.repeatsPage
                    ? run.gpa...run.lastGPA : (run.gpa &+ (first &- run.va))...(run.gpa &+ (last &- run.va)))
        }
        var merged: [ClosedRange<GPA>] = []
        for next in found.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, next.lowerBound <= last.upperBound || next.lowerBound == last.upperBound &+ 1 {
                merged[merged.count - 1] = last.lowerBound...max(last.upperBound, next.upperBound)
            } else {
                merged.append(next)
            }
        }
        return merged
    }
}

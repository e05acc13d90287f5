// Rules that hold for any system. Here: every entry leads to memory, as a whole. GenericPermissionRules.swift has what may
// be written, executed and used by whom.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// The rules for any system, on what the tables map.
struct GenericRules {
    /// What the rules are called.
    enum Name {
        static let readInFull = "tables, all read"
        static let tablesInRAM = "tables, in RAM"
        static let loops = "tables, loops"
        static let reservedBits = "reserved bits"
        static let leavesInMemory = "leaves, outside memory"
        static let largePages = "leaves, large pages"
        static let userWX = "W+X, user mode"
        static let kernelWX = "W+X, kernel"
        static let userAliases = "W^X over aliases, user mode"
        static let kernelAliases = "W^X over aliases, kernel"
        static let userInKernelHalf = "kernel half, user mode"
        static let kernelText = "Linux, text and rodata"
        static let tablesForUser = "tables, user mode"
        static let tablesElsewhere = "tables, kernel"
    }

    let mappings: GenericMappings
    private let types: PageAttributeTable
    var subject: Subject { mappings.subject }
    var format: PageTableFormat { subject.format }

    /// Reads the tables.
    ///
    /// - Parameter types: the guest's PAT.
    init(_ subject: Subject, types: PageAttributeTable, tableLimit: Int = GenericMappings.tableLimit) {
        mappings = GenericMappings(subject, tableLimit: tableLimit)
        self.types = types
    }

    /// Every rule, in the order of the report.
    func results() -> [AuditResult] {
        [
            readInFull, tablesInRAM, loops, reservedBits, leavesInMemory, largePages, userWX, kernelWX, userAliases,
            kernelAliases, userInKernelHalf, kernelText, tablesForUser, tablesElsewhere,
        ]
    }

    private var readInFull: AuditResult {
        AuditResult(Name.readInFull, expected: "at most \(grouped(GenericMappings.tableLimit)) tables") {
            mappings.isComplete
                ? .right("\(counted(mappings.tables.count, "table")), \(counted(mappings.runs.count, "range"))")
                : .wrong(
                    "more tables, or tables that refer to each other in more ways; the other rules saw a part of them")
        }
    }

    /// A rule that no entry of a kind is there.
    private func without(
        _ kind: WalkFinding.Kind, _ rule: String, expected: String, nothing: String,
        unless isMeant: (WalkFinding) -> Bool = { _ in false }
    ) -> AuditResult {
        AuditResult(rule, expected: expected) {
            let found = mappings.findings.filter { $0.kind == kind && !isMeant($0) }
            guard found.isEmpty else {
                let first = found.prefix(AuditExamples.limit).map { finding in
                    "\(format.tableName(level: finding.level)) entry at \(finding.at.hex) = \(GPA(finding.value).hex), "
                        + "VA \(finding.va.hex)"
                }
                let more = found.count - first.count
                return .wrong(
                    "\(counted(found.count, "entry", "entries")): " + first.joined(separator: "; ")
                        + (more > 0 ? "; and \(grouped(more)) more" : ""))
            }
            return mappings.findingsDropped == 0
                ? .right(nothing) : .wrong("\(counted(mappings.findingsDropped, "oddity", "oddities")) not looked at")
        }
    }

    private var tablesInRAM: AuditResult {
        without(
            .tableOutsideRAM, Name.tablesInRAM, expected: "every entry that refers to a table refers to RAM",
            nothing: "so does every entry")
    }

    private var loops: AuditResult {
        let selfMaps = mappings.findings.filter { $0.kind == .selfMap }
        let nothing =
            selfMaps.isEmpty
            ? "none" : "none but \(counted(selfMaps.count, "recursive entry", "recursive entries")) of the root"
        return without(
            .loop, Name.loops, expected: "no table refers to one above it, but the root to itself",
            nothing: nothing)
    }

    private var reservedBits: AuditResult {
        without(
            .reservedBits, Name.reservedBits, expected: "no bit is set that must be 0", nothing: "none is set",
            unless: { subject.layout?.meaning(of: $0.value) != nil })
    }

    private var leavesInMemory: AuditResult {
        AuditResult(
            Name.leavesInMemory, expected: "what no memory slot holds is not mapped write-back, above 1 MiB"
        ) { found in
            guard isX86 else { return .notApplicable("memory types of \(format.name) tables are not looked at") }
            for run in mappings.runs where types.type(of: run.flags) == .writeBack {
                for piece in subject.slots.gaps(in: run.gpa...run.lastGPA) {
                    // Below it the fixed-range MTRRs decide (Intel SDM volume 3, "Fixed Range MTRRs").
                    let first = max(piece.lowerBound, GPA(1 << 20))
                    guard first <= piece.upperBound else { continue }
                    let size = (piece.upperBound &- first) &+ 1
                    found.add(
                        AuditExample(va: run.va &+ (first &- run.gpa), size: size, gpa: first, flags: run.flags),
                        size: size)
                }
            }
            return found.finding("nothing is")
        }
    }

    private var largePages: AuditResult {
        AuditResult(
            Name.largePages, expected: "each lies in RAM as a whole, or outside as a whole"
        ) { found in
            var count: UInt64 = 0
            let borders = subject.slots.borders
            for run in mappings.runs where run.pageShift > smallestPageShift {
                count = count &+ run.pageCount
                var last: UInt64?
                for border in borders.inside(run.gpa...run.lastGPA) {
                    let page = border & ~(run.pageSize &- 1)
                    guard border != page, page != last else { continue }
                    last = page
                    found.add(
                        AuditExample(
                            va: run.va &+ (page &- run.gpa.rawValue), size: run.pageSize, gpa: GPA(page),
                            flags: run.flags), size: run.pageSize)
                }
            }
            guard count > 0 else { return .notApplicable("there are none") }
            return found.finding("so it is with \(counted(count, "page"))")
        }
    }

    var isX86: Bool { format.grantMask == X86Bit.writable | X86Bit.user }
    private var smallestPageShift: UInt8 { format.levels.first?.leaf?.pageShift ?? 12 }
}

extension SlotTable {
    /// The pieces of a range that no slot holds and that are no known device's.
    func gaps(in range: ClosedRange<GPA>) -> [ClosedRange<GPA>] {
        var gaps: [ClosedRange<GPA>] = []
        var at = range.lowerBound
        while true {
            let (kind, last) = backing(of: at)
            let end = min(last, range.upperBound)
            if kind == .unbacked { gaps.append(at...end) }
            guard end < range.upperBound else { return gaps }
            at = end &+ 1
        }
    }

    /// Where RAM begins and where it ends: the first address of each, by ascending address.
    var borders: [UInt64] {
        var borders: [UInt64] = []
        for slot in slots {
            let first = slot.guestPhysicalAddress.rawValue
            if borders.last == first { borders.removeLast() } else { borders.append(first) }
            borders.append(first &+ slot.size)
        }
        return borders
    }
}

extension [UInt64] {
    /// Those of ascending numbers that lie in a range.
    fileprivate func inside(_ range: ClosedRange<GPA>) -> ArraySlice<UInt64> {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < range.lowerBound.rawValue { low = middle + 1 } else { high = middle }
        }
        var end = low
        while end < count && self[end] <= range.upperBound.rawValue { end += 1 }
        return self[low..<end]
    }
}

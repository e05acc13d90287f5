// Rules that hold for any system: what is writable is not executed, user mode stays out of the kernel's half and of the
// tables, and every entry leads to memory. Each is one pass over runs sorted by physical address.

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

    private let mappings: GenericMappings
    private let types: PageAttributeTable
    private var subject: Subject { mappings.subject }
    private var format: PageTableFormat { subject.format }

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

    // MARK: Entries

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

    // MARK: Writable and executable

    /// Why rules about execution say nothing; nil if they do.
    private var noExecuteMissing: String? {
        let rule = format.flagRules.first { $0.flag == .executable }
        return rule?.rule.mask == 0 ? "\(format.name) entries cannot forbid execution" : nil
    }

    private func writableAndExecutable(
        _ rule: String, expected: String, where isMeant: (MappedRun) -> Bool
    ) -> AuditResult {
        AuditResult(rule, expected: expected) { found in
            if let noExecuteMissing { return .notApplicable(noExecuteMissing) }
            for run in mappings.runs where isMeant(run) { found.add(run) }
            return found.finding("none is")
        }
    }

    private var userWX: AuditResult {
        writableAndExecutable(Name.userWX, expected: "no page is writable and executable for user mode at one address")
        { $0.isUserWritable && $0.isUserExecutable }
    }

    private var kernelWX: AuditResult {
        writableAndExecutable(
            Name.kernelWX, expected: "no page of the kernel is writable and executable at one address"
        ) { $0.isKernelExecutable && $0.flags.contains(.writable) }
    }

    /// A rule that memory executed at one address is not written at another.
    private func aliases(
        _ rule: String, expected: String, executed: (MappedRun) -> Bool, written: (MappedRun) -> Bool
    ) -> AuditResult {
        AuditResult(rule, expected: expected) { found in
            if let noExecuteMissing { return .notApplicable(noExecuteMissing) }
            let code = PhysicalCover(mappings.runs, where: executed)
            for both in code.intersection(PhysicalCover(mappings.runs, where: written)) {
                found.add(both.first, both.last, of: mappings.runs[both.mine], also: mappings.runs[both.others])
            }
            return found.finding(code.pieces.isEmpty ? "nothing is executable" : "none is")
        }
    }

    private var userAliases: AuditResult {
        aliases(
            Name.userAliases,
            expected: "no page that user mode may execute is writable for user mode at another address",
            executed: { $0.isUserExecutable && !$0.isUserWritable },
            written: { $0.isUserWritable && !$0.isUserExecutable })
    }

    private var kernelAliases: AuditResult {
        aliases(
            Name.kernelAliases, expected: "no page that the kernel executes is writable at another address",
            executed: { $0.isKernelExecutable && !$0.flags.contains(.writable) },
            written: { $0.flags.contains(.writable) && !$0.isKernelExecutable })
    }

    private var kernelText: AuditResult {
        AuditResult(
            Name.kernelText, expected: "the image's text and read-only data are writable nowhere"
        ) { found in
            guard let linux = subject.linux, let text = linux.region("kernel text") else {
                return .notApplicable("no Linux was found in these tables")
            }
            let distance = linux.imageBase.rawValue &- linux.imagePhysicalBase.rawValue
            let written = PhysicalCover(mappings.runs) { $0.flags.contains(.writable) }
            var protected: UInt64 = 0
            for region in [text, linux.region("kernel rodata")].compactMap({ $0 }) {
                let own: PageFlags = region == text ? [.readable, .executable] : .readable
                protected = protected &+ ((region.last &- region.first) &+ 1)
                let (first, last) = (region.first.rawValue &- distance, region.last.rawValue &- distance)
                for piece in written.pieces where piece.first <= last && piece.last >= first {
                    let run = mappings.runs[piece.run]
                    let from = max(piece.first, first)
                    found.add(
                        AuditExample(
                            va: run.va &+ (from &- run.gpa.rawValue), size: min(piece.last, last) &- from &+ 1,
                            gpa: GPA(from), flags: run.flags, other: (GVA(from &+ distance), own)),
                        size: min(piece.last, last) &- from &+ 1)
                }
            }
            return found.finding("\(roundSize(protected)) of text and read-only data, none of it writable")
        }
    }

    // MARK: Who may use what

    private var isX86: Bool { format.grantMask == X86Bit.writable | X86Bit.user }
    private var smallestPageShift: UInt8 { format.levels.first?.leaf?.pageShift ?? 12 }

    private var userInKernelHalf: AuditResult {
        AuditResult(Name.userInKernelHalf, expected: "user mode may use nothing in the upper half") { found in
            guard format.signExtended else { return .notApplicable("\(format.name) addresses have no halves") }
            var hasVsyscall = false
            let vsyscall = LinuxMemoryMap.vsyscall.range
            for run in mappings.runs where run.va.rawValue >> 63 == 1 && run.flags.contains(.user) {
                // Linux emulates the calls of the page that programs of 2012 and before jump to; it is never writable.
                if subject.linux != nil, vsyscall.contains(run.va), vsyscall.contains(run.lastVA),
                    !run.flags.contains(.writable)
                {
                    hasVsyscall = true
                    continue
                }
                found.add(run)
            }
            return found.finding(
                hasVsyscall ? "nothing but the vsyscall page at \(vsyscall.lowerBound.hex)" : "nothing")
        }
    }

    private var tablesForUser: AuditResult {
        AuditResult(Name.tablesForUser, expected: "user mode can write to no page table") { found in
            let writable = PhysicalCover(mappings.runs, where: \.isUserWritable)
            let readable = PhysicalCover(mappings.runs) { $0.flags.contains(.user) }
            var seen = 0
            for table in mappings.tables {
                if readable.run(at: table.rawValue) != nil { seen += 1 }
                guard let index = writable.run(at: table.rawValue) else { continue }
                let run = mappings.runs[index]
                found.add(
                    AuditExample(va: run.va &+ (table &- run.gpa), size: 4096, gpa: table, flags: run.flags),
                    size: 4096)
            }
            return found.finding(
                seen == 0 ? "none is mapped for it" : "\(counted(seen, "table")) it can read, none it can write")
        }
    }

    /// No fault, but worth knowing: where the kernel can change tables besides its map of all memory.
    private var tablesElsewhere: AuditResult {
        AuditResult(
            Name.tablesElsewhere,
            expected: "for information: page tables writable outside the direct map and recursive entries"
        ) { found in
            let selfMaps = mappings.findings.filter { $0.kind == .selfMap }.map(\.va)
            let slot = format.levels.last?.coverage ?? 0
            let direct = subject.linux?.region("direct map")
            let elsewhere = PhysicalCover(mappings.runs) { run in
                run.flags.contains(.writable) && !run.flags.contains(.user)
                    && !(direct.map { $0.first <= run.va && run.va <= $0.last } ?? false)
                    && !selfMaps.contains { run.va &- $0 < slot }
            }
            for table in mappings.tables {
                guard let index = elsewhere.run(at: table.rawValue) else { continue }
                let run = mappings.runs[index]
                found.add(
                    AuditExample(va: run.va &+ (table &- run.gpa), size: 4096, gpa: table, flags: run.flags),
                    size: 4096)
            }
            guard found.count > 0 else { return .right("none") }
            let first = found.kept.first.map { ", the first at \($0.va.hex)" } ?? ""
            return .right("\(grouped(found.count)) of \(counted(mappings.tables.count, "table"))\(first)")
        }
    }
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

// Rules for any system about permissions: what is writable is not executed, at whatever address, and user mode stays out of
// the kernel's half and of the tables. Each is one pass over runs sorted by physical address.
//
// The kernel's map of all memory makes user mode's text writable for the kernel: that is so in every system that has one, and
// no fault. So user mode and the kernel are looked at apart.

import Addresses
import GuestMemory
import PageTables

extension GenericRules {
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

    var userWX: AuditResult {
        writableAndExecutable(Name.userWX, expected: "no page is writable and executable for user mode at one address")
        { $0.isUserWritable && $0.isUserExecutable }
    }

    var kernelWX: AuditResult {
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

    var userAliases: AuditResult {
        aliases(
            Name.userAliases,
            expected: "no page that user mode may execute is writable for user mode at another address",
            executed: { $0.isUserExecutable && !$0.isUserWritable },
            written: { $0.isUserWritable && !$0.isUserExecutable })
    }

    var kernelAliases: AuditResult {
        aliases(
            Name.kernelAliases, expected: "no page that the kernel executes is writable at another address",
            executed: { $0.isKernelExecutable && !$0.flags.contains(.writable) },
            written: { $0.flags.contains(.writable) && !$0.isKernelExecutable })
    }

    var kernelText: AuditResult {
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

    var userInKernelHalf: AuditResult {
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

    var tablesForUser: AuditResult {
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
    var tablesElsewhere: AuditResult {
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

// The rules of osc, the current design, and of other layouts with a root a process, about roots: what all of them share, and what none shares with another.

import Addresses
import GuestMemory
import Layouts
import PageTables
import SystemCalls

/// Rules about the roots of processes.
struct OSCProcessRules<Guest: AuditGuest> {
    let guest: Guest
    /// The entry of the upper half that each root has of its own, if there is one.
    var ownEntry: Int?
    /// The layout's numbers: where a process ends.
    var plan = KernelPlan.osc
    /// A process that is not looked at.
    var except: UInt64?

    /// Those that hold wherever a process has a root of its own.
    func common() -> [AuditResult] { [lowerHalf, leafBits, tablesInArena, loads] }

    /// Every rule.
    func results() -> [AuditResult] { [upperHalf, lowerHalf, regions, leafBits, tablesInArena, lateMappings, loads] }

    /// Those that hold in every layout with a root a process and the kernel in the upper half.
    func shared() -> [AuditResult] { roots() + [lateMappings] }

    /// Those of them that map nothing.
    func roots() -> [AuditResult] { [upperHalf, lowerHalf, tablesInArena, loads] }

    typealias Processes = [ProcessGuest<Guest>]

    func rule(
        _ name: String, expected: String, _ body: @escaping (Processes) throws -> AuditFinding
    ) -> AuditResult {
        AuditResult(name, expected: expected) {
            let processes = try guest.processes().filter { $0.number != except }
            guard !processes.isEmpty else { return .notApplicable("no process runs; start one with --program") }
            return try body(processes)
        }
    }

    /// The entries of the upper half, the accessed bit aside: the processor sets it in one root and not in another.
    private func kernelHalf(_ subject: Subject) throws -> [UInt64] {
        var entries = try subject.rootEntries().map { $0 & ~X86Bit.accessed }
        if let ownEntry { entries[ownEntry] = 0 }
        return Array(entries[Int(OSC.firstKernelEntry)...])
    }

    private func difference(_ processes: Processes) throws -> String? {
        let kernel = try kernelHalf(KernelRoot(guest).subject)
        for process in processes {
            let own = try kernelHalf(process.subject)
            if let index = own.indices.first(where: { own[$0] != kernel[$0] }) {
                return "PML4[\(256 + index)] of process \(process.number) is \(GPA(own[index]).hex), the kernel's "
                    + GPA(kernel[index]).hex
            }
        }
        return nil
    }

    var upperHalf: AuditResult {
        let but = ownEntry.map { " but [\($0)]" } ?? ""
        return rule("roots, upper half", expected: "PML4[256...511]\(but) equal in all roots") { processes in
            if let difference = try difference(processes) { return .wrong(difference) }
            return .right("equal in the kernel's root and \(counted(processes.count, "process", "processes"))")
        }
    }

    var lowerHalf: AuditResult {
        rule(
            "roots, lower half",
            expected: "no table of a process's part belongs to two roots, and no page can be written through two"
        ) { processes in
            var tables: [GPA: UInt64] = [:]
            var pages: [GPA: UInt64] = [:]
            for process in processes {
                let found = try process.subject.audited(GVA(0)...GVA(plan.vmaEnd - 1))
                for table in found.summary.tables {
                    if let other = tables.updateValue(process.number, forKey: table.gpa), other != process.number {
                        return .wrong(
                            "the table at \(table.gpa.hex) belongs to processes \(other) and \(process.number)")
                    }
                }
                for run in found.collector.runs where run.isPresent && run.flags.contains(.writable) {
                    for page in stride(from: run.gpa.rawValue, through: run.lastGPA.rawValue, by: 4096) {
                        if let other = pages.updateValue(process.number, forKey: GPA(page)), other != process.number {
                            return .wrong("processes \(other) and \(process.number) both write \(GPA(page).hex)")
                        }
                    }
                }
            }
            return .right(
                "\(counted(tables.count, "table")) and \(counted(pages.count, "writable page")) of one process each")
        }
    }

    private var regions: AuditResult {
        rule("processes, regions", expected: "every leaf of a process below the kernel's half lies in a region") {
            processes in
            var leaves: UInt64 = 0
            for process in processes {
                for run in try process.subject.audited(GVA(0)...GVA(OSv.areasBase - 1)).collector.runs {
                    let last = run.va &+ (run.size &- 1)
                    guard let region = Layout.osc.region(of: run.va), region.contains(last) else {
                        return .wrong(
                            "process \(process.number): \(run.va.hex)-\(last.hex) is mapped to \(run.gpa.hex)")
                    }
                    leaves += run.pageCount
                }
            }
            return .right("\(counted(leaves, "leaf", "leaves")), in program and mmap")
        }
    }

    private var leafBits: AuditResult {
        rule("processes, leaf bits", expected: "leaves of processes are for the user, and none is global") {
            processes in
            for process in processes {
                for run in try process.subject.audited(GVA(0)...GVA(plan.vmaEnd - 1)).collector.runs
                where run.isPresent {
                    guard run.flags.contains(.user), !run.flags.contains(.global) else {
                        return .wrong("process \(process.number): \(run.va.hex) has \(run.flags.columns)")
                    }
                }
            }
            return .right("so it is in \(counted(processes.count, "process", "processes"))")
        }
    }

    var tablesInArena: AuditResult {
        rule("processes, page tables", expected: "every table of every process lies in the slot 'arena'") { processes in
            guard let arena = guest.subject.slots.slots.first(where: { $0.name == "arena" }) else {
                return .wrong("there is no slot 'arena'")
            }
            var count = 0
            for process in processes {
                let tables = try process.subject.audited(GVA(0)...GVA(plan.vmaEnd - 1)).summary.tables
                for table in tables where arena.hva(of: table.gpa) == nil {
                    return .wrong("process \(process.number) has a table at \(table.gpa.hex)")
                }
                count += tables.count
            }
            return .right("\(counted(count, "table"))")
        }
    }

    /// What the kernel maps after processes exist reaches all of them, and what it unmaps is gone in all.
    private var lateMappings: AuditResult {
        rule(
            "late kernel mappings",
            expected:
                "a block of debug, mapped while processes exist, is in every root, and gone from every root when freed"
        ) { processes in
            let line = "debug-alloc 4096"
            let answer = try guest.first(line)
            let va = GVA(try guest.number("va", in: answer, of: line))
            let pa = GPA(try guest.number("pa", in: answer, of: line))
            let freed = Cleanup { try guest.run("free \(va.hex)") }
            defer { freed.now() }
            for process in processes {
                let found = process.subject.translate(va).mapping?.gpa
                guard found == pa else {
                    return .wrong(
                        "in process \(process.number) \(va.hex) leads to \(found?.hex ?? "nothing"), not \(pa.hex)")
                }
            }
            try freed.orThrow()
            for process in processes where process.subject.translate(va).mapping != nil {
                return .wrong("freed, \(va.hex) is still mapped in process \(process.number)")
            }
            return .right("\(va.hex) in \(counted(processes.count, "process", "processes")), and gone again")
        }
    }

    /// Threads change on every command; CR3 does not where the address space stays the same.
    var loads: AuditResult {
        rule("CR3 only when it differs", expected: "threads of one root follow each other and CR3 is not loaded") {
            processes in
            let first = try guest.first("stats")
            var last = first
            func count(_ key: String) throws -> UInt64 {
                try guest.count(key, in: last, of: "stats") - guest.count(key, in: first, of: "stats")
            }
            // A command that comes at once after the one before finds the same thread still there, and one that comes while
            // processes are busy finds one of them: until two commands had nothing between them but that the monitor's thread
            // waited and went on, with the same root.
            var isTelling = false
            for round in 0..<40 where round < 5 || !isTelling {
                if round >= 5 { sleepThread(milliseconds: 20) }
                let (switches, changes) = (try count("switches"), try count("root-changes"))
                last = try guest.first("stats")
                isTelling = try count("switches") >= switches + 2 && count("root-changes") == changes
            }
            let (switches, loads) = (try count("switches"), try count("root-loads"))
            let changes = try count("root-changes")
            guard switches > 0 else { return .wrong("no thread was switched to in 40 commands") }
            guard loads == changes else {
                return .wrong("\(loads) loads of CR3 for \(changes) changes of the root in \(switches) switches")
            }
            return .right("\(switches) switches of threads, \(changes) changes of the root, \(loads) loads of CR3")
        }
    }
}

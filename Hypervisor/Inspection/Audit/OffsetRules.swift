// The rules of osc's initial design: processes are offsets in one address space.

import Addresses
import GuestMemory
import Layouts
import PageTables
import SystemCalls

/// Rules about processes that are offsets. What a process itself does is looked at in those that run the program `offsets`.
struct OffsetRules<Guest: AuditGuest> {
    let guest: Guest

    /// Every rule.
    func results() -> [AuditResult] { [oneRoot, offsets, own, through, refused] }

    private struct Process {
        let number: UInt64
        let base: UInt64
        let root: UInt64
        let isOffsets: Bool
    }

    private func rule(
        _ name: String, expected: String, onlyOffsets: Bool = false,
        _ body: @escaping ([Process]) throws -> AuditFinding
    ) -> AuditResult {
        AuditResult(name, expected: expected) {
            guard var processes = try running() else { return .wrong("the kernel does not answer 'ps'") }
            if onlyOffsets {
                // A program that was just started has something to do first.
                var patience = 100
                while patience > 0, !processes.filter(\.isOffsets).allSatisfy(hasTried) {
                    sleepThread(milliseconds: 50)
                    patience -= 1
                    processes = try running() ?? []
                }
                processes.removeAll { !$0.isOffsets }
            }
            guard !processes.isEmpty else {
                return .notApplicable(
                    "no process runs \(onlyOffsets ? "offsets" : ""); start one with --program offsets")
            }
            return try body(processes)
        }
    }

    /// The processes that run; nil if the kernel does not say.
    private func running() throws -> [Process]? {
        guard case .lines(let lines) = try guest.command("ps") else { return nil }
        return try lines.filter { $0["state"] == "running" }.map { line in
            Process(
                number: try guest.count("program", in: line, of: "ps"),
                base: try guest.number("base", in: line, of: "ps"),
                root: try guest.number("root", in: line, of: "ps"),
                isOffsets: line["name"]?.hasPrefix("offsets") == true)
        }
    }

    /// Whether a process has written down how its accesses ended: the last that it does.
    private func hasTried(_ process: Process) -> Bool {
        ((try? guest.subject.word(at: process.base + (5 << 30) + 8)) ?? 0) > 0
    }

    private var oneRoot: AuditResult {
        rule("one root", expected: "every process uses the kernel's root, which the vCPU has loaded") { processes in
            let kernel = KernelRoot(guest).subject.root
            for process in processes where process.root != kernel.rawValue {
                return .wrong("process \(process.number) has \(GPA(process.root).hex), the kernel \(kernel.hex)")
            }
            guard guest.subject.root == kernel else {
                return .wrong("the vCPU has \(guest.subject.root.hex), the kernel \(kernel.hex)")
            }
            return .right("\(kernel.hex) for \(counted(processes.count, "process", "processes"))")
        }
    }

    private var offsets: AuditResult {
        rule("offsets", expected: "OFF0 is \(GVA(OSCInitial.firstOffset).hex), OFF(i+1) = OFFi + SIZE") { _ in
            // Places are given out in order, and that of a process that ended is not used again.
            guard case .lines(let lines) = try guest.command("programs") else {
                return .wrong("the kernel does not answer 'programs'")
            }
            let bases = try lines.filter { $0["state"] != "refused" }.map {
                try guest.number("base", in: $0, of: "programs")
            }.sorted()
            for (index, base) in bases.enumerated() where base != OSCInitial.offset(UInt64(index)) {
                return .wrong("OFF\(index) is \(GVA(base).hex), not \(GVA(OSCInitial.offset(UInt64(index))).hex)")
            }
            return .right(bases.map { GVA($0).hex }.joined(separator: ", "))
        }
    }

    private var own: AuditResult {
        rule(
            "processes, memory",
            expected: "whatever is mapped of a process lies in [OFFi, OFFi + SIZE), and there is some"
        ) { processes in
            guard case .lines(let lines) = try guest.command("vmas") else {
                return .wrong("the kernel does not answer 'vmas'")
            }
            let bases = Set(processes.map(\.base))
            var seen: Set<UInt64> = []
            for line in lines where line["owner"].flatMap({ Int64($0) }) ?? -1 >= 0 {
                let ends = (line["vma"] ?? "").split(separator: "-").compactMap { parseHexadecimal($0) }
                guard ends.count == 2, let owner = line["owner"].flatMap({ UInt64($0) }) else {
                    return .wrong("a mapping at \(line["vma"] ?? "no address")")
                }
                guard let process = processes.first(where: { $0.number == owner }) else { continue }
                guard ends[0] >= process.base, ends[1] <= process.base + OSCInitial.size else {
                    return .wrong("process \(owner), at \(GVA(process.base).hex), has \(line["vma"] ?? "")")
                }
                seen.insert(process.base)
            }
            guard seen == bases else { return .wrong("of \(bases.count - seen.count) processes nothing is mapped") }
            return .right("so it is for \(counted(processes.count, "process", "processes"))")
        }
    }

    private var through: AuditResult {
        rule(
            "access through GS", expected: "what process i writes at 4 GiB is at OFFi + 4 GiB, in a page of its own",
            onlyOffsets: true
        ) { processes in
            var pages: Set<GPA> = []
            for process in processes {
                let va = process.base + (1 << 32)
                let found = try guest.subject.word(at: va)
                guard found == 0x4f46_4653_4554_0000 | process.number else {
                    return .wrong("process \(process.number): at \(GVA(va).hex) is \(GPA(found).hex)")
                }
                if let gpa = guest.subject.translate(GVA(va)).mapping?.gpa, !pages.insert(gpa).inserted {
                    return .wrong("two processes have \(gpa.hex) there")
                }
            }
            return .right("the mark of \(counted(processes.count, "process", "processes")), each in its own page")
        }
    }

    private var refused: AuditResult {
        rule("access at SIZE", expected: "an access at SIZE or above is refused", onlyOffsets: true) { processes in
            for process in processes {
                let va = process.base + (5 << 30)
                let (refused, tried) = (try guest.subject.word(at: va), try guest.subject.word(at: va + 8))
                guard tried > 0, refused == tried else {
                    return .wrong("process \(process.number): \(refused) of \(tried) were refused")
                }
            }
            return .right("all of those that \(counted(processes.count, "process", "processes")) tried")
        }
    }
}

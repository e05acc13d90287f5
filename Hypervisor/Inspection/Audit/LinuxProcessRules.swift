// The linux layout's rules about processes: guard, text, data, gap, heap, mapping segment, gap, stack, gap, arguments, end.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules about where the parts of a process lie and how they grow.
struct LinuxProcessRules<Guest: AuditGuest> {
    let guest: Guest

    private typealias Process = LinuxProcess<Guest>

    /// Every rule.
    func results() -> [AuditResult] {
        [
            nullGuard, order, textAndData, gaps, heap, mappings, stack, stackGuard,
            arguments, end, leafBits,
        ]
    }

    /// A rule that holds for each process; what it found of the last.
    func rule(
        _ name: String, expected: String, _ body: @escaping (LinuxProcess<Guest>) throws -> AuditFinding
    ) -> AuditResult {
        AuditResult(name, expected: expected) {
            var finding = AuditFinding.notApplicable("no process runs; start one with --program")
            for process in try guest.processes() {
                finding = try body(try LinuxProcess(process))
                if case .wrong(let text) = finding { return .wrong("process \(process.number): \(text)") }
            }
            return finding
        }
    }

    private var nullGuard: AuditResult {
        rule("guard at 0", expected: "nothing is mapped below \(GVA(Linux.lowestAddress).hex), nor can be") { process in
            let last = Linux.lowestAddress - 1
            if let run = try process.subject.audited(GVA(0)...GVA(last)).collector.runs.first {
                return .wrong("\(run.va.hex) is mapped to \(run.gpa.hex)")
            }
            for page in [0x1000, last & ~4095] {
                guard try process.refuses("map 4096 rw at \(GVA(page).hex)") else {
                    try process.process.run("unmap \(GVA(page).hex) 4096")
                    return .wrong("a page was mapped at \(GVA(page).hex)")
                }
            }
            guard try process.refuses("touch 0x0") else { return .wrong("a touch of address 0 does not fault") }
            return .right("nothing mapped, a mapping refused, a touch faults")
        }
    }

    private var order: AuditResult {
        rule(
            "order of segments",
            expected:
                "text, data, heap, mapping segment, stack, arguments by ascending address; no mapping between them"
        ) { process in
            let names =
                ["code", "code-end", "data", "data-end", "break-start", "break", "mapping-top", "stack-lowest"]
                + ["stack-pointer", "stack-end", "arguments", "environment", "environment-end"]
            let values = try names.map { try process.bound($0) }
            for index in values.indices.dropFirst() where values[index] < values[index - 1] {
                return .wrong("\(names[index]) is \(GVA(values[index]).hex), \(names[index - 1]) above it")
            }
            let heap = try process.bound("break-start")
            let top = try process.bound("mapping-top")
            let lowest = try process.bound("stack-lowest")
            let end = try process.bound("stack-end")
            for vma in process.vmas {
                let isRight: Bool
                switch vma.kind {
                case "program": isRight = vma.end <= heap
                case "heap": isRight = vma.start == heap
                case "stack": isRight = vma.start >= lowest && vma.end == end
                case "arguments": isRight = vma.start >= end && vma.end == Linux.userEnd
                default: isRight = vma.start >= heap && vma.end <= top
                }
                guard isRight else { return .wrong("\(vma.kind) at \(GVA(vma.start).hex)-\(GVA(vma.end).hex)") }
            }
            return .right("\(counted(process.vmas.count, "mapping")), \(GVA(values[0]).hex) to \(GVA(end).hex)")
        }
    }

    private var textAndData: AuditResult {
        rule(
            "text and data", expected: "text can be executed and not written, data written and not executed, none both"
        ) { process in
            let program = process.vmas("program")
            let (code, data) = (try process.bound("code"), try process.bound("data"))
            for vma in program where vma.permissions.contains("w") && vma.permissions.contains("x") {
                return .wrong("\(GVA(vma.start).hex) may be written and executed")
            }
            func permissions(_ va: UInt64) -> String? { program.first { $0.start <= va && va < $0.end }?.permissions }
            guard permissions(code) == "rx" else { return .wrong("text is \(permissions(code) ?? "not mapped")") }
            // Where the program took the right to write from what it relocates, data begins with that.
            guard ["rw", "r"].contains(permissions(data)) else {
                return .wrong("data is \(permissions(data) ?? "none")")
            }
            guard let text = process.subject.translate(GVA(code)).mapping, text.flags.contains(.executable),
                !text.flags.contains(.writable)
            else { return .wrong("the leaf of \(GVA(code).hex) says otherwise") }
            return .right("text at \(GVA(code).hex), data at \(GVA(data).hex)")
        }
    }

    /// The distances follow from the seed, which the kernel tells, and the process's number.
    private var gaps: AuditResult {
        rule(
            "random gaps",
            expected: "gaps between data and heap, mappings and stack, stack and arguments, as the seed says"
        ) { process in
            guard case .lines(let lines) = try guest.command("ps"),
                let line = lines.first(where: { $0["program"] == "\(process.number)" })
            else { return .wrong("the kernel does not answer 'ps'") }
            guard line["parent"] == "-1" else { return .right("those of its parent") }
            var numbers = Linux.Random(seed: try process.bound("seed"), process: process.number)
            let wanted = Linux.Gaps(&numbers)
            let base = try guest.number("base", in: line, of: "ps")
            let text = base == 0 ? wanted.text : (base - Linux.programBase) >> 12
            let stackEnd = try process.bound("stack-end")
            let found = [
                text, (try process.bound("break-start") &- process.programEnd) >> 12,
                (try process.bound("stack-lowest") &- Linux.stackGuard &- (try process.bound("mapping-top"))) >> 12,
                ((process.vmas("arguments").first?.start ?? 0) &- stackEnd) >> 12,
            ]
            let all = [wanted.text, wanted.heap, wanted.mapping, wanted.stack]
            guard found == all else { return .wrong("\(found) pages, the seed says \(all)") }
            return .right("\(found[1]), \(found[2]) and \(found[3]) pages")
        }
    }

    /// The heap; it is the same in every layout with a break.
    var heap: AuditResult {
        rule(
            "heap",
            expected: "it begins where the break began, grows up by brk, gets pages on touch, and shrinking frees them"
        ) { process in
            func brk(_ value: UInt64) throws -> UInt64 {
                let line = value == 0 ? "brk" : "brk \(GVA(value).hex)"
                return try process.process.number("break", in: try process.process.first(line), of: line)
            }
            let old = try brk(0)
            let (from, to) = ((old + 4095) & ~4095, (old + 4095) & ~4095 + 0x4000)
            let undone = Cleanup { _ = try brk(old) }
            defer { undone.now() }
            guard try brk(to) == to else { return .wrong("the break does not move from \(GVA(old).hex)") }
            let grown = try LinuxProcess(process.process).vmas("heap")
            guard grown.first?.start == (try process.bound("break-start")), grown.last?.end == to else {
                return .wrong("the heap's mapping is not there")
            }
            let range = GVA(from)...GVA(to - 1)
            guard try process.subject.audited(range).summary.leaves == 0 else { return .wrong("mapped untouched") }
            _ = try process.process.first("touch \(GVA(from + 0x1000).hex) 0x55")
            let runs = try process.subject.audited(range).collector.runs
            guard runs.count == 1, runs[0].va == GVA(from + 0x1000), runs[0].size == 4096 else {
                return .wrong("a touch brought \(counted(runs.count, "range"))")
            }
            // Out of range: it stays.
            guard try brk(OSv.areasBase) == to else { return .wrong("a break in the kernel's half is taken") }
            guard try brk(old) == old else { return .wrong("the break does not move back") }
            guard try process.subject.audited(range).summary.leaves == 0 else {
                return .wrong("not freed by shrinking")
            }
            try undone.orThrow()
            return .right("from \(GVA(from).hex) to \(GVA(to).hex) and back")
        }
    }

    private var mappings: AuditResult {
        rule("mapping segment", expected: "each new mapping lies below the one before it, all below the top") {
            process in
            let top = try process.bound("mapping-top")
            var starts: [UInt64] = []
            var undo: [Cleanup] = []
            defer { undo.forEach { $0.now() } }
            for _ in 0..<3 {
                let line = "map 0x3000 rw"
                let va = try process.process.number("va", in: try process.process.first(line), of: line)
                undo.append(Cleanup { try process.process.run("unmap \(GVA(va).hex) 0x3000") })
                starts.append(va)
            }
            guard starts[0] < top, starts[1] == starts[0] - 0x3000, starts[2] == starts[1] - 0x3000 else {
                return .wrong(starts.map { GVA($0).hex }.joined(separator: ", then ") + ", top \(GVA(top).hex)")
            }
            for cleanup in undo { try cleanup.orThrow() }
            return .right(starts.map { GVA($0).hex }.joined(separator: ", "))
        }
    }

    private var stack: AuditResult {
        rule("stack", expected: "a touch below its mapping makes it grow down; its pages come so, user, writable, NX") {
            process in
            guard let before = process.vmas("stack").first else { return .wrong("there is none") }
            let lowest = try process.bound("stack-lowest")
            guard before.end == (try process.bound("stack-end")), before.end - lowest == Linux.stackLimit else {
                return .wrong("at \(GVA(before.start).hex)-\(GVA(before.end).hex)")
            }
            let target = before.start > lowest + 0x8000 ? before.start - 0x8000 : before.start
            guard try !process.refuses("touch \(GVA(target).hex) 1") else {
                return .wrong("\(GVA(target).hex) is refused, the stack begins at \(GVA(before.start).hex)")
            }
            let after = try LinuxProcess(process.process).vmas("stack").first
            guard after?.start == target & ~4095 else { return .wrong("it begins at \(GVA(after?.start ?? 0).hex)") }
            let runs = try process.subject.audited(GVA(lowest)...GVA(before.end - 1)).collector.runs
            for run in runs where run.flags.contains(.executable) || !run.flags.contains([.user, .writable]) {
                return .wrong("\(run.va.hex) has the permissions \(run.flags.columns)")
            }
            guard process.subject.translate(GVA(target + 0x1000)).mapping == nil || target == before.start else {
                return .wrong("pages came that were not touched")
            }
            return .right("from \(GVA(before.start).hex) to \(GVA(target).hex)")
        }
    }

    private var stackGuard: AuditResult {
        rule(
            "stack guard",
            expected: "1 MiB below what the stack may grow to: nothing mapped, a touch faults, a mapping is refused"
        ) { process in
            let lowest = try process.bound("stack-lowest")
            let bottom = lowest - Linux.stackGuard
            if let run = try process.subject.audited(GVA(bottom)...GVA(lowest - 1)).collector.runs.first {
                return .wrong("\(run.va.hex) is mapped")
            }
            guard try process.refuses("touch \(GVA(lowest - 4096).hex) 1") else {
                return .wrong("a touch does not fault")
            }
            for page in [bottom, lowest - 4096] {
                guard try process.refuses("map 4096 rw at \(GVA(page).hex)") else {
                    try process.process.run("unmap \(GVA(page).hex) 4096")
                    return .wrong("a page was mapped at \(GVA(page).hex)")
                }
            }
            return .right("\(GVA(bottom).hex)-\(GVA(lowest - 1).hex)")
        }
    }

    private var arguments: AuditResult {
        rule("arguments", expected: LinuxArguments<Guest>.expected) { try LinuxArguments(process: $0).finding() }
    }

    private var end: AuditResult {
        rule("end of the user half", expected: "arguments end at \(GVA(Linux.userEnd).hex); the page above is a guard")
        {
            process in
            guard let arguments = process.vmas("arguments").last, arguments.end == Linux.userEnd else {
                return .wrong("the last mapping ends elsewhere")
            }
            if let run = try process.subject.audited(GVA(Linux.userEnd)...GVA(0x7fff_ffff_ffff)).collector.runs.first {
                return .wrong("\(run.va.hex) is mapped to \(run.gpa.hex)")
            }
            guard try process.refuses("map 4096 rw at \(GVA(Linux.userEnd).hex)") else {
                return .wrong("a page was mapped at \(GVA(Linux.userEnd).hex)")
            }
            return .right("nothing mapped there, a mapping refused")
        }
    }

    /// Leaves and mappings agree; so they do in every layout with processes.
    var leafBits: AuditResult {
        rule(
            "processes, leaf bits",
            expected:
                "every leaf of a process lies in one of its mappings, is for the user, not global, allows no more than it"
        ) { process in
            var leaves: UInt64 = 0
            for run in try process.subject.audited(GVA(0)...GVA(Linux.userEnd - 1)).collector.runs where run.isPresent {
                var at = run.va.rawValue
                while at < run.va.rawValue + run.size {
                    guard let vma = process.vmas.first(where: { $0.start <= at && at < $0.end }) else {
                        return .wrong("\(GVA(at).hex) is mapped and in no mapping")
                    }
                    guard run.flags.contains(.user), !run.flags.contains(.global),
                        !run.flags.contains(.writable) || vma.permissions.contains("w"),
                        run.flags.contains(.executable) == vma.permissions.contains("x")
                    else { return .wrong("\(GVA(at).hex) has \(run.flags.columns), its mapping \(vma.permissions)") }
                    at = vma.end
                }
                leaves += run.pageCount
            }
            return leaves > 0 ? .right(counted(leaves, "leaf", "leaves")) : .wrong("nothing is mapped")
        }
    }
}

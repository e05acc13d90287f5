// The rules of resea about tasks: where they have what, and that every page of theirs is the vm server's answer to a message.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules about the tasks of resea. The vm server is task 0: it has every page of the others as well, at VA = PA.
struct ReseaTaskRules<Guest: AuditGuest> {
    let guest: Guest

    private typealias Task = ProcessGuest<Guest>

    private var common: OSCProcessRules<Guest> { OSCProcessRules(guest: guest, plan: .resea, except: 0) }

    /// Every rule.
    func results() -> [AuditResult] {
        [
            common.upperHalf, common.lowerHalf, common.tablesInArena, regions, leafBits, pageZero, onDemand,
            commandLine,
            messages, pool, server,
            // When the tasks have nothing more to do: those that are busy follow each other.
            common.loads,
        ]
    }

    private static var tasksEnd: GVA { GVA(Resea.taskEnd - 1) }

    private var regions: AuditResult {
        common.rule(
            "tasks, regions",
            expected: "every leaf of a task in its region: text and command line not writable, everything else writable"
        ) { tasks in
            var leaves: UInt64 = 0
            for task in tasks {
                for run in try task.subject.audited(GVA(0)...Self.tasksEnd).collector.runs {
                    guard let region = Layout.resea.region(of: run.va), region.contains(run.lastVA) else {
                        return .wrong("task \(task.number): \(run.va.hex) is mapped to \(run.gpa.hex)")
                    }
                    let isWritable = !["text", "cmdline"].contains(region.name)
                    guard run.flags.contains(.writable) == isWritable || region.name == "dynamic" else {
                        return .wrong("task \(task.number): \(run.va.hex), \(region.name), has \(run.flags.columns)")
                    }
                    leaves += run.pageCount
                }
            }
            return .right("\(counted(leaves, "leaf", "leaves")) of \(counted(tasks.count, "task"))")
        }
    }

    private var leafBits: AuditResult {
        common.rule("tasks, leaf bits", expected: "4 KiB, for the user, no NX: bits 0x5 or 0x7") { tasks in
            for task in tasks {
                // A page of the stack at least.
                _ = try task.first("touch \(GVA(Resea.stack.lowerBound).hex)")
                for run in try task.subject.audited(GVA(0)...Self.tasksEnd).collector.runs {
                    let bits = run.leafBits & ~(X86Bit.accessed | X86Bit.dirty)
                    guard run.pageSize == 4096, bits == Resea.taskLeaf || bits == Resea.taskLeafWritable else {
                        return .wrong(
                            "task \(task.number): \(run.va.hex) has a page of \(pageName(run.pageSize)), bits \(GPA(bits).hex)"
                        )
                    }
                }
            }
            return .right("so it is in \(counted(tasks.count, "task"))")
        }
    }

    private var pageZero: AuditResult {
        common.rule("tasks, page 0", expected: "a touch of page 0 is refused, as is one between the regions") { tasks in
            guard let task = tasks.last else { return .notApplicable("no task runs") }
            for va in [0x8, Resea.bootCode, Resea.data.upperBound - 7] {
                guard case .error(let reason) = try task.command("touch \(GVA(va).hex)"), reason.contains("fault")
                else {
                    return .wrong("\(GVA(va).hex) may be touched in task \(task.number)")
                }
            }
            return .right("refused in task \(task.number)")
        }
    }

    /// The counters of the messages.
    private func counters() throws -> (faults: UInt64, pages: UInt64, refusals: UInt64) {
        let line = try guest.first("server")
        return (
            try guest.count("faults", in: line, of: "server"), try guest.count("pages", in: line, of: "server"),
            try guest.count("refusals", in: line, of: "server")
        )
    }

    /// The tasks that touch nothing but their text.
    private func still() throws -> Task {
        guard case .lines(let lines) = try guest.command("ps") else {
            throw AuditTrouble("the kernel does not answer 'ps'")
        }
        let numbers = lines.filter { $0["name"] == "still" && $0["state"] == "running" }.compactMap { $0["program"] }
        guard let task = try guest.processes().last(where: { numbers.contains("\($0.number)") }) else {
            throw AuditTrouble("no task 'still' runs: start the guest without tasks=0")
        }
        return task
    }

    /// A new task `still`, ended again.
    private func withNew(_ body: (Task) throws -> AuditFinding) throws -> AuditFinding {
        let line = "load 2"
        let number = try guest.count("program", in: try guest.first(line), of: line)
        let ended = Cleanup { try guest.run("kill \(number)") }
        defer { ended.now() }
        guard let task = try guest.processes().first(where: { $0.number == number }) else {
            return .wrong("task \(number) was started and does not run")
        }
        let finding = try body(task)
        guard case .right = finding else { return finding }
        try ended.orThrow()
        return finding
    }

    private var onDemand: AuditResult {
        AuditResult(
            "tasks, on demand",
            expected: "command line, data, stack, heap and bss of a new task are absent until touched"
        ) {
            try withNew { task in
                let places = [
                    Resea.commandLine.lowerBound, Resea.data.lowerBound, Resea.stack.lowerBound, Resea.heap.lowerBound,
                    Resea.bss.lowerBound,
                ]
                for va in places where task.subject.translate(GVA(va)).mapping != nil {
                    return .wrong("\(GVA(va).hex) is mapped untouched")
                }
                for va in places {
                    _ = try task.first("touch \(GVA(va).hex)")
                    guard let mapping = task.subject.translate(GVA(va)).mapping, mapping.pageSize == 4096 else {
                        return .wrong("\(GVA(va).hex) is not mapped after a touch")
                    }
                    guard task.subject.translate(GVA(va + 4096)).mapping == nil || va == Resea.commandLine.lowerBound
                    else { return .wrong("the page beside \(GVA(va).hex) is mapped too") }
                }
                return .right("\(counted(places.count, "page")) of task \(task.number), each when it was touched")
            }
        }
    }

    private var commandLine: AuditResult {
        AuditResult("command line", expected: "a task's page at 0x2fff000 has the text that the kernel was given") {
            let line = "server"
            guard let text = try guest.first(line)["argument"] else { return .wrong("'server' has no argument") }
            return try withNew { task in
                _ = try task.first("touch \(GVA(Resea.commandLine.lowerBound).hex)")
                guard let gpa = task.subject.translate(GVA(Resea.commandLine.lowerBound)).mapping?.gpa else {
                    return .wrong("it is not mapped after a touch")
                }
                var bytes = [UInt8](repeating: 0, count: 4096)
                guard bytes.withUnsafeMutableBytes({ task.subject.memory.read(gpa, into: $0) }) else {
                    return .wrong("\(gpa.hex) cannot be read")
                }
                // A word of the answer: up to the first blank.
                let found = String(decoding: bytes.prefix { $0 != 0 && $0 != 0x20 }, as: UTF8.self)
                guard found == text else { return .wrong("'\(found)', not '\(text)'") }
                return .right("'\(found)' at \(gpa.hex)")
            }
        }
    }

    private var messages: AuditResult {
        AuditResult(
            "faults by messages", expected: "a touch is one message and one page more, one that is refused no page"
        ) {
            let task = try still()
            // A place in its heap that was not touched yet.
            guard
                let va = stride(from: Resea.heap.lowerBound + 0x10_0000, to: Resea.heap.upperBound, by: 4096).first(
                    where: {
                        task.subject.translate(GVA($0)).mapping == nil
                    })
            else { return .notApplicable("the heap of task \(task.number) is mapped as a whole") }
            let first = try counters()
            _ = try task.first("touch \(GVA(va).hex) 0x55")
            let second = try counters()
            _ = try task.command("touch \(GVA(Resea.data.upperBound - 7).hex)")
            let third = try counters()
            guard second.faults == first.faults + 1, second.pages == first.pages + 1, third.pages == second.pages,
                third.refusals == second.refusals + 1
            else {
                return .wrong(
                    "faults \(first.faults), \(second.faults), \(third.faults); pages \(first.pages), \(second.pages), "
                        + "\(third.pages); refusals \(second.refusals), \(third.refusals)")
            }
            return .right("\(third.faults) faults so far, \(third.pages) pages, \(third.refusals) refusals")
        }
    }

    private var pool: AuditResult {
        common.rule(
            "pages of the vm server",
            expected: "every page of a task is RAM from PA 0x10000000 on, the kernel's are not"
        ) {
            tasks in
            guard let task = tasks.last else { return .notApplicable("no task runs") }
            _ = try task.first("touch \(GVA(Resea.heap.lowerBound + 0x20_0000).hex)")
            let pool = try guest.area("pool")
            guard pool.lowerBound == Resea.poolBase else { return .wrong("it begins at \(GPA(pool.lowerBound).hex)") }
            var pages: UInt64 = 0
            for task in tasks {
                for run in try task.subject.audited(GVA(0)...Self.tasksEnd).collector.runs {
                    guard run.gpa.rawValue >= pool.lowerBound, run.lastGPA.rawValue < pool.upperBound else {
                        return .wrong("task \(task.number): \(run.va.hex) is at \(run.gpa.hex)")
                    }
                    pages += run.pageCount
                }
            }
            let line = "alloc 65536"
            let answer = try guest.first(line)
            try guest.run("free \(answer["va"] ?? "")")
            let pa = try guest.number("pa", in: answer, of: line)
            guard pa < Resea.poolBase else { return .wrong("the kernel allocates at \(GPA(pa).hex)") }
            return .right(
                "\(counted(pages, "page")) of tasks, \(GPA(pool.lowerBound).hex)-\(GPA(pool.upperBound - 1).hex)")
        }
    }

    /// The server reaches what it hands out where it is.
    private var server: AuditResult {
        AuditResult(
            "straight mapping in the vm server", expected: "from 0x10000000 on VA = PA, 4 KiB, up to the end of RAM"
        ) {
            guard let server = try guest.processes().first(where: { $0.number == 0 }) else {
                return .wrong("the vm server does not run")
            }
            let pool = try guest.area("pool")
            var pages: UInt64 = 0
            for run in try server.subject.audited(GVA(pool.lowerBound)...GVA(pool.upperBound - 1)).collector.runs {
                guard run.gpa.rawValue == run.va.rawValue, run.pageSize == 4096, run.flags.contains(.user) else {
                    return .wrong("\(run.va.hex) leads to \(run.gpa.hex), \(run.flags.columns)")
                }
                pages += run.pageCount
            }
            return pages > 0 ? .right("\(counted(pages, "page")) that it touched") : .wrong("it has none")
        }
    }
}

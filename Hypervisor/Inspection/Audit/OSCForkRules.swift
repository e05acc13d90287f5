// The rules of osc about fork: what is shared, when it is split, what is copied at once, and what an end gives back.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules that fork a process through the kernel's monitor, and end the child again.
struct OSCForkRules<Guest: AuditGuest> {
    let guest: Guest

    /// Every rule; demand paging and PROT_NONE as in osv, in a process.
    func results() -> [AuditResult] {
        let names = ["fork, copy on write", "copy on write, split", "copy on write, large", "fork copies stacks"]
        let expected = [
            "after fork the leaves of both are not writable, have bit 53, and lead to the same page",
            "a write gives the writer a page of its own; the other's stays, and is written in place when it is the last",
            "a write to a shared 2 MiB page copies 4 KiB of it",
            "every page of a stack is copied by fork itself, writable in both",
        ]
        let bodies: [(Pair) throws -> AuditFinding] = [copyOnWrite, split, large, stacks]
        var results: [AuditResult] = []
        for (index, body) in bodies.enumerated() {
            results.append(AuditResult(names[index], expected: expected[index]) { try withChild(body) })
        }
        results.append(freed)
        do {
            if let process = try guest.processes().first { results += OSvVirtualRules(guest: process).paging() }
        } catch {
            results.append(AuditResult("demand paging", expected: "the kernel answers 'ps'") { throw error })
        }
        return results
    }

    /// A process with two pages and a large one that were written, and its child.
    private struct Pair {
        let parent: ProcessGuest<Guest>
        let child: ProcessGuest<Guest>
        let page: UInt64
        let large: UInt64
    }

    private func withChild(_ body: (Pair) throws -> AuditFinding) throws -> AuditFinding {
        guard let parent = try guest.processes().first else {
            return .notApplicable("no process runs; start one with --program")
        }
        let page = try mapped(8192, in: parent)
        let large = try mapped(4 << 20, in: parent)
        let unmapped = Cleanup {
            try parent.run("unmap \(GVA(page).hex) 8192")
            try parent.run("unmap \(GVA(large).hex) \(4 << 20)")
        }
        defer { unmapped.now() }
        for address in [page, page + 4096, large] { _ = try parent.first("touch \(GVA(address).hex) 0x1111") }
        let line = "fork \(parent.number)"
        let number = try guest.count("program", in: try guest.first(line), of: line)
        let killed = Cleanup { try guest.run("kill \(number)") }
        defer { killed.now() }
        guard let child = try guest.processes().first(where: { $0.number == number }) else {
            return .wrong("process \(number) was made and does not run")
        }
        let finding = try body(Pair(parent: parent, child: child, page: page, large: large))
        guard case .right = finding else { return finding }
        try killed.orThrow()
        try unmapped.orThrow()
        return finding
    }

    private func mapped(_ size: UInt64, in process: ProcessGuest<Guest>) throws -> UInt64 {
        let line = "map \(size) rw"
        return try process.number("va", in: try process.first(line), of: line)
    }

    private func leaf(_ process: ProcessGuest<Guest>, _ va: UInt64) throws -> (value: UInt64, gpa: GPA, size: UInt64) {
        let translation = process.subject.translate(GVA(va))
        guard let mapping = translation.mapping, let entry = translation.entries.last else {
            throw AuditTrouble("\(GVA(va).hex) is not mapped in process \(process.number)")
        }
        return (entry.value, mapping.gpa, mapping.pageSize)
    }

    private func isShared(_ value: UInt64) -> Bool {
        value & X86Bit.writable == 0 && value & OSv.copyOnWriteBit != 0
    }

    private func read(_ process: ProcessGuest<Guest>, _ va: UInt64) throws -> UInt64 {
        let line = "touch \(GVA(va).hex)"
        return try process.number("value", in: try process.first(line), of: line)
    }

    private func copyOnWrite(_ pair: Pair) throws -> AuditFinding {
        for va in [pair.page, pair.page + 4096, pair.large] {
            let parent = try leaf(pair.parent, va)
            let child = try leaf(pair.child, va)
            guard isShared(parent.value), isShared(child.value) else {
                return .wrong(
                    "\(GVA(va).hex): the parent's leaf is \(GPA(parent.value).hex), the child's \(GPA(child.value).hex)"
                )
            }
            guard parent.gpa == child.gpa else {
                return .wrong("\(GVA(va).hex): the parent's at \(parent.gpa.hex), the child's at \(child.gpa.hex)")
            }
        }
        return .right("\(GVA(pair.page).hex) at \(try leaf(pair.child, pair.page).gpa.hex) in both, and in 2 MiB too")
    }

    private func split(_ pair: Pair) throws -> AuditFinding {
        let before = try leaf(pair.parent, pair.page)
        _ = try pair.child.first("touch \(GVA(pair.page).hex) 0x2222")
        let child = try leaf(pair.child, pair.page)
        let parent = try leaf(pair.parent, pair.page)
        guard child.gpa != parent.gpa, parent.gpa == before.gpa else {
            return .wrong("after the child's write it is at \(child.gpa.hex), the parent at \(parent.gpa.hex)")
        }
        guard child.value & X86Bit.writable != 0, child.value & OSv.copyOnWriteBit == 0 else {
            return .wrong("the child's leaf is \(GPA(child.value).hex)")
        }
        let (mine, theirs) = (try read(pair.child, pair.page), try read(pair.parent, pair.page))
        guard mine == 0x2222, theirs == 0x1111 else {
            return .wrong("the child reads \(GPA(mine).hex), the parent \(GPA(theirs).hex)")
        }
        _ = try pair.parent.first("touch \(GVA(pair.page).hex) 0x3333")
        let after = try leaf(pair.parent, pair.page)
        guard after.gpa == before.gpa, after.value & X86Bit.writable != 0, after.value & OSv.copyOnWriteBit == 0 else {
            return .wrong("the last to write has the leaf \(GPA(after.value).hex), before \(GPA(before.value).hex)")
        }
        return .right("the child got \(child.gpa.hex), the parent kept \(parent.gpa.hex)")
    }

    private func large(_ pair: Pair) throws -> AuditFinding {
        guard try leaf(pair.parent, pair.large).size == 2 << 20 else {
            return .notApplicable("no block of 2 MiB was free: the parent has pages of 4 KiB")
        }
        _ = try pair.child.first("touch \(GVA(pair.large + 0x3000).hex) 0x2222")
        let written = try leaf(pair.child, pair.large + 0x3000)
        let beside = try leaf(pair.child, pair.large)
        let parent = try leaf(pair.parent, pair.large)
        guard written.size == 4096, written.gpa != parent.gpa &+ 0x3000, beside.gpa == parent.gpa,
            isShared(beside.value),
            parent.size == 2 << 20
        else {
            return .wrong(
                "written \(written.gpa.hex) in \(pageName(written.size)), beside \(beside.gpa.hex), the parent's "
                    + "\(parent.gpa.hex) in \(pageName(parent.size))")
        }
        let (mine, theirs) = (try read(pair.child, pair.large), try read(pair.parent, pair.large + 0x3000))
        guard mine == 0x1111, theirs == 0 else {
            return .wrong("the child reads \(GPA(mine).hex) beside it, the parent \(GPA(theirs).hex) there")
        }
        return .right("\(written.gpa.hex) is the child's, the rest of 2 MiB at \(parent.gpa.hex) is shared")
    }

    private func stacks(_ pair: Pair) throws -> AuditFinding {
        guard case .lines(let lines) = try pair.parent.command("vmas") else {
            return .wrong("the kernel does not answer 'vmas'")
        }
        var pages = 0
        for line in lines where line["kind"] == "stack" {
            let ends = (line["vma"] ?? "").split(separator: "-").compactMap { parseHexadecimal($0) }
            guard ends.count == 2 else { return .wrong("a stack at \(line["vma"] ?? "no address")") }
            for run in try pair.parent.subject.audited(GVA(ends[0])...GVA(ends[1] - 1)).collector.runs {
                for va in stride(from: run.va.rawValue, to: run.va.rawValue + run.size, by: 4096) {
                    let parent = try leaf(pair.parent, va)
                    let child = try leaf(pair.child, va)
                    guard parent.gpa != child.gpa, parent.value & X86Bit.writable != 0,
                        child.value & X86Bit.writable != 0
                    else {
                        return .wrong(
                            "\(GVA(va).hex): the parent's leaf is \(GPA(parent.value).hex), the child's "
                                + GPA(child.value).hex)
                    }
                    pages += 1
                }
            }
        }
        return pages > 0 ? .right("\(counted(pages, "page")) copied") : .wrong("no page of a stack is mapped")
    }

    /// Tables and pages in use, before a fork and after its end.
    private var freed: AuditResult {
        AuditResult(
            "exit frees every table", expected: "as many tables and pages are in use after a child's end as before it"
        ) {
            // The first fork may take a thread's stacks, which are kept for the next one.
            let first = try withChild { _ in .right("") }
            guard case .right = first else { return first }
            var difference = ""
            // A process that runs on may need a page meanwhile.
            for _ in 0..<3 {
                let before = try guest.first("stats")
                var during: [String: String] = [:]
                let made = try withChild { _ in
                    during = try guest.first("stats")
                    return .right("")
                }
                guard case .right = made else { return made }
                let after = try guest.first("stats")
                let tables = try [before, during, after].map { try guest.count("tables", in: $0, of: "stats") }
                let pages = try [before, after].map { try guest.count("pages-free", in: $0, of: "stats") }
                if tables[0] == tables[2], pages[0] == pages[1], tables[1] > tables[0] {
                    return .right(
                        "\(tables[0]) tables, \(tables[1]) with the child, \(tables[2]) after it; \(pages[1]) pages free"
                    )
                }
                difference =
                    "\(tables[0]) tables before, \(tables[2]) after; \(pages[0]) pages free before, \(pages[1]) after"
            }
            return .wrong(difference)
        }
    }
}

// The panda layout's rules about processes: the root in itself, heap and stack on demand, buffers that the kernel writes.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules that look at each process, and provoke through the kernel's monitor what they have to see.
struct PandaRules<Guest: AuditGuest> {
    let guest: Guest

    private typealias Process = LinuxProcess<Guest>

    /// Every rule.
    func results() -> [AuditResult] {
        let common = LinuxProcessRules(guest: guest)
        return [
            recursiveEntry, regions, program, common.heap, breakLimit, stack, stackGuard, stackPointer, buffersMapped,
            zeroCopy, firstFit, buffersFreed, common.leafBits,
        ]
    }

    /// A rule that holds for each process; what it found of the last.
    private func rule(
        _ name: String, expected: String, _ body: @escaping (Process) throws -> AuditFinding
    ) -> AuditResult {
        LinuxProcessRules(guest: guest).rule(name, expected: expected, body)
    }

    /// What PML4[510] four times over leads to: the root itself.
    private static var rootInItself: UInt64 {
        let entry = Panda.recursiveEntry
        return 0xffff << 48 | entry << 39 | entry << 30 | entry << 21 | entry << 12
    }

    private var recursiveEntry: AuditResult {
        AuditResult(
            "recursive entry",
            expected: "PML4[510] of every root is that root, NX, supervisor; \(GVA(Self.rootInItself).hex) leads to it"
        ) {
            let roots = try [KernelRoot(guest).subject] + guest.processes().map(\.subject)
            for subject in roots {
                let entry = try subject.rootEntries()[Int(Panda.recursiveEntry)] & ~(X86Bit.accessed | 0x40)
                guard entry == subject.root.rawValue | Panda.recursiveBits & ~(X86Bit.accessed | 0x40) else {
                    return .wrong("PML4[510] of the root \(subject.root.hex) is \(GPA(entry).hex)")
                }
                let found = subject.translate(GVA(Self.rootInItself)).mapping
                guard found?.gpa == subject.root, found?.flags.isDisjoint(with: [.executable, .user]) == true else {
                    return .wrong("\(GVA(Self.rootInItself).hex) leads to \(found?.gpa.hex ?? "nothing")")
                }
            }
            return .right("in \(counted(roots.count, "root"))")
        }
    }

    private var regions: AuditResult {
        rule(
            "mappings in regions",
            expected: "every mapping of a process lies in its region: program, heap, buffers, stack"
        ) {
            process in
            let names = ["program": "program", "heap": "heap", "buffer": "buffers", "stack": "stack"]
            for vma in process.vmas {
                guard let region = Layout.panda.region(of: GVA(vma.start)), region.contains(GVA(vma.end - 1)),
                    names[vma.kind] == region.name
                else { return .wrong("\(vma.kind) at \(GVA(vma.start).hex)-\(GVA(vma.end).hex)") }
            }
            return .right(counted(process.vmas.count, "mapping"))
        }
    }

    private var program: AuditResult {
        rule(
            "program",
            expected: "the file begins at \(GVA(Panda.programBase).hex); text is not written, data not executed"
        ) {
            process in
            let vmas = process.vmas("program")
            guard vmas.first?.start == Panda.programBase else {
                return .wrong("it begins at \(GVA(vmas.first?.start ?? 0).hex)")
            }
            for vma in vmas where vma.permissions.contains("w") && vma.permissions.contains("x") {
                return .wrong("\(GVA(vma.start).hex) may be written and executed")
            }
            guard vmas.contains(where: { $0.permissions == "rx" }) else { return .wrong("there is no text") }
            return .right("\(GVA(Panda.programBase).hex) to \(GVA(process.programEnd).hex)")
        }
    }

    private var breakLimit: AuditResult {
        rule(
            "break, limit", expected: "the heap ends at \(GVA(Panda.buffersBase).hex) at the most, where buffers begin"
        ) {
            process in
            func brk(_ value: UInt64) throws -> UInt64 {
                let line = "brk \(GVA(value).hex)"
                return try process.process.number("break", in: try process.process.first(line), of: line)
            }
            let old = try brk(0)
            let undone = Cleanup { _ = try brk(old) }
            defer { undone.now() }
            for wrong in [Panda.buffersBase + 4096, Panda.heapBase - 4096] where try brk(wrong) != old {
                return .wrong("a break of \(GVA(wrong).hex) is taken")
            }
            guard try brk(Panda.buffersBase) == Panda.buffersBase else { return .wrong("the last break is refused") }
            try undone.orThrow()
            return .right("\(GVA(Panda.buffersBase).hex) is taken, a page more is not")
        }
    }

    private var stack: AuditResult {
        rule(
            "stack",
            expected: "16 MiB at \(GVA(Panda.stackBase).hex); a touch brings one page of 4 KiB, user, writable, NX"
        ) { process in
            guard let vma = process.vmas("stack").first, vma.start == Panda.stackBase, vma.end == Panda.stackEnd else {
                return .wrong("it lies elsewhere")
            }
            // The process never came so low.
            guard try process.subject.audited(GVA(Panda.stackBase)...GVA(Panda.stackBase + 0xffff)).summary.leaves <= 1,
                process.subject.translate(GVA(Panda.stackBase)).mapping == nil
            else { return .wrong("its lowest page is mapped untouched") }
            let page = Panda.stackBase + 0x8000
            _ = try process.process.first("touch \(GVA(page).hex) 1")
            for run in try process.subject.audited(GVA(vma.start)...GVA(vma.end - 1)).collector.runs {
                guard run.pageSize == 4096, run.flags.contains([.user, .writable]), !run.flags.contains(.executable)
                else {
                    return .wrong("\(run.va.hex) has \(run.flags.columns) in \(pageName(run.pageSize))")
                }
            }
            guard process.subject.translate(GVA(page)).mapping != nil,
                process.subject.translate(GVA(page + 4096)).mapping == nil
            else { return .wrong("a touch of \(GVA(page).hex) did not bring that page alone") }
            return .right("\(GVA(page).hex) came when it was touched")
        }
    }

    private var stackGuard: AuditResult {
        rule(
            "stack guard",
            expected: "the page below \(GVA(Panda.stackBase).hex) is refused: to a touch, and to a mapping"
        ) {
            process in
            let page = Panda.stackBase - 4096
            guard try process.refuses("touch \(GVA(page).hex) 1") else { return .wrong("a touch is served") }
            guard try process.refuses("map 4096 rw at \(GVA(page).hex)") else {
                try process.process.run("unmap \(GVA(page).hex) 4096")
                return .wrong("a page was mapped there")
            }
            return .right("both refused")
        }
    }

    private var stackPointer: AuditResult {
        rule("stack pointer", expected: "RSP began at \(GVA(Panda.stackEnd).hex): what was pushed first lies below it")
        {
            process in
            let pointer = try process.bound("stack-pointer")
            guard pointer == Panda.stackEnd else { return .wrong("it began at \(GVA(pointer).hex)") }
            // The first call of the program pushed where to return to: an address in its text.
            let pushed = try process.word(pointer - 8)
            guard process.vmas("program").contains(where: { $0.start <= pushed && pushed < $0.end }) else {
                return .wrong("\(GVA(pointer - 8).hex) has \(GVA(pushed).hex), no address of the program")
            }
            return .right("below it \(GVA(pushed).hex), where the program's first call returns to")
        }
    }

    /// Allocates a buffer, and frees it whatever happens.
    private func withBuffer(
        _ process: Process, _ size: UInt64, _ body: (UInt64) throws -> AuditFinding
    ) throws -> AuditFinding {
        let line = "buffer \(size)"
        let va = try process.process.number("va", in: try process.process.first(line), of: line)
        let freed = Cleanup { try process.process.run("buffer-free \(GVA(va).hex)") }
        defer { freed.now() }
        let finding = try body(va)
        guard case .right = finding else { return finding }
        try freed.orThrow()
        return finding
    }

    private var buffersMapped: AuditResult {
        rule("buffers, mapped", expected: "a buffer lies in its region and is mapped as a whole when it is allocated") {
            process in
            try withBuffer(process, 12288) { va in
                guard Layout.panda.region(of: GVA(va))?.name == "buffers" else { return .wrong("at \(GVA(va).hex)") }
                let leaves = try process.subject.audited(GVA(va)...GVA(va + 12287)).summary.leaves
                return leaves == 3 ? .right("3 pages at \(GVA(va).hex)") : .wrong("\(leaves) of 3 pages are mapped")
            }
        }
    }

    private var zeroCopy: AuditResult {
        rule(
            "buffers, zero copy",
            expected: "what the kernel writes by its window the process reads; both addresses lead to one page"
        ) { process in
            try withBuffer(process, 8192) { va in
                let line = "buffer-fill \(GVA(va).hex) 8192 0x5041"
                let window = try process.process.number("window", in: try process.process.first(line), of: line)
                for offset in [0, 8, 4096] as [UInt64] {
                    let read = "touch \(GVA(va + offset).hex)"
                    let found = try process.process.number("value", in: try process.process.first(read), of: read)
                    guard found == 0x5041 + offset / 8 else {
                        return .wrong(
                            "at \(GVA(va + offset).hex) is \(GPA(found).hex), not \(GPA(0x5041 + offset / 8).hex)")
                    }
                }
                guard let page = process.subject.translate(GVA(va)).mapping?.gpa,
                    process.subject.translate(GVA(window)).mapping?.gpa == page
                else { return .wrong("\(GVA(va).hex) and \(GVA(window).hex) are not one page") }
                return .right("\(GVA(va).hex) and \(GVA(window).hex) are PA \(page.hex)")
            }
        }
    }

    private var firstFit: AuditResult {
        rule("buffers, first fit", expected: "a freed buffer's place is the next one's that fits it") { process in
            var first = (0 as UInt64, 0 as UInt64)
            let finding = try withBuffer(process, 4096) { low in
                first.0 = low
                return try withBuffer(process, 4096) { high in
                    first.1 = high
                    return high > low
                        ? .right("") : .wrong("the second is at \(GVA(high).hex), the first \(GVA(low).hex)")
                }
            }
            guard case .right = finding else { return finding }
            return try withBuffer(process, 4096) { va in
                va == first.0 ? .right("\(GVA(va).hex) again") : .wrong("\(GVA(va).hex), free is \(GVA(first.0).hex)")
            }
        }
    }

    private var buffersFreed: AuditResult {
        rule("buffers, freed", expected: "nothing is mapped where a freed buffer was, and no buffer is there to free") {
            process in
            var place: UInt64 = 0
            let finding = try withBuffer(process, 8192) { va in
                place = va
                return .right("")
            }
            guard case .right = finding else { return finding }
            guard try process.subject.audited(GVA(place)...GVA(place + 8191)).summary.leaves == 0 else {
                return .wrong("\(GVA(place).hex) is still mapped")
            }
            guard try process.refuses("buffer-free \(GVA(place).hex)") else { return .wrong("it can be freed again") }
            return .right("\(GVA(place).hex) is free again")
        }
    }
}

// The rules of courseos about processes: what of the kernel all roots share, and what is a process's own.

import Addresses
import GuestMemory
import Layouts
import PageTables

extension Audit {
    /// The rules about what courseos and its processes do.
    static func courseosDeeds(_ guest: some AuditGuest) -> [AuditResult] {
        var results = CourseOSHeapRules(guest: guest).results() + CourseOSProcessRules(guest: guest).results()
        do {
            if let process = try guest.processes().first {
                results += OSvVirtualRules(guest: process, plan: .courseos).paging()
            }
        } catch {
            results.append(AuditResult("demand paging", expected: "the kernel answers 'ps'") { throw error })
        }
        return results
    }
}

/// Rules about the roots of processes in courseos.
struct CourseOSProcessRules<Guest: AuditGuest> {
    let guest: Guest

    private var common: OSCProcessRules<Guest> { OSCProcessRules(guest: guest, plan: .courseos) }

    /// Every rule.
    func results() -> [AuditResult] { [kernelsPart, pageZero] + common.common() }

    /// The table of four GiB of a root.
    private func gibibytes(_ subject: Subject) throws -> [UInt64] {
        guard let first = try subject.rootEntries().first, first & 1 != 0 else {
            throw AuditTrouble("PML4[0] of \(subject.root.hex) is absent")
        }
        // The processor sets the accessed bit in one table and not in another.
        return try subject.rooted(at: first & X86Bit.address).rootEntries().map { $0 & ~X86Bit.accessed }
    }

    private func difference(_ processes: [ProcessGuest<Guest>]) throws -> String? {
        let kernel = try gibibytes(KernelRoot(guest).subject)
        for process in processes {
            let own = try gibibytes(process.subject)
            for index in 2..<4 where own[index] != kernel[index] {
                return "PDPT[\(index)] of process \(process.number) is \(GPA(own[index]).hex), the kernel's "
                    + GPA(kernel[index]).hex
            }
            if let index = try process.subject.rootEntries().dropFirst().firstIndex(where: { $0 & 1 != 0 }) {
                return "PML4[\(index)] of process \(process.number) is present"
            }
        }
        return nil
    }

    private var kernelsPart: AuditResult {
        common.rule(
            "roots, kernel's part",
            expected: "the window (PDPT[2]) and heap and devices (PDPT[3]) are the same tables in all roots"
        ) { processes in
            if let difference = try difference(processes) { return .wrong(difference) }
            // What is mapped later is there in all of them.
            let answer = try guest.first("alloc 65536")
            let va = GVA(try guest.number("va", in: answer, of: "alloc"))
            let freed = Cleanup { try guest.run("free \(va.hex)") }
            defer { freed.now() }
            for process in processes where process.subject.translate(va).mapping == nil {
                return .wrong("a block at \(va.hex) is not mapped in process \(process.number)")
            }
            try freed.orThrow()
            return .right(
                "so it is in the kernel's root and \(counted(processes.count, "process", "processes")), \(va.hex) in all"
            )
        }
    }

    private var pageZero: AuditResult {
        common.rule("processes, page 0", expected: "VA 0-0xfff is mapped in no process, and refused to who asks for it")
        {
            processes in
            for process in processes {
                if let run = try process.subject.audited(GVA(0)...GVA(4095)).collector.runs.first {
                    return .wrong("process \(process.number): \(run.va.hex) is mapped to \(run.gpa.hex)")
                }
                guard case .error = try process.command("map 4096 rw at 0x0") else {
                    return .wrong("process \(process.number) may map it")
                }
            }
            return .right("so it is in \(counted(processes.count, "process", "processes"))")
        }
    }
}

// The rules of courseos about what its kernel does: the memory manager, the heap, and what happens where it meets the devices.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules that allocate and map devices through the kernel's monitor, and give everything back.
struct CourseOSHeapRules<Guest: AuditGuest> {
    let guest: Guest

    /// Every rule.
    func results() -> [AuditResult] { [manager, grows, doubleMapping, full] }

    private var subject: Subject { KernelRoot(guest).subject }

    private func allocate(_ size: UInt64) throws -> (va: UInt64, pa: UInt64) {
        let line = "alloc \(size)"
        let answer = try guest.first(line)
        return (try guest.number("va", in: answer, of: line), try guest.number("pa", in: answer, of: line))
    }

    /// Every frame behind heap and processes lies above the kernel.
    private var manager: AuditResult {
        AuditResult(
            "memory manager",
            expected: "it begins at the kernel's end, rounded up to 1 MiB, and hands out nothing below that"
        ) {
            let (memory, image) = (try guest.area("memory"), try guest.area("kernel"))
            let step = CourseOS.managerAlignment
            let wanted = (image.upperBound + step - 1) / step * step
            guard memory.lowerBound == wanted else {
                return .wrong("\(GVA(memory.lowerBound).hex); the kernel ends at \(GVA(image.upperBound).hex)")
            }
            let lowest = GPA(wanted - CourseOS.offset)
            let heap = try guest.area("heap")
            var runs = try subject.audited(GVA(heap.lowerBound)...GVA(heap.upperBound - 1)).collector.runs
            for process in try guest.processes() {
                runs += try process.subject.audited(GVA(0)...GVA(CourseOS.processEnd - 1)).collector.runs
            }
            for run in runs where run.gpa < lowest { return .wrong("\(run.va.hex) has the frame \(run.gpa.hex)") }
            let pages = runs.reduce(0) { $0 + $1.pageCount }
            return .right("at \(GVA(wanted).hex), \(counted(pages, "frame")) above PA \(lowest.hex)")
        }
    }

    private var grows: AuditResult {
        AuditResult(
            "heap grows and shrinks", expected: "a block of 1 MiB is 256 leaves more at the heap's end, gone when freed"
        ) {
            let before = try guest.area("heap")
            let block = try allocate(1 << 20)
            let freed = Cleanup { try guest.run("free \(GVA(block.va).hex)") }
            defer { freed.now() }
            let during = try guest.area("heap")
            let range = GVA(block.va)...GVA(block.va + 1 << 20 - 1)
            let pages = try subject.audited(range).summary.leaves
            guard block.va >= CourseOS.heapBase, during.contains(block.va), pages == 256 else {
                return .wrong("\(GVA(block.va).hex), \(counted(pages, "leaf", "leaves"))")
            }
            try freed.orThrow()
            let after = try guest.area("heap")
            let left = try subject.audited(range).summary.leaves
            guard after.upperBound == before.upperBound, left == 0 || block.va < before.upperBound else {
                return .wrong("the heap ends at \(GVA(after.upperBound).hex), \(left) leaves are left")
            }
            guard left == 0 else { return .wrong("\(counted(left, "leaf", "leaves")) of it are left when it is freed") }
            return .right("\(GVA(during.upperBound).hex) with it, \(GVA(after.upperBound).hex) before and after")
        }
    }

    private var doubleMapping: AuditResult {
        AuditResult(
            "double mapping",
            expected: "what the guest writes through the heap is at HVA = slot + offset, and at 0x80000000 + PA"
        ) {
            let block = try allocate(65536)
            let freed = Cleanup { try guest.run("free \(GVA(block.va).hex)") }
            defer { freed.now() }
            let (va, value) = (GVA(block.va + 0x3238), 0x5649_5452_494e_4533 as UInt64)
            _ = try guest.first("touch \(va.hex) \(GVA(value).hex)")
            guard let gpa = subject.translate(va).mapping?.gpa, let slot = subject.slots.slot(containing: gpa),
                let hva = slot.hva(of: gpa)
            else { return .wrong("\(va.hex) leads to no slot") }
            var word: UInt64 = 0
            guard withUnsafeMutableBytes(of: &word, { subject.memory.read(gpa, into: $0) }), word == value else {
                return .wrong("at \(gpa.hex) the slot's memory has \(GPA(word).hex), not \(GPA(value).hex)")
            }
            if let bytes = guest.hostBytes(at: hva, count: 8) {
                let there = bytes.reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
                guard there == value else { return .wrong("at HVA \(hva.hex) is \(GPA(there).hex)") }
            }
            let line = "touch \(GVA(CourseOS.offset + gpa.rawValue).hex)"
            let read = try guest.number("value", in: try guest.first(line), of: line)
            guard read == value else { return .wrong("through the window the guest reads \(GPA(read).hex)") }
            try freed.orThrow()
            return .right("\(va.hex) = GPA \(gpa.hex) = HVA \(hva.hex), and \(line.dropFirst(6))")
        }
    }

    /// Device registers come down to the heap; then blocks are taken until one is refused.
    private var full: AuditResult {
        AuditResult(
            "heap full",
            expected: "the heap is refused where the devices begin, the devices where it ends; nothing is overwritten"
        ) {
            let (heap, mmio) = (try guest.area("heap"), try guest.area("mmio"))
            // All but 1 to 3 MiB between them, in leaves of 2 MiB that lead far above RAM.
            let step: UInt64 = 2 << 20
            let start = (heap.upperBound + step / 2 + step - 1) / step * step
            let size = mmio.lowerBound / step * step - start
            let far: UInt64 = 0x10_0000_0000
            _ = try guest.first("mmio \(GPA(far + start).hex) \(size)")
            var blocks: [UInt64] = []
            let cleaned = Cleanup {
                for block in blocks { try guest.run("free \(GVA(block).hex)") }
                try guest.run("mmio-end \(GVA(mmio.lowerBound).hex)")
            }
            defer { cleaned.now() }
            let devices = GVA(start)...GVA(start + size - 1)
            let before = try subject.audited(devices).collector.runs
            var reason = ""
            for size in [1 << 19, 1 << 16, 8192] as [UInt64] {
                for _ in 0..<16 {
                    guard case .lines(let lines) = try guest.command("alloc \(size) main") else { break }
                    let va = try guest.number("va", in: lines.first ?? [:], of: "alloc")
                    blocks.append(va)
                    guard va + size <= start else {
                        return .wrong("a block at \(GVA(va).hex) reaches into the devices at \(GVA(start).hex)")
                    }
                }
            }
            if case .error(let text) = try guest.command("alloc 8192 main") { reason = text }
            guard reason.contains("heap full") else {
                return .wrong("with \(blocks.count) blocks it says: \(reason.isEmpty ? "nothing" : reason)")
            }
            guard case .error(let other) = try guest.command("mmio \(GPA(far).hex) 4194304"), other.contains("no room")
            else { return .wrong("more device registers are mapped into the full heap") }
            guard try subject.audited(devices).collector.runs == before else {
                return .wrong("the leaves of the devices are not what they were")
            }
            let end = try guest.area("heap").upperBound
            guard end <= start else { return .wrong("the heap ends at \(GVA(end).hex)") }
            try cleaned.orThrow()
            return .right(
                "\(counted(blocks.count, "block")) up to \(GVA(end).hex), devices from \(GVA(start).hex): \(reason)")
        }
    }
}

// The linux layout's rules about the kernel's own memory: blocks in the direct map, guarded ones in vmalloc, one page's names.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules that allocate through the kernel's monitor, and free again what they took.
struct LinuxMemoryRules<Guest: AuditGuest> {
    let guest: Guest

    private var subject: Subject { guest.subject }

    /// Every rule.
    func results() -> [AuditResult] { [aliasesOfTheKernel, allocation, doubleMapping, vmallocBlock, translations] }

    private var aliasesOfTheKernel: AuditResult {
        let wanted = [Linux.directMap + OSv.kernelBase, Linux.textOffset + OSv.kernelBase].map { GVA($0).hex }
        return AuditResult("aliases of the kernel", expected: "PA 0x200000 is at \(wanted.joined(separator: ", "))") {
            let page = GPA(OSv.kernelBase)...GPA(OSv.kernelBase + 4095)
            let (found, _) = aliases(of: page, root: subject.root, format: subject.format, memory: subject.memory)
            let addresses = found.aliases.prefix(8).map(\.va.hex)
            return addresses == wanted
                ? .right("at \(addresses.joined(separator: ", "))") : .wrong("at \(addresses.joined(separator: ", "))")
        }
    }

    /// Allocates, and frees whatever happens.
    private func allocated(_ line: String, _ body: ([String: String], UInt64, UInt64) throws -> AuditFinding) throws
        -> AuditFinding
    {
        let answer = try guest.first(line)
        let va = try guest.number("va", in: answer, of: line)
        let freed = Cleanup { try guest.run("free \(GVA(va).hex)") }
        defer { freed.now() }
        let finding = try body(answer, va, try guest.number("pa", in: answer, of: line))
        guard case .right = finding else { return finding }
        try freed.orThrow()
        return finding
    }

    private var allocation: AuditResult {
        AuditResult(
            "allocation", expected: "blocks of 64, 4096 and 65536 bytes lie in the direct map, at its base + PA"
        ) {
            var seen: [String] = []
            for size in [64, 4096, 65536] {
                let finding = try allocated("alloc \(size)") { _, va, pa in
                    guard va &- Linux.directMap == pa, subject.translate(GVA(va)).mapping?.gpa == GPA(pa) else {
                        return .wrong("\(size) bytes at \(GVA(va).hex), the kernel says at PA \(GPA(pa).hex)")
                    }
                    seen.append(GVA(va).hex)
                    return .right("")
                }
                guard case .right = finding else { return finding }
            }
            return .right(seen.joined(separator: ", "))
        }
    }

    private var doubleMapping: AuditResult {
        AuditResult(
            "double mapping", expected: "what the guest writes through the direct map is at HVA = slot + offset"
        ) {
            try allocated("alloc 65536") { _, va, _ in
                let (address, value) = (GVA(va &+ 0x1238), 0x5649_5452_494e_4531 as UInt64)
                _ = try guest.first("touch \(address.hex) \(GVA(value).hex)")
                guard let gpa = subject.translate(address).mapping?.gpa, let slot = subject.slots.slot(containing: gpa),
                    let hva = slot.hva(of: gpa)
                else { return .wrong("\(address.hex) leads to no slot") }
                guard hva.rawValue == slot.userspaceAddress.rawValue &+ (gpa &- slot.guestPhysicalAddress) else {
                    return .wrong("\(hva.hex) is not slot + offset")
                }
                var word: UInt64 = 0
                guard withUnsafeMutableBytes(of: &word, { subject.memory.read(gpa, into: $0) }), word == value else {
                    return .wrong("at \(gpa.hex) the slot's memory has \(GPA(word).hex), not \(GPA(value).hex)")
                }
                let there = guest.hostBytes(at: hva, count: 8)?.reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
                guard there == nil || there == value else { return .wrong("at HVA \(hva.hex) is something else") }
                return .right("\(address.hex) = GPA \(gpa.hex) = HVA \(hva.hex), same bytes")
            }
        }
    }

    /// header M, guard U, data M..., guard U; all gone after free, and never used again.
    private var vmallocBlock: AuditResult {
        AuditResult(
            "vmalloc block", expected: "pattern M-U-MM-U in vmalloc, gone after free, addresses not used again"
        ) {
            var (header, end) = (0 as UInt64, 0 as UInt64)
            let line = "debug-alloc 8192"
            let finding = try allocated(line) { answer, va, _ in
                header = try guest.number("header", in: answer, of: line)
                end = try guest.number("guard2", in: answer, of: line) + 4096
                guard header >= Linux.vmalloc, end <= Linux.vmallocLast, va == header + 8192, end == va + 12288 else {
                    return .wrong("header \(GVA(header).hex), data \(GVA(va).hex), end \(GVA(end).hex)")
                }
                let pattern = pattern(from: header)
                return pattern == "MUMMU"
                    ? .right("M-U-MM-U at \(GVA(header).hex)") : .wrong("the pages are \(pattern)")
            }
            guard case .right = finding else { return finding }
            guard pattern(from: header) == "UUUUU" else { return .wrong("after free it is \(pattern(from: header))") }
            let next = try allocated(line) { _, va, _ in
                va >= end ? .right("") : .wrong("the next block is at \(GVA(va).hex), where the freed one was")
            }
            guard case .right = next else { return next }
            return finding
        }
    }

    /// M for mapped, U for unmapped, page by page.
    private func pattern(from address: UInt64) -> String {
        (0..<5).map { subject.translate(GVA(address + $0 * 4096)).mapping == nil ? "U" : "M" }.joined()
    }

    private var translations: AuditResult {
        AuditResult("translations", expected: "KVM translates as the tables say: each slot's ends in the direct map") {
            var count = 0
            for slot in subject.slots.slots {
                for gpa in [slot.guestPhysicalAddress, slot.guestPhysicalAddress &+ (slot.size - 8)] {
                    let va = GVA(Linux.directMap &+ gpa.rawValue)
                    let (ours, theirs) = (subject.translate(va).mapping?.gpa, try guest.oracle(va))
                    guard ours == gpa, theirs == gpa else {
                        let (a, b) = (ours?.hex ?? "nothing", theirs?.hex ?? "nothing")
                        return .wrong("\(va.hex): the tables say \(a), KVM \(b), the layout \(gpa.hex)")
                    }
                    count += 1
                }
            }
            return .right("\(counted(count, "address", "addresses")) agree")
        }
    }
}

// The osv layout's rules about allocation: three areas by size, guarded debug blocks, Core's four names.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules that allocate through the kernel's monitor, and free again what they took.
struct OSvAllocationRules<Guest: AuditGuest> {
    let guest: Guest
    /// The layout's numbers.
    let plan: KernelPlan

    private var subject: Subject { guest.subject }

    /// Every rule.
    func results() -> [AuditResult] {
        [
            coreAliases, allocation(64, .mempool), allocation(4096, .page), allocation(65536, .main), oneByte,
            debugBlock,
            hostAddresses,
        ]
    }

    /// One kernel page has four virtual addresses.
    private var coreAliases: AuditResult {
        let image = plan.imageOffset &+ plan.imageBase
        let wanted = ([image] + [OSv.Area.main, .page, .mempool].map { $0.base + plan.imageBase }).sorted()
        let names = wanted.map { GVA($0).hex }.joined(separator: ", ")
        return AuditResult("aliases of Core", expected: "PA 0x200000 is at \(names)") {
            let page = GPA(OSv.kernelBase)...GPA(OSv.kernelBase + 4095)
            let (found, _) = aliases(of: page, root: subject.root, format: subject.format, memory: subject.memory)
            let addresses = found.aliases.map(\.va.rawValue)
            let text = found.aliases.prefix(8).map(\.va.hex).joined(separator: ", ")
            guard addresses == wanted, found.count == 4 else {
                return .wrong("at \(text.isEmpty ? "no address" : text)")
            }
            return .right("at \(text)")
        }
    }

    private func allocation(_ size: UInt64, _ area: OSv.Area) -> AuditResult {
        let name = OSvTableRules.name(area)
        return AuditResult("malloc(\(size))", expected: "a block in \(name), at its base + PA") {
            let line = "alloc \(size)"
            let answer = try guest.first(line)
            let va = try guest.number("va", in: answer, of: line)
            let freed = Cleanup { try guest.run("free \(GVA(va).hex)") }
            defer { freed.now() }
            let pa = try guest.number("pa", in: answer, of: line)
            guard va >= OSv.areasBase, OSv.areaNumber(of: va) == area.rawValue, va &- area.base < 1 << OSv.areaShift
            else {
                return .wrong("\(GVA(va).hex), which is not in \(name)")
            }
            guard answer["area"] == name else { return .wrong("the kernel calls it \(answer["area"] ?? "nothing")") }
            let translation = subject.translate(GVA(va))
            guard let gpa = translation.mapping?.gpa else { return .wrong("\(GVA(va).hex) is not mapped") }
            guard gpa.rawValue == pa, va &- area.base == pa else {
                return .wrong("\(GVA(va).hex): tables say \(gpa.hex), the kernel \(GPA(pa).hex)")
            }
            try freed.orThrow()
            return .right("\(GVA(va).hex), PA \(GPA(pa).hex)")
        }
    }

    /// A value written through main is read at the host's address, and by the guest through page and mempool.
    private var oneByte: AuditResult {
        AuditResult(
            "double mapping",
            expected: "what the guest writes through main is at HVA = slot + offset, and in page and mempool"
        ) {
            let answer = try guest.first("alloc 65536")
            let va = try guest.number("va", in: answer, of: "alloc 65536")
            let freed = Cleanup { try guest.run("free \(GVA(va).hex)") }
            defer { freed.now() }
            var seen = ""
            for (offset, value) in [(0x1238, 0x5649_5452_494e_4531), (0xfff0, 0x0123_4567_89ab_cdef)]
                as [(UInt64, UInt64)]
            {
                let address = GVA(va &+ offset)
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
                let bytes = guest.hostBytes(at: hva, count: 8)
                if let bytes {
                    let there = bytes.reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
                    guard there == value else {
                        return .wrong("at HVA \(hva.hex) is \(GPA(there).hex), not \(GPA(value).hex)")
                    }
                }
                for area in [OSv.Area.page, .mempool] {
                    let line = "touch \(GVA(area.base &+ gpa.rawValue).hex)"
                    let read = try guest.number("value", in: try guest.first(line), of: line)
                    guard read == value else {
                        return .wrong("through \(OSvTableRules.name(area)) the guest reads \(GPA(read).hex)")
                    }
                }
                seen =
                    "GPA \(gpa.hex) = slot \(slot.id) + \(GPA(gpa &- slot.guestPhysicalAddress).hex) = HVA \(hva.hex)"
                    + (bytes == nil ? " (the process's memory may not be read; its slot's file was)" : ", same bytes")
            }
            try freed.orThrow()
            return .right(seen)
        }
    }

    /// header M, guard U, data M..., guard U; all gone after free, and never used again.
    private var debugBlock: AuditResult {
        AuditResult(
            "debug block", expected: "pattern M-U-MM-U in debug, gone after free, addresses not used again"
        ) {
            let line = "debug-alloc 8192"
            let answer = try guest.first(line)
            let va = try guest.number("va", in: answer, of: line)
            let freed = Cleanup { try guest.run("free \(GVA(va).hex)") }
            defer { freed.now() }
            let header = try guest.number("header", in: answer, of: line)
            let guard1 = try guest.number("guard1", in: answer, of: line)
            let guard2 = try guest.number("guard2", in: answer, of: line)
            guard header >= OSv.Area.debug.base, guard1 == header + 4096, va == header + 8192, guard2 == va + 8192
            else {
                return .wrong(
                    "header \(GVA(header).hex), guard \(GVA(guard1).hex), data \(GVA(va).hex), guard \(GVA(guard2).hex)"
                )
            }
            let pattern = pattern(from: header, pages: 5)
            guard pattern == "MUMMU" else { return .wrong("the pages are \(pattern)") }
            try freed.orThrow()
            let after = self.pattern(from: header, pages: 5)
            guard after == "UUUUU" else { return .wrong("after free the pages are \(after)") }
            let second = try guest.number("va", in: try guest.first(line), of: line)
            let secondFreed = Cleanup { try guest.run("free \(GVA(second).hex)") }
            defer { secondFreed.now() }
            guard second >= guard2 + 4096 || second &+ 8192 <= header else {
                return .wrong("the next block is at \(GVA(second).hex), where the freed one was")
            }
            try secondFreed.orThrow()
            return .right("M-U-MM-U at \(GVA(header).hex), the next block at \(GVA(second).hex)")
        }
    }

    /// M for mapped, U for unmapped, page by page.
    private func pattern(from address: UInt64, pages: UInt64) -> String {
        var text = ""
        for page in 0..<pages { text += subject.translate(GVA(address + page * 4096)).mapping == nil ? "U" : "M" }
        return text
    }

    /// Every slot's first and last page through main: our walk, KVM's, and the slot's arithmetic.
    private var hostAddresses: AuditResult {
        AuditResult(
            "translations", expected: "KVM translates as the tables say: each slot's ends, in every linear area"
        ) {
            var count = 0
            for slot in subject.slots.slots {
                let ends = [slot.guestPhysicalAddress, slot.guestPhysicalAddress &+ (slot.size - 8)]
                for area in [OSv.Area.main, .page, .mempool] {
                    for gpa in ends {
                        let va = GVA(area.base &+ gpa.rawValue)
                        let ours = subject.translate(va).mapping?.gpa
                        let theirs = try guest.oracle(va)
                        guard ours == gpa, theirs == gpa else {
                            let (a, b) = (ours?.hex ?? "nothing", theirs?.hex ?? "nothing")
                            return .wrong("\(va.hex): the tables say \(a), KVM \(b), the layout \(gpa.hex)")
                        }
                        count += 1
                    }
                }
            }
            return .right("\(counted(count, "address", "addresses")) agree")
        }
    }
}

/// Something to undo, once, whatever happens.
final class Cleanup {
    private var action: (() throws -> Void)?

    init(_ action: @escaping () throws -> Void) { self.action = action }

    /// Undoes it if that has not happened; errors are of no interest any more.
    func now() { try? orThrow() }

    /// Undoes it if that has not happened.
    func orThrow() throws {
        guard let action else { return }
        self.action = nil
        try action()
    }
}

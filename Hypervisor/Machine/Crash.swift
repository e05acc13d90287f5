// What is printed when a guest cannot go on: registers, the last code bytes, the walks of RIP and CR2.

import Addresses
import GuestMemory
import KVM
import PageTables

extension Machine {
    /// The report of a vCPU that stopped. On its thread.
    func crashReport(_ summary: String, _ vcpu: VCPU) -> CrashReport {
        let what = "vCPU \(vcpu.number): \(summary)"
        guard let r = try? vcpu.registers() else {
            return CrashReport(summary: what, vcpu: Int(vcpu.number), lines: ["its registers cannot be read"])
        }
        var lines: [String] = []
        if r.rip == 0xfff0 && r.cs.base == 0xffff_0000 && r.cr3 == 0 {
            lines.append(
                "the registers are those after a reset: this processor (AMD-V) forgets them when it shuts down")
        }
        lines += registerLines(r)
        let state = PagingState(
            cr0: r.cr0, cr3: r.cr3, cr4: r.cr4, efer: r.efer, maxPhysicalAddressBits: maxPhysicalAddressBits)
        // In 64-bit mode the code segment's base does not count.
        let code = GVA(r.cs.long ? r.rip : r.rip &+ r.cs.base)
        lines.append("code at \(code.hex): \(codeBytes(code, state))")
        lines += walk("RIP", code, state)
        lines += walk("CR2", GVA(r.cr2), state)
        return CrashReport(summary: what, vcpu: Int(vcpu.number), lines: lines)
    }

    /// The report of an instruction that KVM cannot emulate.
    func emulationReport(_ vcpu: VCPU) -> CrashReport {
        let bytes = vcpu.failedInstruction
        let report = crashReport("KVM cannot emulate an instruction", vcpu)
        var lines: [String] = []
        if !bytes.isEmpty { lines.append("the instruction begins with \(hexBytes(bytes[...]))") }
        lines.append(
            "ring-0 programs: build with -mgeneral-regs-only (this host's KVM emulates ring 0, and has no SSE there)")
        return CrashReport(summary: report.summary, vcpu: report.vcpu, lines: lines + report.lines)
    }

    private func registerLines(_ r: VCPURegisters) -> [String] {
        func row(_ pairs: [(String, UInt64)]) -> String {
            pairs.map { name, value in
                String(repeating: " ", count: max(0, 3 - name.utf8.count)) + name + " " + GVA(value).hex16.dropFirst(2)
            }.joined(separator: "  ")
        }
        func text(_ name: String, _ s: Segment) -> String {
            let selector = String(s.selector, radix: 16)
            let access = s.unusable ? "unusable" : "type \(s.type) dpl \(s.privilege)\(s.long ? " 64-bit" : "")"
            return "\(name) \(selector) base \(GVA(s.base).hex) limit 0x\(String(s.limit, radix: 16)) \(access)"
        }
        return [
            row([("rax", r.rax), ("rbx", r.rbx), ("rcx", r.rcx), ("rdx", r.rdx)]),
            row([("rsi", r.rsi), ("rdi", r.rdi), ("rsp", r.rsp), ("rbp", r.rbp)]),
            row([("r8", r.r8), ("r9", r.r9), ("r10", r.r10), ("r11", r.r11)]),
            row([("r12", r.r12), ("r13", r.r13), ("r14", r.r14), ("r15", r.r15)]),
            row([("rip", r.rip), ("rfl", r.rflags), ("cr0", r.cr0), ("cr2", r.cr2)]),
            row([("cr3", r.cr3), ("cr4", r.cr4), ("cr8", r.cr8), ("efr", r.efer)]),
            text("cs", r.cs), text("ss", r.ss), text("tr", r.tr),
            "gdt \(GVA(r.gdt.base).hex) limit 0x\(String(r.gdt.limit, radix: 16)), "
                + "idt \(GVA(r.idt.base).hex) limit 0x\(String(r.idt.limit, radix: 16))",
        ]
    }

    /// 12 bytes before and 16 from an address on, with a mark between; what is not mapped is `--`.
    private func codeBytes(_ address: GVA, _ state: PagingState) -> String {
        func byte(_ address: GVA) -> String {
            guard let place = physical(address, state), let page = ram.page(at: place) else { return "--" }
            return hexByte(page.load(fromByteOffset: Int(place.rawValue & 4095), as: UInt8.self))
        }
        let before = (1...12).reversed().map { byte(address &+ (0 &- UInt64($0))) }
        let after = (0..<16).map { byte(address &+ UInt64($0)) }
        return before.joined(separator: " ") + " > " + after.joined(separator: " ")
    }

    private func physical(_ address: GVA, _ state: PagingState) -> GPA? {
        switch state.mode {
        case .pagingOff: return GPA(address.rawValue)
        case .paging(let format, let root):
            return PageTables.translate(address, root: root, format: format, memory: ram).mapping?.gpa
        case .unsupported: return nil
        }
    }

    private func walk(_ name: String, _ address: GVA, _ state: PagingState) -> [String] {
        let head = "walk of \(name) \(address.hex):"
        switch state.mode {
        case .pagingOff: return ["\(head) paging is off"]
        case .unsupported(let mode): return ["\(head) \(mode) is not described"]
        case .paging(let format, let root):
            let translation = PageTables.translate(address, root: root, format: format, memory: ram)
            let entries = translation.entries.map {
                "  level \($0.level) at \($0.at.hex): 0x\(String($0.value, radix: 16))"
            }
            let end: String
            switch translation.result {
            case .mapped(let mapping):
                let backed = ram.page(at: mapping.gpa) == nil ? ", which is not RAM" : ""
                end = "  mapped to GPA \(mapping.gpa.hex), page of \(formatSize(mapping.pageSize))\(backed)"
            case .notMapped(let level, _): end = "  not mapped at level \(level)"
            case .tableOutsideRAM(let level, let at): end = "  the table of level \(level) at \(at.hex) is not in RAM"
            case .nonCanonical: end = "  not canonical"
            case .reservedBits(let level, let bits, _):
                end = "  reserved bits 0x\(String(bits, radix: 16)) are set at level \(level)"
            }
            return [head] + entries + [end]
        }
    }
}

private func hexByte(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }

private func hexBytes(_ bytes: ArraySlice<UInt8>) -> String { bytes.map(hexByte).joined(separator: " ") }

// `info registers`: a vCPU in the words of QEMU 7.2.

import CSystem
import KVM
import Machine

/// The text of `info registers` for one vCPU.
struct HumanRegisters {
    private let view: ProcessorView
    private let r: VCPURegisters
    /// Whether the code segment is one of 64-bit code: then registers have 16 digits.
    private let isLong: Bool
    /// IA32_EFER.LMA: then system registers have 16 digits.
    private let isLongModeActive: Bool

    init(_ view: ProcessorView) {
        self.view = view
        r = view.registers
        isLongModeActive = r.efer & 1 << 10 != 0
        isLong = isLongModeActive && r.cs.long
    }

    /// The lines.
    var text: String {
        (general + segments + system + floatingPoint + vectors).map { $0 + "\n" }.joined()
    }

    private var general: [String] {
        let order: [(Int, Character)] = [(10, "D"), (11, "O"), (7, "S"), (6, "Z"), (4, "A"), (2, "P"), (0, "C")]
        let letters = String(order.map { r.rflags & 1 << UInt64($0.0) != 0 ? $0.1 : "-" })
        let tail =
            "\(hexDigits(r.rflags & 0xffff_ffff, 8)) [\(letters)] CPL=\(r.ss.privilege & 3) II=0 A20=1 SMM=0 "
            + "HLT=\(view.isHalted ? 1 : 0)"
        func row(_ pairs: [(String, UInt64)]) -> String {
            pairs.map { isLong ? "\($0.0)=\(hexDigits($0.1, 16))" : "\($0.0)=\(hexDigits($0.1 & 0xffff_ffff, 8))" }
                .joined(separator: " ")
        }
        if isLong {
            return [
                row([("RAX", r.rax), ("RBX", r.rbx), ("RCX", r.rcx), ("RDX", r.rdx)]),
                row([("RSI", r.rsi), ("RDI", r.rdi), ("RBP", r.rbp), ("RSP", r.rsp)]),
                row([("R8 ", r.r8), ("R9 ", r.r9), ("R10", r.r10), ("R11", r.r11)]),
                row([("R12", r.r12), ("R13", r.r13), ("R14", r.r14), ("R15", r.r15)]),
                row([("RIP", r.rip)]) + " RFL=" + tail,
            ]
        }
        return [
            row([("EAX", r.rax), ("EBX", r.rbx), ("ECX", r.rcx), ("EDX", r.rdx)]),
            row([("ESI", r.rsi), ("EDI", r.rdi), ("EBP", r.rbp), ("ESP", r.rsp)]),
            row([("EIP", r.rip)]) + " EFL=" + tail,
        ]
    }

    private var segments: [String] {
        [
            segment("ES ", r.es), segment("CS ", r.cs), segment("SS ", r.ss), segment("DS ", r.ds),
            segment("FS ", r.fs),
            segment("GS ", r.gs), segment("LDT", r.ldt), segment("TR ", r.tr),
        ]
    }

    /// The upper half of a descriptor, without its base and limit (Intel SDM volume 3, figure 3-8).
    private func attributes(_ s: Segment) -> UInt32 {
        func bit(_ flag: Bool, _ position: UInt32) -> UInt32 { flag ? 1 << position : 0 }
        return UInt32(s.type & 15) << 8 | bit(s.codeOrData, 12) | UInt32(s.privilege & 3) << 13
            | bit(s.present && !s.unusable, 15) | bit(s.available, 20) | bit(s.long, 21) | bit(s.big, 22)
            | bit(s.granular, 23)
    }

    private func segment(_ name: String, _ s: Segment) -> String {
        let base = isLong ? hexDigits(s.base, 16) : hexDigits(s.base & 0xffff_ffff, 8)
        let line = "\(name)=\(hexDigits(s.selector, 4)) \(base) \(hexDigits(s.limit, 8)) \(hexDigits(attributes(s), 8))"
        guard r.cr0 & 1 != 0, s.present, !s.unusable else { return line }
        let head = line + " DPL=\(s.privilege & 3) "
        guard s.codeOrData else { return head + HumanRegisters.systemTypes(isLongModeActive)[Int(s.type & 15)] }
        func letter(_ bit: UInt8, _ letter: Character) -> Character { s.type & bit != 0 ? letter : "-" }
        // Bit 3 of the type: code; bits 2, 1, 0: conforming or expand-down, readable or writable, accessed.
        if s.type & 8 != 0 {
            let kind = s.long ? "CS64" : s.big ? "CS32" : "CS16"
            return head + kind + " [\(letter(4, "C"))\(letter(2, "R"))\(letter(1, "A"))]"
        }
        let kind = s.big || isLongModeActive ? "DS  " : "DS16"
        return head + kind + " [\(letter(4, "E"))\(letter(2, "W"))\(letter(1, "A"))]"
    }

    /// The names of system descriptors by their type (Intel SDM volume 3, table 3-2).
    private static func systemTypes(_ isLong: Bool) -> [String] {
        isLong
            ? [
                "<hiword>", "Reserved", "LDT", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved",
                "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved", "IntGate64", "TrapGate64",
            ]
            : [
                "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
                "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32", "TrapGate32",
            ]
    }

    private var system: [String] {
        func wide(_ number: UInt64) -> String {
            isLongModeActive ? hexDigits(number, 16) : hexDigits(number & 0xffff_ffff, 8)
        }
        let breakpoints = view.breakpoints.enumerated().map { "DR\($0.offset)=\(hexDigits($0.element, 16)) " }.joined()
        return [
            "GDT=     \(wide(r.gdt.base)) \(hexDigits(UInt32(r.gdt.limit), 8))",
            "IDT=     \(wide(r.idt.base)) \(hexDigits(UInt32(r.idt.limit), 8))",
            "CR0=\(hexDigits(r.cr0 & 0xffff_ffff, 8)) CR2=\(wide(r.cr2)) CR3=\(wide(r.cr3)) "
                + "CR4=\(hexDigits(r.cr4 & 0xffff_ffff, 8))",
            breakpoints, "DR6=\(hexDigits(view.dr6, 16)) DR7=\(hexDigits(view.dr7, 16))",
            "EFER=\(hexDigits(r.efer, 16))",
        ]
    }

    private var floatingPoint: [String] {
        var fpu = view.fpu
        let registers = withUnsafeBytes(of: &fpu.fpr) { bytes in
            (0..<8).map { number in
                let mantissa = bytes.loadUnaligned(fromByteOffset: number * 16, as: UInt64.self)
                let exponent = bytes.loadUnaligned(fromByteOffset: number * 16 + 8, as: UInt16.self)
                return "FPR\(number)=\(hexDigits(mantissa, 16)) \(hexDigits(exponent, 4))"
            }
        }
        let head =
            "FCW=\(hexDigits(fpu.fcw, 4)) FSW=\(hexDigits(fpu.fsw, 4)) [ST=\(fpu.fsw >> 11 & 7)] "
            + "FTW=\(hexDigits(fpu.ftwx, 2)) MXCSR=\(hexDigits(fpu.mxcsr, 8))"
        return [head] + HumanRegisters.pairs(registers)
    }

    private var vectors: [String] {
        var fpu = view.fpu
        let count = isLong ? 16 : 8
        let registers = withUnsafeBytes(of: &fpu.xmm) { bytes in
            (0..<count).map { number in
                let low = bytes.loadUnaligned(fromByteOffset: number * 16, as: UInt64.self)
                let high = bytes.loadUnaligned(fromByteOffset: number * 16 + 8, as: UInt64.self)
                return "XMM\(decimalDigits(number, 2))=\(hexDigits(high, 16)) \(hexDigits(low, 16))"
            }
        }
        return HumanRegisters.pairs(registers)
    }

    private static func pairs(_ texts: [String]) -> [String] {
        stride(from: 0, to: texts.count - 1, by: 2).map { texts[$0] + " " + texts[$0 + 1] }
    }
}

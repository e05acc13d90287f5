// A vCPU's registers by the names that debuggers have for them, as bytes: the lowest first.

import CSystem
import SystemCalls

/// A register that a debugger may read and write.
public struct RegisterName: Hashable, Sendable {
    /// As GDB calls it; the processor's own name in lower case where GDB has none.
    public let name: String
    /// Its size in bytes.
    public let size: Int
}

/// Everything that the kernel keeps of a vCPU and the names are about.
private struct RegisterState {
    var general = kvm_regs()
    var system = kvm_sregs()
    var fpu = kvm_fpu()
}

extension VCPU {
    /// Every register with a name, in the order of GDB's features core, sse and segments (GDB manual, "i386 Features"), then what is
    /// a kernel's.
    public static let registerNames: [RegisterName] = {
        func all(_ names: [String], _ size: Int) -> [RegisterName] { names.map { RegisterName(name: $0, size: size) } }
        return all(general, 8) + all(["rip"], 8) + all(["eflags"], 4) + all(selectors, 4)
            + all((0..<8).map { "st\($0)" }, 10) + all(control87, 4) + all((0..<16).map { "xmm\($0)" }, 16)
            + all(["mxcsr"], 4) + all(["fs_base", "gs_base"], 8) + all(systemNames + msrs.map(\.name), 8)
            + all(tables, 8)
    }()

    private static let general = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    ]
    private static let selectors = ["cs", "ss", "ds", "es", "fs", "gs"]
    private static let control87 = ["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"]
    private static let systemNames = ["cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base"]
    /// Intel SDM volume 4, table 2-2.
    private static let msrs: [(name: String, index: UInt32)] = [
        ("k_gs_base", 0xc000_0102), ("star", 0xc000_0081), ("lstar", 0xc000_0082), ("sfmask", 0xc000_0084),
        ("pat", 0x277),
    ]
    private static let tables = [
        "gdt_base", "gdt_limit", "idt_base", "idt_limit", "tr", "tr_base", "ldtr", "ldtr_base",
    ]

    /// The value of every register in `registerNames`, in its order. An MSR that the host does not have is 0.
    public func namedRegisters() throws(KVMError) -> [[UInt8]] {
        let state = try registerState()
        var values: [[UInt8]] = []
        for register in VCPU.registerNames {
            values.append(try value(of: register, state))
        }
        return values
    }

    /// Writes one register.
    ///
    /// - Parameter bytes: as many as the register has.
    /// - Returns: false if there is no such register, it has another size, or it is one that cannot be written by itself (a selector: the
    ///   descriptor belongs to it).
    public func setNamedRegister(_ name: String, _ bytes: [UInt8]) throws(KVMError) -> Bool {
        guard let register = VCPU.registerNames.first(where: { $0.name == name }), register.size == bytes.count else {
            return false
        }
        let value = bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        if let msr = VCPU.msrs.first(where: { $0.name == name }) {
            try writeMSR(msr.index, value)
            return true
        }
        var state = try registerState()
        do throws(Errno) {
            if let path = VCPU.generalPath(name) {
                state.general[keyPath: path] = value
                try descriptor.control(csystem_KVM_SET_REGS, &state.general, name: "KVM_SET_REGS")
                return true
            }
            if let path = VCPU.systemPath(name) {
                state.system[keyPath: path] = value
                try descriptor.control(csystem_KVM_SET_SREGS, &state.system, name: "KVM_SET_SREGS")
                return true
            }
            guard VCPU.setFPU(name, bytes, &state.fpu) else { return false }
            try descriptor.control(csystem_KVM_SET_FPU, &state.fpu, name: "KVM_SET_FPU")
            return true
        } catch { throw .call(error) }
    }

    private func registerState() throws(KVMError) -> RegisterState {
        var state = RegisterState()
        do {
            try descriptor.control(csystem_KVM_GET_REGS, &state.general, name: "KVM_GET_REGS")
            try descriptor.control(csystem_KVM_GET_SREGS, &state.system, name: "KVM_GET_SREGS")
            try descriptor.control(csystem_KVM_GET_FPU, &state.fpu, name: "KVM_GET_FPU")
        } catch { throw .call(error) }
        return state
    }

    private func value(of register: RegisterName, _ state: RegisterState) throws(KVMError) -> [UInt8] {
        func bytes(_ value: UInt64) -> [UInt8] {
            (0..<register.size).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
        }
        let name = register.name
        if let path = VCPU.generalPath(name) { return bytes(state.general[keyPath: path]) }
        if let path = VCPU.systemPath(name) { return bytes(state.system[keyPath: path]) }
        if let msr = VCPU.msrs.first(where: { $0.name == name }) { return bytes((try? readMSR(msr.index)) ?? 0) }
        if let selector = VCPU.selector(name, state.system) { return bytes(UInt64(selector)) }
        switch name {
        case "gdt_limit": return bytes(UInt64(state.system.gdt.limit))
        case "idt_limit": return bytes(UInt64(state.system.idt.limit))
        default: return VCPU.fpuBytes(name, state.fpu) ?? bytes(0)
        }
    }

    private static func generalPath(_ name: String) -> WritableKeyPath<kvm_regs, UInt64>? {
        switch name {
        case "rax": return \.rax
        case "rbx": return \.rbx
        case "rcx": return \.rcx
        case "rdx": return \.rdx
        case "rsi": return \.rsi
        case "rdi": return \.rdi
        case "rbp": return \.rbp
        case "rsp": return \.rsp
        case "r8": return \.r8
        case "r9": return \.r9
        case "r10": return \.r10
        case "r11": return \.r11
        case "r12": return \.r12
        case "r13": return \.r13
        case "r14": return \.r14
        case "r15": return \.r15
        case "rip": return \.rip
        case "eflags": return \.rflags
        default: return nil
        }
    }

    private static func systemPath(_ name: String) -> WritableKeyPath<kvm_sregs, UInt64>? {
        switch name {
        case "fs_base": return \.fs.base
        case "gs_base": return \.gs.base
        case "cr0": return \.cr0
        case "cr2": return \.cr2
        case "cr3": return \.cr3
        case "cr4": return \.cr4
        case "cr8": return \.cr8
        case "efer": return \.efer
        case "apic_base": return \.apic_base
        case "gdt_base": return \.gdt.base
        case "idt_base": return \.idt.base
        case "tr_base": return \.tr.base
        case "ldtr_base": return \.ldt.base
        default: return nil
        }
    }

    private static func selector(_ name: String, _ system: kvm_sregs) -> UInt16? {
        switch name {
        case "cs": return system.cs.selector
        case "ss": return system.ss.selector
        case "ds": return system.ds.selector
        case "es": return system.es.selector
        case "fs": return system.fs.selector
        case "gs": return system.gs.selector
        case "tr": return system.tr.selector
        case "ldtr": return system.ldt.selector
        default: return nil
        }
    }
}

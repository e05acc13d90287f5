// Single-step and breakpoints (KVM_SET_GUEST_DEBUG).

import CSystem
import SystemCalls

/// A hardware breakpoint or watchpoint: one of DR0 to DR3 (Intel SDM volume 3, 18.2.4).
public struct HardwareBreakpoint: Hashable, Sendable {
    /// What triggers it; the raw value is the R/W field of DR7.
    public enum Access: UInt64, Sendable {
        /// The instruction at the address is about to run.
        case execute = 0
        /// Data is written.
        case write = 1
        /// Data is read or written.
        case readWrite = 3
    }

    /// The linear address; a multiple of the length.
    public var address: UInt64
    /// What triggers it.
    public var access: Access
    /// The bytes watched: 1, 2, 4 or 8; 1 for `execute`.
    public var length: Int

    /// A breakpoint.
    public init(_ address: UInt64, _ access: Access = .execute, length: Int = 1) {
        self.address = address
        self.access = access
        self.length = access == .execute ? 1 : length
    }

    /// The LEN field of DR7.
    var lengthField: UInt64 {
        switch length {
        case 2: return 1
        case 4: return 3
        case 8: return 2
        default: return 0
        }
    }
}

extension VCPU {
    /// Makes the vCPU stop with `VCPUExit.debug` after the next instruction, at breakpoints, or at INT3.
    ///
    /// Comes after `setGeneralRegisters`, which would overwrite the flag that steps. A breakpoint for execution stops
    /// before its instruction: to go on from there, step once without it.
    ///
    /// - Parameters:
    ///   - singleStep: stop after each instruction.
    ///   - softwareBreakpoints: INT3 comes to us instead of the guest.
    ///   - breakpoints: at most four; more are ignored.
    ///   - blocksInterrupts: with `singleStep`: interrupts wait, so that the next instruction is the next one of the program. Where
    ///     KVM has it (`KVMSystem.blocksInterruptsInSteps`).
    ///   - catchesTraps: a #DB that nobody asked for comes to us instead of the guest (while KVM_GUESTDBG_USE_HW_BP is set every one does); the
    ///     guest's own debug registers have no effect meanwhile.
    ///   - injectsBreakpoint: the guest gets the #BP that came to us: the INT3 was its own.
    public func setGuestDebug(
        singleStep: Bool = false, softwareBreakpoints: Bool = false, breakpoints: [HardwareBreakpoint] = [],
        blocksInterrupts: Bool = false, catchesTraps: Bool = false, injectsBreakpoint: Bool = false
    ) throws(KVMError) {
        var request = kvm_guest_debug()
        if singleStep || softwareBreakpoints || !breakpoints.isEmpty || catchesTraps || injectsBreakpoint {
            request.control = UInt32(KVM_GUESTDBG_ENABLE)
        }
        if singleStep { request.control |= UInt32(KVM_GUESTDBG_SINGLESTEP) }
        if singleStep && blocksInterrupts { request.control |= UInt32(KVM_GUESTDBG_BLOCKIRQ) }
        if injectsBreakpoint { request.control |= UInt32(KVM_GUESTDBG_INJECT_BP) }
        if softwareBreakpoints { request.control |= UInt32(KVM_GUESTDBG_USE_SW_BP) }
        if !breakpoints.isEmpty || catchesTraps {
            request.control |= UInt32(KVM_GUESTDBG_USE_HW_BP)
            // DR7: bit 10 is always 1, bit 9 exact data breakpoints, then enable bits and two fields for each.
            var dr7: UInt64 = 0x600
            withUnsafeMutableBytes(of: &request.arch.debugreg) { bytes in
                let registers = bytes.bindMemory(to: UInt64.self)
                for (index, breakpoint) in breakpoints.prefix(4).enumerated() {
                    registers[index] = breakpoint.address
                    dr7 |= 2 << UInt64(index * 2)
                    dr7 |= (breakpoint.access.rawValue | breakpoint.lengthField << 2) << UInt64(16 + index * 4)
                }
                registers[7] = dr7
            }
        }
        do { try descriptor.control(csystem_KVM_SET_GUEST_DEBUG, &request, name: "KVM_SET_GUEST_DEBUG") } catch {
            throw .call(error)
        }
    }
}

extension KVMSystem {
    /// Whether KVM_GUESTDBG_BLOCKIRQ is there (KVM_CAP_SET_GUEST_DEBUG2, Linux 5.16).
    public var blocksInterruptsInSteps: Bool {
        value(of: Capability("SET_GUEST_DEBUG2", KVM_CAP_SET_GUEST_DEBUG2)) & Int(KVM_GUESTDBG_BLOCKIRQ) != 0
    }
}

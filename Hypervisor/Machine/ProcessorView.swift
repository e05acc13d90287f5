// All of a vCPU that a debugger shows.

import Addresses
import CSystem
import KVM
import PageTables

/// The registers of a vCPU between two instructions, those of the FPU and for debugging among them.
public struct ProcessorView: @unchecked Sendable {
    /// The general and the system registers.
    public let registers: VCPURegisters
    /// The x87 and SSE state.
    public let fpu: kvm_fpu
    /// DR0 to DR3.
    public let breakpoints: [UInt64]
    /// DR6.
    public let dr6: UInt64
    /// DR7.
    public let dr7: UInt64
    /// Whether it executed HLT and waits.
    public let isHalted: Bool

    /// What the control registers say of translation.
    public var paging: PagingState {
        PagingState(
            cr0: registers.cr0, cr3: registers.cr3, cr4: registers.cr4, efer: registers.efer,
            maxPhysicalAddressBits: registers.maxPhysicalAddressBits)
    }
}

extension Machine {
    /// All of a vCPU, taken between two instructions.
    public func view(vcpu: Int) throws(MachineError) -> ProcessorView {
        let bits = maxPhysicalAddressBits
        return try onVCPU(vcpu) { vcpu throws(KVMError) in
            var registers = try vcpu.registers()
            registers.maxPhysicalAddressBits = bits
            let debug = try vcpu.debugRegisters()
            var fpu = try vcpu.fpu()
            fpu.mxcsr = try vcpu.mxcsr()
            return ProcessorView(
                registers: registers, fpu: fpu, breakpoints: debug.breakpoints, dr6: debug.dr6,
                dr7: debug.dr7, isHalted: try vcpu.activity() == .halted)
        }
    }
}

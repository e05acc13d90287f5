// Everything that a vCPU is, kept and put back: what a reset needs.

import CSystem
import SystemCalls

/// Whether a vCPU runs (KVM_MP_STATE_*).
public enum ActivityState: UInt32, Sendable {
    /// It runs.
    case runnable = 0
    /// It waits for INIT.
    case uninitialized = 1
    /// It had INIT and waits for SIPI.
    case initialized = 2
    /// It executed HLT and waits for an interrupt.
    case halted = 3
    /// It had SIPI.
    case startupReceived = 4
}

/// The state of a vCPU between two instructions.
public struct VCPUState: @unchecked Sendable {
    var regs = kvm_regs()
    var sregs = kvm_sregs()
    var lapic = kvm_lapic_state()
    var events = kvm_vcpu_events()
    var debug = kvm_debugregs()
    var activity = kvm_mp_state()
    var msrs: [(index: UInt32, value: UInt64)] = []
}

extension VCPU {
    /// The model-specific registers that a guest may have changed, and that outlive KVM_SET_SREGS (Intel SDM volume 4;
    /// the last ones are KVM's own, Documentation/virt/kvm/x86/msr.rst).
    private static var resettable: [UInt32] {
        [
            0x174, 0x175, 0x176, 0x277, 0x2ff, 0x1a0, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0102,
            0xc000_0103, 0x11, 0x12, 0x4b56_4d00, 0x4b56_4d01, 0x4b56_4d02, 0x4b56_4d03, 0x4b56_4d04,
        ]
    }

    /// What the vCPU is now, as far as a reset needs it.
    public func state() throws(KVMError) -> VCPUState { try state(registers: VCPU.resettable) }

    /// What the vCPU is now, with these model-specific registers.
    func state(registers: [UInt32]) throws(KVMError) -> VCPUState {
        var state = VCPUState()
        do {
            try descriptor.control(csystem_KVM_GET_REGS, &state.regs, name: "KVM_GET_REGS")
            try descriptor.control(csystem_KVM_GET_SREGS, &state.sregs, name: "KVM_GET_SREGS")
            try descriptor.control(csystem_KVM_GET_LAPIC, &state.lapic, name: "KVM_GET_LAPIC")
            try descriptor.control(csystem_KVM_GET_VCPU_EVENTS, &state.events, name: "KVM_GET_VCPU_EVENTS")
            try descriptor.control(csystem_KVM_GET_DEBUGREGS, &state.debug, name: "KVM_GET_DEBUGREGS")
            try descriptor.control(csystem_KVM_GET_MP_STATE, &state.activity, name: "KVM_GET_MP_STATE")
        } catch { throw .call(error) }
        for index in registers {
            // Not every host has every one.
            if let value = try? readMSR(index) { state.msrs.append((index, value)) }
        }
        return state
    }

    /// Makes the vCPU what it was. The extended state (FPU, SSE, AVX) becomes that after a reset.
    public func setState(_ state: VCPUState) throws(KVMError) {
        var copy = state
        do {
            var debug = kvm_guest_debug()
            try descriptor.control(csystem_KVM_SET_GUEST_DEBUG, &debug, name: "KVM_SET_GUEST_DEBUG")
            try descriptor.control(csystem_KVM_SET_SREGS, &copy.sregs, name: "KVM_SET_SREGS")
            for (index, value) in state.msrs { try? writeMSR(index, value) }
            try descriptor.control(csystem_KVM_SET_REGS, &copy.regs, name: "KVM_SET_REGS")
            try descriptor.control(csystem_KVM_SET_DEBUGREGS, &copy.debug, name: "KVM_SET_DEBUGREGS")
            try descriptor.control(csystem_KVM_SET_LAPIC, &copy.lapic, name: "KVM_SET_LAPIC")
            // With them a pending NMI and an interrupt shadow of before are gone; without, they would stay.
            copy.events.flags = UInt32(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW)
            try descriptor.control(csystem_KVM_SET_VCPU_EVENTS, &copy.events, name: "KVM_SET_VCPU_EVENTS")
            try descriptor.control(csystem_KVM_SET_MP_STATE, &copy.activity, name: "KVM_SET_MP_STATE")
        } catch { throw .call(error) }
        try resetExtendedState()
    }

    /// FPU, SSE and AVX as after a reset (Intel SDM volume 3, table 10-1): FCW 0x37f, MXCSR 0x1f80, all else initial.
    private func resetExtendedState() throws(KVMError) {
        let area = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 64)
        defer { area.deallocate() }
        area.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
        area.storeBytes(of: 0x37f, as: UInt16.self)
        area.storeBytes(of: 0x1f80, toByteOffset: 24, as: UInt32.self)
        do { try descriptor.controlPointer(csystem_KVM_SET_XSAVE, area, name: "KVM_SET_XSAVE") } catch {
            throw .call(error)
        }
    }

    /// Whether it runs, waits or halts; nil for a state that x86 does not have.
    public func activity() throws(KVMError) -> ActivityState? {
        var state = kvm_mp_state()
        do { try descriptor.control(csystem_KVM_GET_MP_STATE, &state, name: "KVM_GET_MP_STATE") } catch {
            throw .call(error)
        }
        return ActivityState(rawValue: state.mp_state)
    }

    /// Makes it run, wait or halt.
    public func setActivity(_ activity: ActivityState) throws(KVMError) {
        var state = kvm_mp_state()
        state.mp_state = activity.rawValue
        do { try descriptor.control(csystem_KVM_SET_MP_STATE, &state, name: "KVM_SET_MP_STATE") } catch {
            throw .call(error)
        }
    }

    /// The x87 and SSE state.
    public func fpu() throws(KVMError) -> kvm_fpu {
        var state = kvm_fpu()
        do { try descriptor.control(csystem_KVM_GET_FPU, &state, name: "KVM_GET_FPU") } catch { throw .call(error) }
        return state
    }

    /// The debug registers (KVM_GET_DEBUGREGS): DR0 to DR3, DR6, DR7.
    public func debugRegisters() throws(KVMError) -> (breakpoints: [UInt64], dr6: UInt64, dr7: UInt64) {
        var state = kvm_debugregs()
        do { try descriptor.control(csystem_KVM_GET_DEBUGREGS, &state, name: "KVM_GET_DEBUGREGS") } catch {
            throw .call(error)
        }
        return ([state.db.0, state.db.1, state.db.2, state.db.3], state.dr6, state.dr7)
    }

    /// MXCSR, which KVM_GET_FPU leaves out: bytes 24 to 27 of the area of XSAVE (Intel SDM volume 1, 13.4.1).
    public func mxcsr() throws(KVMError) -> UInt32 {
        let area = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 64)
        defer { area.deallocate() }
        do { try descriptor.controlPointer(csystem_KVM_GET_XSAVE, area, name: "KVM_GET_XSAVE") } catch {
            throw .call(error)
        }
        return area.load(fromByteOffset: 24, as: UInt32.self)
    }

    /// Sets the x87 and SSE state.
    public func setFPU(_ state: kvm_fpu) throws(KVMError) {
        var copy = state
        do { try descriptor.control(csystem_KVM_SET_FPU, &copy, name: "KVM_SET_FPU") } catch { throw .call(error) }
    }

    /// A register of the local APIC, by its offset in the APIC's page (Intel SDM volume 3, table 11-1).
    public func localAPIC(offset: Int) throws(KVMError) -> UInt32 {
        var state = kvm_lapic_state()
        do { try descriptor.control(csystem_KVM_GET_LAPIC, &state, name: "KVM_GET_LAPIC") } catch {
            throw .call(error)
        }
        return withUnsafeBytes(of: &state) { bytes in
            offset >= 0 && offset <= bytes.count - 4 ? bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self) : 0
        }
    }
}

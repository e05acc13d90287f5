// A vCPU as a saved guest has it: everything of KVM's state that another vCPU needs to go on in its place.

import CSystem
import SavedGuests
import SystemCalls

/// A vCPU between two instructions, whole.
public struct SavedVCPU: @unchecked Sendable {
    /// Registers, local APIC, events, debug registers, activity, and every MSR that could be read.
    var state = VCPUState()
    /// FPU, SSE, AVX and what else the processor has (Intel SDM volume 1, 13.4).
    var extended: [UInt8] = []
    /// XCR0.
    var xcrs = kvm_xcrs()
    /// The frequency of the TSC in kHz; 0 if KVM does not say.
    var tscFrequency: UInt32 = 0

    /// The most bytes of extended state that are believed.
    private static let extendedLimit = 64 << 10

    /// The fields of its section, after the vCPU's number.
    public func write(_ fields: inout FieldWriter) {
        fields.structure(state.regs)
        fields.structure(state.sregs)
        fields.structure(state.lapic)
        fields.structure(state.events)
        fields.structure(state.debug)
        fields.structure(state.activity)
        fields.structure(xcrs)
        fields.block(extended)
        fields.u32(tscFrequency)
        fields.u32(UInt32(clamping: state.msrs.count))
        for (index, value) in state.msrs {
            fields.u32(index)
            fields.u64(value)
        }
    }

    /// Reads the fields.
    public init(_ fields: inout FieldReader) throws(SavedGuestError) {
        state.regs = try fields.structure("general registers", as: kvm_regs.self)
        state.sregs = try fields.structure("system registers", as: kvm_sregs.self)
        state.lapic = try fields.structure("local APIC", as: kvm_lapic_state.self)
        state.events = try fields.structure("events", as: kvm_vcpu_events.self)
        state.debug = try fields.structure("debug registers", as: kvm_debugregs.self)
        state.activity = try fields.structure("activity", as: kvm_mp_state.self)
        xcrs = try fields.structure("extended control registers", as: kvm_xcrs.self)
        extended = try fields.block("extended state", limit: SavedVCPU.extendedLimit)
        guard extended.count >= 4096, extended.count & 4095 == 0 else {
            throw fields.wrong("extended state", "\(extended.count) bytes")
        }
        tscFrequency = try fields.u32("frequency of the TSC")
        for _ in 0..<(try fields.count("number of MSRs", limit: 4096)) {
            let index = try fields.u32("number of an MSR")
            state.msrs.append((index, try fields.u64("MSR 0x\(String(index, radix: 16))")))
        }
    }

    init() {}
}

extension KVMSystem {
    /// The model-specific registers that KVM keeps for a guest (KVM_GET_MSR_INDEX_LIST).
    public func modelSpecificRegisters() throws(KVMError) -> [UInt32] {
        let list = UnsafeMutablePointer<csystem_msr_list>.allocate(capacity: 1)
        defer { list.deallocate() }
        UnsafeMutableRawPointer(list).initializeMemory(
            as: UInt8.self, repeating: 0, count: MemoryLayout<csystem_msr_list>.size)
        list.pointee.count = 1024
        do {
            try device.controlPointer(csystem_KVM_GET_MSR_INDEX_LIST, list, name: "KVM_GET_MSR_INDEX_LIST")
        } catch { throw .call(error) }
        let count = min(1024, Int(list.pointee.count))
        return withUnsafeBytes(of: &list.pointee.indices) { Array($0.bindMemory(to: UInt32.self).prefix(count)) }
    }

    /// The size of a vCPU's extended state in bytes: 4096, or more with KVM_CAP_XSAVE2.
    public var extendedStateSize: Int { max(4096, (value(of: .xsave2) + 4095) & ~4095) }
}

extension VCPU {
    /// IA32_TSC_DEADLINE (Intel SDM volume 4, table 2-2): it counts only after the local APIC's timer has its mode.
    private static var deadline: UInt32 { 0x6e0 }

    /// Everything that the vCPU is now, between two instructions: call `completePending` first.
    ///
    /// - Parameters:
    ///   - registers: the MSRs to read; those that this vCPU does not have are left out.
    ///   - extendedSize: `KVMSystem.extendedStateSize`.
    public func saved(registers: [UInt32], extendedSize: Int) throws(KVMError) -> SavedVCPU {
        var saved = SavedVCPU()
        saved.state = try state(registers: registers)
        let area = UnsafeMutableRawBufferPointer.allocate(byteCount: extendedSize, alignment: 64)
        defer { area.deallocate() }
        area.initializeMemory(as: UInt8.self, repeating: 0)
        do throws(Errno) {
            if let start = area.baseAddress {
                if extendedSize > 4096 {
                    try descriptor.controlPointer(csystem_KVM_GET_XSAVE2, start, name: "KVM_GET_XSAVE2")
                } else {
                    try descriptor.controlPointer(csystem_KVM_GET_XSAVE, start, name: "KVM_GET_XSAVE")
                }
            }
            try descriptor.control(csystem_KVM_GET_XCRS, &saved.xcrs, name: "KVM_GET_XCRS")
        } catch { throw .call(error) }
        saved.extended = Array(area)
        let frequency = try? descriptor.control(csystem_KVM_GET_TSC_KHZ, name: "KVM_GET_TSC_KHZ")
        saved.tscFrequency = frequency.flatMap { UInt32(exactly: $0) } ?? 0
        return saved
    }

    /// Makes the vCPU go on where the saved one stood. CPUID was set before, and the VM's clock.
    ///
    /// - Throws: `unsuitable` if this host's KVM does not take something; the vCPU is then neither one nor the other.
    public func restore(_ saved: SavedVCPU, extendedSize: Int) throws(SavedGuestError) {
        var copy = saved
        guard copy.extended.count == extendedSize else {
            throw .unsuitable(
                "the saved guest's extended state has \(copy.extended.count) bytes, this host's \(extendedSize): the "
                    + "processors differ")
        }
        try setFrequency(saved.tscFrequency)
        do throws(Errno) {
            try descriptor.control(csystem_KVM_SET_SREGS, &copy.state.sregs, name: "KVM_SET_SREGS")
            try descriptor.control(csystem_KVM_SET_XCRS, &copy.xcrs, name: "KVM_SET_XCRS")
            let area = UnsafeMutableRawBufferPointer.allocate(byteCount: extendedSize, alignment: 64)
            defer { area.deallocate() }
            area.copyBytes(from: copy.extended)
            if let start = area.baseAddress {
                try descriptor.controlPointer(csystem_KVM_SET_XSAVE, start, name: "KVM_SET_XSAVE")
            }
        } catch { throw refusal(error) }
        for (index, value) in saved.state.msrs where index != VCPU.deadline { try restoreMSR(index, value) }
        do throws(Errno) {
            try descriptor.control(csystem_KVM_SET_REGS, &copy.state.regs, name: "KVM_SET_REGS")
            try descriptor.control(csystem_KVM_SET_DEBUGREGS, &copy.state.debug, name: "KVM_SET_DEBUGREGS")
            try descriptor.control(csystem_KVM_SET_LAPIC, &copy.state.lapic, name: "KVM_SET_LAPIC")
        } catch { throw refusal(error) }
        for (index, value) in saved.state.msrs where index == VCPU.deadline { try restoreMSR(index, value) }
        do throws(Errno) {
            try descriptor.control(csystem_KVM_SET_VCPU_EVENTS, &copy.state.events, name: "KVM_SET_VCPU_EVENTS")
            try descriptor.control(csystem_KVM_SET_MP_STATE, &copy.state.activity, name: "KVM_SET_MP_STATE")
        } catch { throw refusal(error) }
    }

    private func refusal(_ error: Errno) -> SavedGuestError {
        .unsuitable("this host's KVM does not take the saved state of vCPU \(number): \(error)")
    }

    /// A register that cannot be written may stay as it is if that is what it was.
    private func restoreMSR(_ index: UInt32, _ value: UInt64) throws(SavedGuestError) {
        do throws(KVMError) { try writeMSR(index, value) } catch {
            let present = try? readMSR(index)
            guard present != value else { return }
            let now = present.map { "0x" + String($0, radix: 16) } ?? "not there"
            throw .unsuitable(
                "this host's KVM does not take MSR 0x\(String(index, radix: 16)) of vCPU \(number): saved is "
                    + "0x\(String(value, radix: 16)), here it is \(now)")
        }
    }

    /// Differences below 250 ppm are those of measuring it (arch/x86/kvm/x86.c, tsc_tolerance_ppm).
    private func setFrequency(_ saved: UInt32) throws(SavedGuestError) {
        guard saved != 0, let own = try? descriptor.control(csystem_KVM_GET_TSC_KHZ, name: "KVM_GET_TSC_KHZ"),
            own > 0, abs(own - Int(saved)) * 4000 > own
        else { return }
        do throws(Errno) {
            try descriptor.control(csystem_KVM_SET_TSC_KHZ, UInt(saved), name: "KVM_SET_TSC_KHZ")
        } catch {
            throw .unsuitable(
                "the saved guest's TSC has \(saved) kHz, this host's \(own) kHz, and it cannot be scaled (\(error))")
        }
    }
}

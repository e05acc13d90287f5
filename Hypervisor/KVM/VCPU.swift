// A vCPU: running it, and kicking it out of the guest.

import CSystem
import Glibc
import SystemCalls

/// A vCPU of KVM. Its methods belong to the thread that runs it, or to any thread while that thread is parked;
/// `requestExit` alone may be called from anywhere at any time.
public final class VCPU: @unchecked Sendable {
    /// The vCPU's number and APIC id.
    public let number: UInt32
    let descriptor: FileDescriptor
    private let area: MemoryMap
    let run: UnsafeMutablePointer<kvm_run>
    private let areaSize: Int

    init(number: UInt32, descriptor: consuming FileDescriptor, area: consuming MemoryMap) {
        self.number = number
        run = area.address.bindMemory(to: kvm_run.self, capacity: 1)
        areaSize = area.size
        self.descriptor = descriptor
        self.area = area
    }

    /// Runs the guest until something has to be done (KVM_RUN). What the last exit asked for is completed first.
    public func enter() -> VCPUExit {
        let result = csystem_ioctl(descriptor.rawValue, csystem_KVM_RUN, 0)
        if result < 0 {
            let code = Int32(truncatingIfNeeded: -result)
            // EAGAIN: the vCPU waited for SIPI, and something woke it.
            return code == EINTR || code == EAGAIN ? .interrupted : .failed(code)
        }
        switch Int32(bitPattern: csystem_run_exit_reason(run)) {
        case KVM_EXIT_IO:
            let width = Int(csystem_run_io_size(run))
            let offset = Int(truncatingIfNeeded: csystem_run_io_offset(run))
            let count = min(Int(csystem_run_io_count(run)), max(0, areaSize &- offset) / max(1, width))
            return .io(
                PortAccess(
                    isWrite: csystem_run_io_direction(run) == UInt8(KVM_EXIT_IO_OUT), width: width,
                    port: csystem_run_io_port(run), count: count, data: UnsafeMutableRawPointer(run) + offset))
        case KVM_EXIT_MMIO:
            guard let data = csystem_run_mmio_data(run) else { return .unknown(csystem_run_exit_reason(run)) }
            return .mmio(
                MemoryAccess(
                    isWrite: csystem_run_mmio_is_write(run) != 0, address: csystem_run_mmio_address(run),
                    width: min(8, Int(csystem_run_mmio_length(run))), data: data))
        case KVM_EXIT_INTR: return .interrupted
        case KVM_EXIT_HLT: return .halt
        case KVM_EXIT_SHUTDOWN: return .shutdown
        case KVM_EXIT_DEBUG:
            return .debug(
                DebugStop(
                    exception: csystem_run_debug_exception(run), address: csystem_run_debug_pc(run),
                    dr6: csystem_run_debug_dr6(run), dr7: csystem_run_debug_dr7(run)))
        case KVM_EXIT_INTERNAL_ERROR: return .internalError(csystem_run_suberror(run))
        case KVM_EXIT_FAIL_ENTRY:
            return .failEntry(reason: csystem_run_fail_reason(run), cpu: csystem_run_fail_cpu(run))
        case KVM_EXIT_SYSTEM_EVENT: return .systemEvent(csystem_run_event_type(run))
        default: return .unknown(csystem_run_exit_reason(run))
        }
    }

    /// Makes the present or next `enter` complete what is pending and return `interrupted` without running the guest,
    /// until the request is cleared. A vCPU inside the guest needs a signal besides (`HostThread.kick`).
    public func requestExit() { csystem_run_set_immediate_exit(run, 1) }

    /// Takes the request back.
    public func clearExitRequest() { csystem_run_set_immediate_exit(run, 0) }

    /// Completes what the last exit asked for, so that the registers are those between two instructions.
    public func completePending() {
        requestExit()
        _ = csystem_ioctl(descriptor.rawValue, csystem_KVM_RUN, 0)
        clearExitRequest()
    }

    /// After `internalError(1)`: the bytes of the instruction, up to 15; empty if KVM does not say.
    public var failedInstruction: [UInt8] {
        // "ndata" counts 8-byte words: flags, then size and bytes in two.
        guard csystem_run_internal_count(run) >= 3,
            csystem_run_emulation_flags(run) & UInt64(csystem_emulation_bytes) != 0
        else { return [] }
        let count = min(15, UInt32(csystem_run_emulation_size(run)))
        return (0..<count).map { csystem_run_emulation_byte(run, $0) }
    }

    /// After `internalError`: the words that KVM adds, without a fixed meaning.
    public var internalErrorData: [UInt64] {
        (0..<min(16, csystem_run_internal_count(run))).map { csystem_run_internal_data(run, $0) }
    }

    /// KVM's statistics of the vCPU.
    public func statistics() throws(KVMError) -> Statistics { try Statistics(of: descriptor) }
}

// Why KVM_RUN came back.

/// An access to ports: one, or `count` of them by a string instruction, all to the same port.
public struct PortAccess {
    /// The guest writes.
    public let isWrite: Bool
    /// Bytes an access: 1, 2 or 4.
    public let width: Int
    /// The port.
    public let port: UInt16
    /// How many accesses, one after the other in `data`.
    public let count: Int
    /// What is written; for a read, where the answer goes. `width * count` bytes of the vCPU's shared area.
    public let data: UnsafeMutableRawPointer
}

/// An access to a guest physical address without a slot.
public struct MemoryAccess {
    /// The guest writes.
    public let isWrite: Bool
    /// The guest physical address.
    public let address: UInt64
    /// Bytes: 1 to 8.
    public let width: Int
    /// What is written; for a read, where the answer goes. 8 bytes of the vCPU's shared area.
    public let data: UnsafeMutablePointer<UInt8>
}

/// A stop that was asked for with `setGuestDebug`.
public struct DebugStop: Hashable, Sendable {
    /// 1 for #DB (a step, a hardware breakpoint), 3 for #BP.
    public let exception: UInt32
    /// The linear address of the instruction that would come next (or of INT3).
    public let address: UInt64
    /// DR6: bit 14 a step, bits 0-3 the breakpoint that was hit.
    public let dr6: UInt64
    /// DR7.
    public let dr7: UInt64
    /// Whether RFLAGS.TF is what stopped it (DR6.BS).
    public var isStep: Bool { exception == 1 && dr6 >> 14 & 1 != 0 }
}

/// Why KVM_RUN came back. Pointers in it are valid until the next run.
public enum VCPUExit {
    /// Ports.
    case io(PortAccess)
    /// Addresses without a slot.
    case mmio(MemoryAccess)
    /// A step or a breakpoint.
    case debug(DebugStop)
    /// A triple fault.
    case shutdown
    /// KVM gave up (KVM_INTERNAL_ERROR_*; 1 is an instruction that it cannot emulate).
    case internalError(UInt32)
    /// The processor refused to enter the guest.
    case failEntry(reason: UInt64, cpu: UInt32)
    /// A kick, a signal, or a vCPU that still waits for SIPI: run again.
    case interrupted
    /// HLT, where the kernel has no interrupt controllers.
    case halt
    /// A request of a paravirtual guest (KVM_SYSTEM_EVENT_*).
    case systemEvent(UInt32)
    /// Another reason (KVM_EXIT_*).
    case unknown(UInt32)
    /// KVM_RUN failed with this errno.
    case failed(Int32)
}

// What a machine tells its owner.

import Addresses

/// Whether a machine runs, and if not, why.
public enum MachineState: String, Sendable {
    /// Made, not started, or held at `entry`.
    case prelaunch
    /// The vCPUs run.
    case running
    /// Every vCPU is parked: `pause()` was called, `stopAt` was reached, or the guest asked for a reset.
    case paused
    /// The guest powered off.
    case shutdown
    /// The guest kernel reported a panic.
    case panicked
    /// A triple fault, an instruction KVM cannot run, or an internal failure.
    case crashed
}

/// A boot stage, as it was reached.
public struct StageReport: Sendable {
    /// The stage.
    public let stage: Stage
    /// Guest instructions since the start, summed over the vCPUs (KVM's statistic `insn_emulation`); nil on a host
    /// whose KVM does not emulate ring 0, where the number would mean nothing.
    public let instructions: UInt64?
    /// Time since `start()`, in nanoseconds.
    public let nanoseconds: UInt64
}

/// Why a guest cannot go on, in lines to print.
public struct CrashReport: Sendable {
    /// What happened, in one line.
    public let summary: String
    /// The vCPU it happened on.
    public let vcpu: Int
    /// Registers, code bytes, page walks; no line longer than 120 columns.
    public let lines: [String]
}

/// What happened in a machine. Delivered on the vCPU's thread (`haltedForever` on the watch's thread): the receiver must
/// neither block nor call a method of Machine other than `state`, `stage`, `counters` and the queues of the serial
/// ports; it notes the event and wakes a thread of its own.
public enum MachineEvent: Sendable {
    /// The guest reached a boot stage. Its tables are in `snapshot(of:)`.
    case stage(StageReport)
    /// The stage of `stopAt` was reached: the machine is paused.
    case stopped(at: Stage)
    /// The guest kernel panicked; the state is `panicked`.
    case panicked(code: UInt32)
    /// The guest powered off; the state is `shutdown`.
    case shutdown
    /// The guest asks for a reset; the vCPUs are parked until `reset()` is called.
    case resetRequested
    /// A triple fault; the state is `crashed`.
    case tripleFault(CrashReport)
    /// KVM cannot run an instruction; the state is `crashed`.
    case emulationFailure(CrashReport)
    /// The monitor or KVM failed; the state is `crashed`.
    case failure(String)
    /// All vCPUs halt with interrupts off: nothing will ever happen again. Told once a start.
    case haltedForever
    /// A vCPU came where a debugger wants it to stop: the machine is paused.
    case debugStop(vcpu: Int, DebugReason)
    /// A program ended.
    case programEnded(number: UInt8, status: Int32)
}

/// What a guest did that nobody answers. Cumulative since the start.
public struct MachineCounters: Hashable, Sendable {
    /// Reads of ports that no device has.
    public var unknownPortReads: UInt64 = 0
    /// Writes to ports that no device has.
    public var unknownPortWrites: UInt64 = 0
    /// Reads of guest physical addresses without a slot.
    public var unbackedReads: UInt64 = 0
    /// Writes to guest physical addresses without a slot.
    public var unbackedWrites: UInt64 = 0
    /// Stages out of order or unknown.
    public var protocolErrors: UInt64 = 0
    /// Bytes lost because a serial queue was full.
    public var droppedSerialBytes: UInt64 = 0

    /// Counters at 0.
    public init() {}
}

/// The page tables of one moment.
public struct StageSnapshot: Sendable {
    /// The stage that was reported.
    public let stage: Stage
    /// CR3 of the vCPU that reported it.
    public let cr3: UInt64
    /// Every table reachable from CR3 through 4 levels, once, 4,096 bytes each, by ascending address.
    public let pages: [(address: GPA, bytes: [UInt8])]
    /// There were more than 4,096 tables; the rest is missing.
    public let truncated: Bool
}

// What a debugger may ask for, and what it has asked for.

import Addresses
import GuestMemory
import KVM

/// What a vCPU does when a debugged machine goes on.
public enum DebugAction: String, CaseIterable, Sendable {
    /// It stays where it is.
    case stay
    /// It runs.
    case run
    /// It executes one instruction.
    case step
}

/// A place where a debugged machine is to stop.
public struct DebugBreakpoint: Hashable, Sendable {
    /// What happens there.
    public enum Kind: String, CaseIterable, Sendable {
        /// The instruction at the address is about to run; by INT3, or a debug register where INT3 does not stop the guest.
        case software
        /// The instruction at the address is about to run; by a debug register.
        case hardware
        /// The bytes are written.
        case write
        /// The bytes are read or written.
        case access
    }

    /// What happens there.
    public let kind: Kind
    /// The linear address.
    public let address: GVA
    /// Where that is in guest memory now.
    public let gpa: GPA
    /// How many bytes are watched: 1, 2, 4 or 8.
    public let length: Int

    /// A place.
    public init(_ kind: Kind, at address: GVA, gpa: GPA, length: Int = 1) {
        self.kind = kind
        self.address = address
        self.gpa = gpa
        self.length = length
    }
}

/// Why a debugged machine stopped.
public enum DebugReason: Hashable, Sendable {
    /// The instruction that was asked for was executed.
    case step
    /// A breakpoint, by a debug register.
    case hardware(GVA)
    /// A breakpoint, by INT3.
    case software(GVA)
    /// A watchpoint; its address.
    case watch(GVA)
}

/// What a debugger has set up.
struct DebugState {
    /// INT3 in place of a byte of the guest's.
    struct Patch {
        let gpa: GPA
        let original: UInt8
    }

    /// A watchpoint that is looked at after each instruction, because debug registers do not see what this host emulates.
    struct Compared {
        let address: GVA
        let gpa: GPA
        let length: Int
        var value: [UInt8]
    }

    let abilities: DebugAbilities
    /// Whether the guest is to run when the debugger leaves: it ran when that came, or was let go since.
    var runsAfterwards: Bool
    var software: [DebugBreakpoint] = []
    var patches: [Patch] = []
    var registers: [HardwareBreakpoint] = []
    var compared: [Compared] = []
    var actions: [DebugAction]
    /// Of each vCPU that steps: where it is, where its handlers begin, and the segments of the program that it began in.
    var places: [(address: UInt64, handlers: HandlerTable, program: ProgramSegments?)?]
    /// Of each vCPU: the compared place that its last step changed.
    var changes: [GVA?]
    /// Of each vCPU: whether it has stepped since the debugger came.
    var stepped: [Bool]
    /// Watchpoints that were hit while another stop was told.
    var pending: [(vcpu: Int, reason: DebugReason)] = []

    /// Whether a vCPU with that action stops after each instruction.
    func steps(_ action: DebugAction) -> Bool { action == .step || !compared.isEmpty }
}

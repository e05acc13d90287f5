// Why a machine cannot be made or driven.

import GuestMemory
import KVM
import SystemCalls

/// Why a machine cannot be made or driven.
public enum MachineError: Error, CustomStringConvertible, Sendable {
    /// The configuration or a file it names is wrong; the text says what and what to do.
    case input(String)
    /// The host cannot do it.
    case host(String)
    /// KVM refused.
    case kvm(KVMError)
    /// A system call failed.
    case call(Errno)
    /// Not in this state of the machine.
    case state(MachineState, String)

    /// What was wrong and what to do.
    public var description: String {
        switch self {
        case .input(let text), .host(let text): return text
        case .kvm(let error): return error.description
        case .call(let error): return error.description
        case .state(let state, let text): return "\(text): the guest is \(state.rawValue)"
        }
    }
}

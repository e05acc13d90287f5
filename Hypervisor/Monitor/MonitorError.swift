// Why a guest cannot be started.

import GuestFolders
import Machine
import Options
import SavedGuests
import SystemCalls

/// Why a guest cannot be started.
public enum MonitorError: Error, CustomStringConvertible, Sendable {
    /// The command line is wrong.
    case usage(String)
    /// The host cannot do it; the text says what to do.
    case unable(String)
    /// The name or the runtime folder.
    case folder(GuestFolderError)
    /// The machine.
    case machine(MachineError)
    /// The saved guest that was to be restored.
    case saved(SavedGuestError)
    /// A system call failed.
    case call(Errno)

    /// The message, with what to do next where that helps.
    public var description: String {
        switch self {
        case .usage(let text), .unable(let text): return text
        case .folder(let error): return error.description
        case .machine(let error): return error.description
        case .saved(let error): return error.description
        case .call(let error): return error.description
        }
    }

    /// The exit status of a process that ends with this error: 2 for wrong input, 4 for what the host cannot do.
    public var exitStatus: Int32 {
        switch self {
        case .usage: return 2
        case .unable, .call: return 4
        case .saved(let error):
            switch error {
            case .input: return 2
            // Of the file's name; the host cannot do the rest.
            case .call(let error): return error.code == 2 ? 2 : 4
            case .unsuitable, .cancelled: return 4
            }
        case .folder(let error):
            switch error {
            case .name, .taken: return 2
            case .noSuchGuest: return 3
            case .folder, .call: return 4
            }
        case .machine(let error):
            switch error {
            case .input: return 2
            case .host, .kvm, .call, .state: return 4
            }
        }
    }
}

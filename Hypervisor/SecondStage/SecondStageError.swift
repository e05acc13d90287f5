// What can stand in the way of looking at the second stage.

import SystemCalls

/// Why the second stage cannot be read.
public enum SecondStageError: Error, Sendable, CustomStringConvertible {
    /// There is no such process, or it ended while it was looked at.
    case processGone(Int32)
    /// The process holds no KVM VM.
    case noVM(process: Int32)
    /// The process holds more than one; how many.
    case severalVMs(process: Int32, count: Int)
    /// The VM was closed while it was looked at.
    case vmGone(process: Int32)
    /// The kernel does not let this process look; what was refused, and what to do.
    case refused(what: String, remedy: String)
    /// The kernel lacks something; what, and what follows from that.
    case missing(String)
    /// The kernel's structures are not as they are known here.
    case unknownLayout(structure: String, field: String)
    /// What is read changed each time it was tried.
    case keepsChanging(String)
    /// A system call failed.
    case call(Errno)

    /// The message, with what to do where there is something.
    public var description: String {
        switch self {
        case .processGone(let process): return "process \(process): there is none, or it ended while it was looked at"
        case .noVM(let process):
            return "process \(process) holds no KVM VM: none of its files is a VM or a vCPU"
        case .severalVMs(let process, let count):
            return
                "process \(process) holds \(count) KVM VMs: say which one with pid:\(process)#N, N from 0 to \(count - 1)"
        case .vmGone(let process): return "process \(process): its VM was closed while it was looked at"
        case .refused(let what, let remedy): return "\(what); \(remedy)"
        case .missing(let text): return text
        case .unknownLayout(let structure, let field):
            return "this kernel's \(structure) has no field \(field): its layout is not known here; "
                + "--source computed works without it"
        case .keepsChanging(let what): return "\(what) changed each time it was read: try again"
        case .call(let error): return error.description
        }
    }
}

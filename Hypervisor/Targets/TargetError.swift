// Why a target cannot be looked at.

import GuestFolders
import GuestMemory
import SystemCalls

/// Why a target cannot be looked at or steered.
public enum TargetError: Error, CustomStringConvertible, Sendable {
    /// The text names no target: wrong syntax.
    case input(String)
    /// There is no such target.
    case noSuchTarget(String)
    /// The target ended, or stopped talking, in the middle.
    case wentAway(String)
    /// The target answered with an error: the command, QMP's error class, and what it says.
    case refused(command: String, errorClass: String, reason: String)
    /// This kind of target, or this target, cannot do it; the text says what to do.
    case unable(String)
    /// The target did not answer within the time given, in seconds.
    case noAnswer(command: String, seconds: Double)
    /// The target's answer makes no sense.
    case badAnswer(String)
    /// The target's memory cannot be mapped.
    case memory(GuestMemoryError)
    /// A system call failed.
    case call(Errno)

    /// The message, with what to do next where that helps.
    public var description: String {
        switch self {
        case .input(let text), .noSuchTarget(let text), .unable(let text): return text
        case .wentAway(let name): return "'\(name)' went away while it was looked at"
        case .refused(_, _, let reason): return reason
        case .noAnswer(let command, let seconds):
            return "no answer to \(command) within \(seconds.formatted) s"
        case .badAnswer(let text): return "the target's answer makes no sense: \(text)"
        case .memory(let error): return "the target's memory cannot be mapped: \(error)"
        case .call(let error): return error.description
        }
    }

    init(_ error: GuestFolderError) {
        switch error {
        case .name(let text): self = .input(text)
        case .noSuchGuest, .taken: self = .noSuchTarget(error.description)
        case .folder(let text): self = .unable(text)
        case .call(let error): self = .call(error)
        }
    }
}

extension Double {
    /// Without a fraction where there is none.
    fileprivate var formatted: String { self == rounded() ? "\(Int(self))" : "\(self)" }
}

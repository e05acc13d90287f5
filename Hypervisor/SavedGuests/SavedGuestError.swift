// Why a guest cannot be saved or restored.

import SystemCalls

/// Why a guest cannot be saved or restored.
public enum SavedGuestError: Error, CustomStringConvertible, Sendable {
    /// The saved guest is cut short, altered, newer, or says what makes no sense; the text names the field and its offset.
    case input(String)
    /// It is right, but this host or this machine cannot be that guest; the text says what is missing.
    case unsuitable(String)
    /// A system call failed.
    case call(Errno)
    /// Somebody called it off.
    case cancelled

    /// What was wrong and what to do.
    public var description: String {
        switch self {
        case .input(let text), .unsuitable(let text): return text
        case .call(let error): return error.description
        case .cancelled: return "cancelled"
        }
    }
}

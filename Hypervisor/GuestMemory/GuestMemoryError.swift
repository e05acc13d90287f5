// Why guest memory cannot be made or mapped.

import SystemCalls

/// Why guest memory cannot be made or mapped.
public enum GuestMemoryError: Error, CustomStringConvertible, Sendable {
    /// The slots are wrong.
    case slots(SlotError)
    /// A descriptor that was handed over cannot be used; the text says why.
    case backing(String)
    /// A size that cannot be had; the text says what to do.
    case size(String)
    /// A system call failed.
    case call(Errno)

    /// What was wrong and what to do.
    public var description: String {
        switch self {
        case .slots(let error): return error.description
        case .backing(let text), .size(let text): return text
        case .call(let error): return error.description
        }
    }
}

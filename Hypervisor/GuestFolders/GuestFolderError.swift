// Why a guest's folder cannot be used.

import SystemCalls

/// Why a guest's folder cannot be used.
public enum GuestFolderError: Error, Equatable, CustomStringConvertible, Sendable {
    /// The name is none a guest can have; the text says why.
    case name(String)
    /// A guest of that name runs, in the process given (nil if it has not said so yet).
    case taken(name: String, pid: Int32?)
    /// No guest of that name runs.
    case noSuchGuest(String)
    /// The runtime folder is not to be trusted, or cannot be made; the text says why and what to do.
    case folder(String)
    /// A system call failed.
    case call(Errno)

    /// The message, with what to do next where that helps.
    public var description: String {
        switch self {
        case .name(let text), .folder(let text): return text
        case .taken(let name, let pid):
            return "a guest named '\(name)' runs already" + (pid.map { " (process \($0))" } ?? "")
                + "; choose another --name, or end it: vitrine stop \(name)"
        case .noSuchGuest(let name): return "no guest named '\(name)' (see vitrine list)"
        case .call(let error): return error.description
        }
    }
}

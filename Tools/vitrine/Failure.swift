// The one place where an error becomes an exit status.

import Options
import SystemCalls

/// What a command that failed says and ends with.
struct Failure {
    /// The exit status.
    let status: ExitStatus
    /// The message on standard error; nil: it ends without one.
    let message: String?

    /// The failure that an error means.
    init(_ error: any Error) {
        switch error {
        case let error as CommandError: self.init(error.status, error.description)
        case let error as UsageError: self.init(.usage, error.description)
        case is ClosedPipe: self.init(.success, nil)
        case let error as Errno: self.init(.unable, error.description)
        default: self.init(.unable, "\(error)")
        }
    }

    private init(_ status: ExitStatus, _ message: String?) {
        self.status = status
        self.message = message
    }
}

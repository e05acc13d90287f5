// The one place where an error becomes an exit status.

import GuestFolders
import Monitor
import Options
import SystemCalls
import Targets

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
        case let error as TargetError: self.init(Failure.status(of: error), error.description)
        case let error as GuestFolderError: self.init(Failure.status(of: error), error.description)
        case let error as MonitorError:
            self.init(ExitStatus(rawValue: error.exitStatus) ?? .unable, error.description)
        case let error as Errno: self.init(.unable, error.description)
        default: self.init(.unable, "\(error)")
        }
    }

    private static func status(of error: TargetError) -> ExitStatus {
        switch error {
        case .input: return .usage
        case .noSuchTarget, .wentAway: return .noTarget
        case .refused, .unable, .noAnswer, .badAnswer, .memory, .call: return .unable
        }
    }

    private static func status(of error: GuestFolderError) -> ExitStatus {
        switch error {
        case .name, .taken: return .usage
        case .noSuchGuest: return .noTarget
        case .folder, .call: return .unable
        }
    }

    private init(_ status: ExitStatus, _ message: String?) {
        self.status = status
        self.message = message
    }
}

// What `vitrine` says to the shell.

/// The exit statuses, which scripts rely on.
enum ExitStatus: Int32 {
    /// Done.
    case success = 0
    /// A check found a fault: an audit that fails, an address that is not mapped, a difference.
    case fault = 1
    /// Wrong usage or input.
    case usage = 2
    /// No such target, or it went away.
    case noTarget = 3
    /// The host or the target cannot do that; the message says what to do.
    case unable = 4
    /// `run` in the foreground: the guest panicked or triple-faulted.
    case guestCrashed = 5

    /// The lines of `vitrine --help` about them.
    static let help = """
        Exit status:
          0  done
          1  a check found a fault
          2  wrong usage or input
          3  no such target, or it went away
          4  the host or the target cannot do that; the message says what to do
          5  (run in the foreground) the guest panicked or triple-faulted
        """
}

/// An error of a verb itself: a message and the status that goes with it.
struct CommandError: Error, CustomStringConvertible {
    /// What the command ends with.
    let status: ExitStatus
    /// The message, without the program's name before it.
    let description: String

    /// An error with this status and message.
    init(_ status: ExitStatus, _ description: String) {
        self.status = status
        self.description = description
    }
}

// A file that is under its name whole, or not at all.

import CSystem
import Glibc

/// A file being written beside the name it will have; `commit()` puts it there, in place of what was there before.
///
/// What is no regular file (`/dev/null`, a FIFO) is written to as it is. A symbolic link stays one: what it points to
/// is replaced.
public final class ReplacedFile {
    /// Where to write.
    public let descriptor: FileDescriptor
    private let path: String
    /// The name until it is whole; nil: there is none, or not any more.
    private var temporary: String?

    /// Begins a file.
    ///
    /// - Parameter mode: the permissions of a file that was not there, before the process's umask.
    public init(_ path: String, mode: UInt32 = 0o666) throws(Errno) {
        let target = Files.resolved(path) ?? path
        self.path = target
        let status = try? Files.status(of: target)
        if let status, status.kind != .regular {
            descriptor = try FileDescriptor(open: target, O_WRONLY)
            return
        }
        let slash = target.lastIndex(of: "/").map { target.index(after: $0) } ?? target.startIndex
        let name = "\(target[..<slash]).\(target[slash...]).\(getpid())"
        do throws(Errno) {
            descriptor = try FileDescriptor(open: name, O_WRONLY | O_CREAT | O_EXCL, mode: status?.mode ?? mode)
        } catch {
            // The name that means something to whoever reads the message.
            throw Errno(error.code, "open \(path)")
        }
        temporary = name
        if let status { _ = fchmod(descriptor.rawValue, status.mode) }
    }

    /// Gives the file its name (rename(2)): from now on it is there, whole.
    public func commit() throws(Errno) {
        guard let name = temporary else { return }
        try systemCall("rename to \(path)") { Files.checked(rename(name, path)) }
        temporary = nil
    }

    deinit {
        if let temporary { unlink(temporary) }
    }
}

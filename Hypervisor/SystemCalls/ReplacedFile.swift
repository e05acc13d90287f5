// A file that is under its name whole, or not at all.

import CSystem
import Glibc

/// A file being written that has no name until `commit()` gives it one, in place of what was there before. A process that is killed
/// meanwhile leaves nothing.
///
/// Where the file system has no files without a name (open(2), O_TMPFILE), it has another until then, in the same folder. What is
/// no regular file (`/dev/null`, a FIFO) is written to as it is. A symbolic link stays one: what it points to is replaced.
public final class ReplacedFile {
    /// Where to write.
    public let descriptor: FileDescriptor
    private let path: String
    private enum Name {
        /// There is nothing to be named, or not any more.
        case none
        /// It has none yet.
        case missing
        /// It has this one until it is whole.
        case temporary(String)
    }
    private var name: Name

    /// Begins a file.
    ///
    /// - Parameter mode: the permissions of a file that was not there, before the process's umask.
    public init(_ path: String, mode: UInt32 = 0o666) throws(Errno) {
        let target = Files.resolved(path) ?? path
        self.path = target
        let status = try? Files.status(of: target)
        if let status, status.kind != .regular {
            descriptor = try FileDescriptor(open: target, O_WRONLY)
            name = .none
            return
        }
        let mode = status?.mode ?? mode
        if let file = ReplacedFile.nameless(in: target, mode) {
            descriptor = file
            name = .missing
        } else {
            let temporary = ReplacedFile.temporaryName(of: target)
            do throws(Errno) {
                descriptor = try FileDescriptor(open: temporary, O_WRONLY | O_CREAT | O_EXCL, mode: mode)
            } catch {
                // The name that means something to whoever reads the message.
                throw Errno(error.code, "open \(path)")
            }
            name = .temporary(temporary)
        }
        if let status { _ = fchmod(descriptor.rawValue, status.mode) }
    }

    /// A file without a name in the folder of `target`; nil if there can be none, or if it could not be given a name later.
    private static func nameless(in target: String, _ mode: UInt32) -> FileDescriptor? {
        let slash = target.lastIndex(of: "/")
        let folder = slash.map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
        // O_TMPFILE (include/uapi/asm-generic/fcntl.h), a macro that Swift does not see.
        guard let file = try? FileDescriptor(open: folder, 0o20000000 | O_DIRECTORY | O_WRONLY, mode: mode),
            Files.link("/proc/self/fd/\(file.rawValue)") != nil
        else { return nil }
        return file
    }

    private static func temporaryName(of target: String) -> String {
        let slash = target.lastIndex(of: "/").map { target.index(after: $0) } ?? target.startIndex
        return "\(target[..<slash]).\(target[slash...]).\(getpid())"
    }

    /// Gives the file its name: from now on it is there, whole.
    public func commit() throws(Errno) {
        let temporary: String
        switch name {
        case .none: return
        case .temporary(let given): temporary = given
        case .missing:
            if try link(to: path) {
                name = .none
                return
            }
            // link(2) replaces nothing; rename(2) does.
            temporary = ReplacedFile.temporaryName(of: path)
            if try !link(to: temporary) {
                // Left by a process that had this one's number.
                try Files.remove(temporary)
                _ = try link(to: temporary)
            }
            name = .temporary(temporary)
        }
        try systemCall("rename to \(path)") { Files.checked(rename(temporary, path)) }
        name = .none
    }

    /// linkat(2); false if the name is taken.
    private func link(to path: String) throws(Errno) -> Bool {
        do throws(Errno) {
            try systemCall("link to \(path)") {
                Files.checked(
                    linkat(AT_FDCWD, "/proc/self/fd/\(descriptor.rawValue)", AT_FDCWD, path, AT_SYMLINK_FOLLOW))
            }
            return true
        } catch {
            if error.code == EEXIST { return false }
            throw error
        }
    }

    deinit {
        if case .temporary(let name) = name { unlink(name) }
    }
}

// One guest's folder: its files, its lock, and the cleaning of what a killed guest leaves behind.

import Glibc
import SystemCalls

/// The paths of one guest.
public struct GuestPaths: Sendable, Equatable {
    /// The guest's name.
    public let name: String
    /// Its folder.
    public let folder: String
    /// The control socket.
    public var socket: String { folder + "/qmp.sock" }
    /// The file that holds the monitor's process id.
    public var pidFile: String { folder + "/pid" }
    /// What a detached monitor writes on standard error.
    public var log: String { folder + "/log" }
    var lock: String { folder + "/lock" }

    /// What a look at a guest's folder found.
    public enum Look: Sendable, Equatable {
        /// A monitor holds the lock.
        case runs
        /// Nobody held it; the folder is gone now. What the monitor wrote last on standard error, if it left any.
        case removed(lastWords: String?)
        /// There is no such folder, or someone is just making or removing it.
        case absent
    }

    /// The monitor's process id, or nil if there is none or it has not been written yet.
    public func pid() -> Int32? {
        guard let bytes = try? Files.contents(of: pidFile, limit: 32) else { return nil }
        return Int32(String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self))
    }

    /// Looks whether a monitor holds the lock, and removes the folder if none does.
    @discardableResult
    public func removeIfLeftover() -> Look {
        guard let file = try? FileDescriptor(open: lock, O_RDWR | O_NOFOLLOW) else {
            // Without a lock it is either empty, being made at this moment, or none of ours.
            guard (try? Files.status(of: folder)) != nil, (try? Files.removeFolder(folder)) != nil else {
                return .absent
            }
            return .removed(lastWords: nil)
        }
        guard let locked = try? file.tryLock() else { return .absent }
        guard locked else { return .runs }
        guard isLock(file) else { return .absent }
        let last = lastWords()
        removeFiles()
        return .removed(lastWords: last)
    }

    /// The last line of the log.
    private func lastWords() -> String? {
        guard let bytes = try? Files.contents(of: log, limit: 1 << 20) else { return nil }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").last.map(String.init)
    }

    /// Takes the name for this process.
    ///
    /// - Throws: `taken` if a guest of that name runs; `name` if the socket's path would be too long.
    public func claim() throws(GuestFolderError) -> ClaimedFolder {
        guard socket.utf8.count <= UnixSocket.pathLimit else {
            throw .name(
                "the control socket's path is too long: \(socket) has \(socket.utf8.count) bytes, possible are "
                    + "\(UnixSocket.pathLimit); choose a shorter --name or XDG_RUNTIME_DIR")
        }
        // Another look at the same folder may hold the lock for a moment; a guest holds it for good.
        for attempt in 0..<20 {
            if attempt > 0 { usleep(1000) }
            do throws(Errno) {
                try Files.makeFolder(folder, mode: 0o700)
            } catch {
                guard error.code == EEXIST else { throw .call(error) }
                guard let status = try? Files.status(of: folder) else { continue }
                guard status.kind == .folder, status.user == geteuid() else {
                    throw .folder("\(folder) is no folder of this user; remove it")
                }
            }
            let file: FileDescriptor
            do throws(Errno) {
                file = try FileDescriptor(open: lock, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600)
            } catch {
                if error.code == ENOENT { continue }
                throw .call(error)
            }
            do throws(Errno) {
                guard try file.tryLock(), isLock(file) else { continue }
                try Files.remove(socket)
                try Files.remove(log)
                let pid = try FileDescriptor(open: pidFile, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
                try pid.writeAll(Array("\(getpid())\n".utf8))
            } catch {
                throw .call(error)
            }
            return ClaimedFolder(paths: self, lock: file)
        }
        throw .taken(name: name, pid: pid())
    }

    /// Whether an open file is the one that has the lock's name now.
    private func isLock(_ file: borrowing FileDescriptor) -> Bool {
        guard let open = try? file.status(), let named = try? Files.status(of: lock) else { return false }
        return open.inode == named.inode && open.device == named.device
    }

    /// Removes the files and the folder; the caller holds the lock, which goes last. If something cannot be removed it stays, and
    /// whoever comes next finds a leftover.
    func removeFiles() {
        var areGone = true
        for path in [socket, pidFile, log] {
            do throws(Errno) { try Files.remove(path) } catch { areGone = false }
        }
        guard areGone else { return }
        try? Files.remove(lock)
        try? Files.removeFolder(folder)
    }
}

/// A guest's folder that this process has taken: its name is this process's until `release()`, or until it ends.
public final class ClaimedFolder: Sendable {
    /// The paths.
    public let paths: GuestPaths
    private let lock: FileDescriptor

    init(paths: GuestPaths, lock: consuming FileDescriptor) {
        self.paths = paths
        self.lock = lock
    }

    /// Removes the folder, under its lock.
    public func release() { paths.removeFiles() }
}

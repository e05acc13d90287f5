// Which files can still be reached (Landlock: Documentation/userspace-api/landlock.rst).

import CSystem
import Glibc
import SystemCalls

/// A folder in which something remains to be done by name.
public struct Reach: Sendable, Equatable {
    /// What.
    public enum Right: Sendable {
        /// Its files and sockets are removed.
        case removeFiles
        /// Folders in it are removed, once they are empty.
        case removeFolders
        /// Files in it are made, written and replaced.
        case replaceFiles
        /// Files in it that are there are written.
        case writeFiles

        /// LANDLOCK_ACCESS_FS_* of linux/landlock.h.
        var bits: UInt64 {
            switch self {
            case .removeFiles: return 1 << 5
            case .removeFolders: return 1 << 4
            // WRITE_FILE, REMOVE_FILE, MAKE_REG, TRUNCATE
            case .replaceFiles: return 1 << 1 | 1 << 5 | 1 << 8 | 1 << 14
            case .writeFiles: return 1 << 1 | 1 << 14
            }
        }
    }

    /// The folder; one that is not there cannot be reached.
    public let folder: String
    /// What is done there.
    public let right: Right

    /// A folder and what is done there.
    public init(_ folder: String, _ right: Right) {
        self.folder = folder
        self.right = right
    }

    /// The folder that a file is in.
    public static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// A set of rules of Landlock's, which several threads are bound to.
    final class Rules: Sendable {
        let descriptor: FileDescriptor
        init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
    }

    /// The rules that leave only these.
    ///
    /// - Returns: the version of the kernel's interface, and the rules; 0 and nil: it has no Landlock.
    static func rules(_ reach: [Reach]) throws(Errno) -> (version: Int, rules: Rules?) {
        let version = try systemCall("landlock_create_ruleset") { csystem_landlock_version() }
        guard version > 0 else { return (0, nil) }
        // Rights by the version that brought them: 13 at first, REFER, TRUNCATE, (no new one in 4), IOCTL_DEV.
        let known = version == 1 ? 13 : version == 2 ? 14 : version < 5 ? 15 : 16
        let files = UInt64(1) << UInt64(known) &- 1
        // BIND_TCP and CONNECT_TCP; ABSTRACT_UNIX_SOCKET. Not SIGNAL: until Linux 6.15 that keeps a process's threads from signalling each
        // other if each was bound by itself, and the lists allow signals to this process alone.
        let rules = FileDescriptor(
            owning: Int32(
                truncatingIfNeeded: try systemCall("landlock_create_ruleset") {
                    csystem_landlock_rules(version, files, 3, 1)
                }))
        for one in reach {
            // O_PATH of asm-generic/fcntl.h.
            guard let folder = try? FileDescriptor(open: one.folder, 0o10000000 | O_DIRECTORY) else { continue }
            try systemCall("landlock_add_rule \(one.folder)") {
                csystem_landlock_allow(rules.rawValue, folder.rawValue, one.right.bits & files)
            }
        }
        return (version, Rules(rules))
    }

    /// Takes everything else away from this thread and those it makes.
    static func confine(to rules: Rules) throws(Errno) {
        try systemCall("landlock_restrict_self") { csystem_landlock_restrict(rules.descriptor.rawValue) }
    }
}

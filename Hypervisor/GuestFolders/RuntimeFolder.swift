// Where the guests of a user are found.
//
//     $XDG_RUNTIME_DIR/vitrine/         else /run/user/UID/vitrine/, else /tmp/vitrine-UID/; mode 0700
//         NAME/
//             lock        flock(2) held by the guest's monitor: the kernel lets go when that ends, however it ends
//             qmp.sock    the control socket
//             pid         the monitor's process id, in decimal
//             log         what a detached monitor wrote on standard error
//
// A folder whose lock nobody holds is a leftover. Whoever removes one holds its lock while doing so, and whoever takes a
// lock looks afterwards whether the file is still the one of that name: so none of the two can hit the other.

import Glibc
import SystemCalls

/// The folder of a user's guests.
public struct RuntimeFolder: Sendable {
    /// Its path.
    public let path: String

    /// The folder of this user; made if it is not there. Refuses one that another user owns or can enter, and a
    /// symbolic link.
    public static func ofThisUser() throws(GuestFolderError) -> RuntimeFolder {
        try RuntimeFolder(at: defaultPath())
    }

    /// The folder at a path; made if it is not there.
    public init(at path: String) throws(GuestFolderError) {
        self.path = path
        do throws(Errno) {
            try Files.makeFolder(path, mode: 0o700)
        } catch {
            guard error.code == EEXIST else {
                throw .folder("\(error): the runtime folder cannot be made; set XDG_RUNTIME_DIR to a folder of yours")
            }
            try RuntimeFolder.check(path)
        }
    }

    /// Where the folder of this user is, by the environment; nothing is looked at but whether /run/user/UID exists.
    public static func defaultPath() -> String {
        if let folder = getenv("XDG_RUNTIME_DIR"), folder.pointee == CChar(UInt8(ascii: "/")) {
            return String(cString: folder) + "/vitrine"
        }
        let user = geteuid()
        let folder = "/run/user/\(user)"
        if let status = try? Files.status(of: folder), status.kind == .folder, status.user == user {
            return folder + "/vitrine"
        }
        return "/tmp/vitrine-\(user)"
    }

    /// The paths of the guest with this name; whether there is one is not asked.
    public func guest(_ name: String) throws(GuestFolderError) -> GuestPaths {
        try RuntimeFolder.checkName(name)
        return GuestPaths(name: name, folder: path + "/" + name)
    }

    /// Refuses what cannot be a guest's name: anything but 1 to 64 letters, digits, `.`, `_` and `-`; `.` and `..`.
    public static func checkName(_ name: String) throws(GuestFolderError) {
        let allowed = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                return true
            default: return false
            }
        }
        guard allowed, (1...64).contains(name.utf8.count), name != ".", name != "..",
            name.utf8.first != UInt8(ascii: "-")
        else {
            throw .name("'\(name)' is no name for a guest: 1 to 64 letters, digits, '.', '_' and '-', not '-' first")
        }
    }

    /// The guests that run, by name. Leftovers of guests that were killed are removed on the way.
    ///
    /// - Parameter onLeftover: gets the name of each of those, and what its monitor wrote last, if anything.
    public func guests(
        onLeftover: (_ name: String, _ lastWords: String?) -> Void = { _, _ in }
    ) throws(GuestFolderError) -> [GuestPaths] {
        let names: [String]
        do throws(Errno) { names = try Files.names(in: path) } catch { throw .call(error) }
        var running: [GuestPaths] = []
        for name in names {
            guard let guest = try? guest(name), let status = try? Files.status(of: guest.folder),
                status.kind == .folder
            else { continue }
            switch guest.removeIfLeftover() {
            case .runs: running.append(guest)
            case .removed(let words): onLeftover(name, words)
            case .absent: break
            }
        }
        return running
    }

    private static func check(_ path: String) throws(GuestFolderError) {
        let status: FileStatus
        do throws(Errno) { status = try Files.status(of: path) } catch { throw .call(error) }
        guard status.kind == .folder else {
            throw .folder("\(path) is not a folder (a symbolic link is not followed); remove it")
        }
        guard status.user == geteuid() else {
            throw .folder("\(path) belongs to user \(status.user); set XDG_RUNTIME_DIR to a folder of yours")
        }
        guard status.mode & 0o077 == 0 else {
            throw .folder("\(path) is open to other users; run: chmod 700 \(path)")
        }
    }
}

// Files and folders: reading, writing, locking, listing.

import CSystem
import Glibc

/// What kind of thing a path names, and whose it is.
public struct FileStatus: Sendable, Equatable {
    /// Kinds of file that matter here.
    public enum Kind: Sendable {
        case folder
        case regular
        case symbolicLink
        case socket
        case other
    }

    /// The kind.
    public let kind: Kind
    /// The owner's number.
    public let user: UInt32
    /// The permission bits, 0o7777 at most.
    public let mode: UInt32
    /// The size in bytes.
    public let size: Int
    /// Device and inode: the file's identity.
    public let device: UInt64
    /// Device and inode: the file's identity.
    public let inode: UInt64
    /// The number of names the file has; 0 after it was removed.
    public let links: UInt64

    init(_ status: stat) {
        switch status.st_mode & S_IFMT {
        case S_IFDIR: kind = .folder
        case S_IFREG: kind = .regular
        case S_IFLNK: kind = .symbolicLink
        case S_IFSOCK: kind = .socket
        default: kind = .other
        }
        user = status.st_uid
        mode = status.st_mode & 0o7777
        size = Int(status.st_size)
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        links = UInt64(status.st_nlink)
    }
}

/// Calls on paths.
public enum Files {
    /// What a path names, without following a symbolic link (lstat(2)).
    public static func status(of path: String) throws(Errno) -> FileStatus {
        var status = stat()
        try systemCall("lstat \(path)") { checked(lstat(path, &status)) }
        return FileStatus(status)
    }

    /// Makes a folder (mkdir(2)).
    public static func makeFolder(_ path: String, mode: UInt32 = 0o700) throws(Errno) {
        try systemCall("mkdir \(path)") { checked(mkdir(path, mode)) }
    }

    /// Removes a file (unlink(2)); one that is not there is no error.
    public static func remove(_ path: String) throws(Errno) {
        do throws(Errno) {
            try systemCall("unlink \(path)") { checked(unlink(path)) }
        } catch {
            if error.code != ENOENT { throw error }
        }
    }

    /// Removes an empty folder (rmdir(2)); one that is not there is no error.
    public static func removeFolder(_ path: String) throws(Errno) {
        do throws(Errno) {
            try systemCall("rmdir \(path)") { checked(rmdir(path)) }
        } catch {
            if error.code != ENOENT { throw error }
        }
    }

    /// Where a symbolic link points (readlink(2)), or nil if it is none.
    public static func link(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The path without symbolic links, `.` and `..` (realpath(3)); nil if there is no such file.
    public static func resolved(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// The path from the root on, by the folder that this process is in now.
    public static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let folder = getcwd(nil, 0) else { return path }
        defer { free(folder) }
        return String(cString: folder) + "/" + path
    }

    /// The names in a folder but `.` and `..`, sorted.
    public static func names(in folder: String) throws(Errno) -> [String] {
        guard let stream = opendir(folder) else { throw Errno(errno, "opendir \(folder)") }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The first bytes of a small file.
    public static func contents(of path: String, limit: Int = 65536) throws(Errno) -> [UInt8] {
        let file = try FileDescriptor(open: path, O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: limit)
        var done = 0
        while done < limit {
            let count = try systemCall("read \(path)") {
                bytes.withUnsafeMutableBytes { buffer in
                    let count = Glibc.read(file.rawValue, buffer.baseAddress.map { $0 + done }, limit - done)
                    return count < 0 ? -Int(errno) : count
                }
            }
            if count == 0 { break }
            done += count
        }
        return Array(bytes.prefix(done))
    }

    static func checked(_ result: Int32) -> Int { result < 0 ? -Int(errno) : Int(result) }
}

extension FileDescriptor {
    /// What the open file is (fstat(2)).
    public func status() throws(Errno) -> FileStatus {
        var status = stat()
        try systemCall("fstat") { Files.checked(fstat(rawValue, &status)) }
        return FileStatus(status)
    }

    /// read(2): 0 at the end.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        try systemCall("read") {
            let count = Glibc.read(rawValue, buffer.baseAddress, buffer.count)
            return count < 0 ? -Int(errno) : count
        }
    }

    /// read(2) without waiting: 0 at the end, nil if nothing is there now.
    public func readNow(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int? {
        do throws(Errno) {
            return try read(into: buffer)
        } catch {
            if error.code == EAGAIN { return nil }
            throw error
        }
    }

    /// write(2): how many bytes went, which may be fewer than asked for.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(Errno) -> Int {
        try systemCall("write") {
            let count = Glibc.write(rawValue, bytes.baseAddress, bytes.count)
            return count < 0 ? -Int(errno) : count
        }
    }

    /// Writes all of it, as often as it takes.
    public func writeAll(_ bytes: [UInt8]) throws(Errno) {
        var done = 0
        while done < bytes.count {
            done += try systemCall("write") {
                bytes.withUnsafeBytes { buffer in
                    let count = Glibc.write(rawValue, buffer.baseAddress.map { $0 + done }, buffer.count - done)
                    return count < 0 ? -Int(errno) : count
                }
            }
        }
    }

    /// Takes the lock of the whole file (flock(2)), without waiting.
    ///
    /// - Returns: false if someone else has it.
    public func tryLock() throws(Errno) -> Bool {
        do throws(Errno) {
            try systemCall("flock") { Files.checked(flock(rawValue, LOCK_EX | LOCK_NB)) }
            return true
        } catch {
            if error.code == EWOULDBLOCK { return false }
            throw error
        }
    }

    /// Makes sure that what was written is on the disk (fsync(2)); what is no file there (a pipe) has nothing to write.
    public func synchronize() throws(Errno) {
        do throws(Errno) {
            try systemCall("fsync") { Files.checked(fsync(rawValue)) }
        } catch {
            if error.code != EINVAL && error.code != EROFS { throw error }
        }
    }

    /// Sets the file's length (ftruncate(2)).
    public func truncate(to size: Int) throws(Errno) {
        try systemCall("ftruncate") { Files.checked(ftruncate(rawValue, off_t(size))) }
    }

    /// A memfd with these bytes that nobody can change any more (memfd_create(2), F_ADD_SEALS).
    public static func sealedFile(named name: String, _ bytes: [UInt8]) throws(Errno) -> FileDescriptor {
        let result = try systemCall("memfd_create \(name)") {
            bytes.withUnsafeBytes { csystem_sealed_file(name, $0.baseAddress, $0.count) }
        }
        return FileDescriptor(owning: Int32(truncatingIfNeeded: result))
    }
}

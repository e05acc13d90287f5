// Memory files (memfd) and maps of them.

import CSystem
import Glibc

extension FileDescriptor {
    /// A new memory file of `size` bytes that reads as zeros, costs nothing until touched, and can neither shrink nor
    /// grow (memfd_create(2), ftruncate(2), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL).
    ///
    /// - Parameters:
    ///   - name: what /proc/PID/maps shows after `/memfd:`.
    ///   - hugePageShift: 0, or the binary logarithm of the size of the huge pages to take (MFD_HUGETLB).
    public static func memoryFile(
        named name: String, size: UInt64, hugePageShift: UInt32 = 0
    ) throws(Errno) -> FileDescriptor {
        guard let length = Int64(exactly: size) else { throw Errno(EFBIG, "ftruncate \(name) to \(size) bytes") }
        let result = try systemCall("memfd_create \(name)") { csystem_memfd(name, hugePageShift) }
        let file = FileDescriptor(owning: Int32(truncatingIfNeeded: result))
        let number = file.rawValue
        try systemCall("ftruncate \(name) to \(size) bytes") { csystem_truncate(number, length) }
        try systemCall("fcntl F_ADD_SEALS \(name)") { csystem_seal_size(number) }
        return file
    }

    /// The same file opened again, read-only, through /proc/self/fd: a writable map of it is refused (EACCES).
    public func reopenedReadOnly() throws(Errno) -> FileDescriptor {
        try FileDescriptor(open: "/proc/self/fd/\(rawValue)", O_RDONLY)
    }

    /// Whether the file can never become smaller (F_SEAL_SHRINK). EINVAL for a file that cannot be sealed.
    public func cannotShrink() throws(Errno) -> Bool {
        try systemCall("fcntl F_GET_SEALS") { csystem_cannot_shrink(rawValue) } == 1
    }

    /// Where the next byte is that the file has memory for (lseek(2), SEEK_DATA): `offset` itself or later; nil if none follows.
    public func nextData(from offset: UInt64) throws(Errno) -> UInt64? { try seek(offset, 3, "SEEK_DATA") }

    /// Where the next hole begins, the end of the file at the latest (lseek(2), SEEK_HOLE).
    public func nextHole(from offset: UInt64) throws(Errno) -> UInt64? { try seek(offset, 4, "SEEK_HOLE") }

    /// - Parameter whence: SEEK_DATA is 3, SEEK_HOLE 4 (include/uapi/linux/fs.h).
    private func seek(_ offset: UInt64, _ whence: Int32, _ name: String) throws(Errno) -> UInt64? {
        guard let start = Int(exactly: offset) else { return nil }
        do throws(Errno) {
            return UInt64(
                try systemCall("lseek \(name)") {
                    let result = lseek(rawValue, start, whence)
                    return result < 0 ? -Int(errno) : result
                })
        } catch {
            if error.code == ENXIO { return nil }
            throw error
        }
    }

    /// Makes a range read as zeros and cost nothing (fallocate(2), FALLOC_FL_PUNCH_HOLE).
    public func punchHole(offset: UInt64, size: UInt64) throws(Errno) {
        guard let start = Int64(exactly: offset), let length = Int64(exactly: size) else {
            throw Errno(EFBIG, "fallocate FALLOC_FL_PUNCH_HOLE")
        }
        try systemCall("fallocate FALLOC_FL_PUNCH_HOLE") { csystem_punch_hole(rawValue, start, length) }
    }
}

/// A shared map of a file, unmapped when its owner goes away.
public struct MemoryMap: ~Copyable, @unchecked Sendable {
    /// The first byte.
    public let address: UnsafeMutableRawPointer
    /// The size in bytes.
    public let size: Int

    /// Maps a file (mmap(2), MAP_SHARED).
    ///
    /// - Parameter reserve: fail now if the pages cannot be had later, instead of SIGBUS when they are touched: for files
    ///   of huge pages. Without it MAP_NORESERVE.
    public init(
        _ file: borrowing FileDescriptor, offset: UInt64 = 0, size: UInt64, writable: Bool, reserve: Bool = false
    ) throws(Errno) {
        guard let length = Int(exactly: size), let start = Int64(exactly: offset) else {
            throw Errno(ENOMEM, "mmap of \(size) bytes")
        }
        let descriptor = file.rawValue
        let result = try systemCall("mmap of \(size) bytes") {
            csystem_map_shared(descriptor, writable ? 1 : 0, reserve ? 1 : 0, length, start)
        }
        guard let address = UnsafeMutableRawPointer(bitPattern: result) else {
            throw Errno(ENOMEM, "mmap of \(size) bytes")
        }
        self.address = address
        self.size = length
    }

    /// Maps a whole file for reading and writing at an address that is a multiple of `alignment`, a power of two.
    public init(
        _ file: borrowing FileDescriptor, size: UInt64, alignment: UInt64, reserve: Bool = false
    ) throws(Errno) {
        guard let length = Int(exactly: size), let step = Int(exactly: alignment) else {
            throw Errno(ENOMEM, "mmap of \(size) bytes")
        }
        let descriptor = file.rawValue
        let result = try systemCall("mmap of \(size) bytes") {
            csystem_map_aligned(descriptor, reserve ? 1 : 0, length, step)
        }
        guard let address = UnsafeMutableRawPointer(bitPattern: result) else {
            throw Errno(ENOMEM, "mmap of \(size) bytes")
        }
        self.address = address
        self.size = length
    }

    deinit {
        _ = csystem_unmap(address, size)
    }

    /// Leaves the map out of a core dump of this process (MADV_DONTDUMP).
    public func excludeFromDump() throws(Errno) {
        try systemCall("madvise MADV_DONTDUMP") { csystem_exclude_from_dump(address, size) }
    }
}

/// Lets go of the code that was only needed to start (madvise(2)). What is used again comes back from the page cache by a
/// minor fault; a monitor that runs for days keeps no start-up code resident.
public func dropStartupCode() {
    // Nothing depends on it.
    _ = csystem_drop_code()
}

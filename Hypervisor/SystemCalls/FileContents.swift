// What a file is, and its bytes.

import CSystem
import Glibc

/// What kind of file a descriptor is open on.
public enum FileKind: Sendable {
    /// A regular file of so many bytes.
    case regular(size: UInt64)
    /// A folder.
    case folder
    /// A device, a pipe, a socket.
    case other
}

extension FileDescriptor {
    /// What is open here (fstat(2)).
    public func kind() throws(Errno) -> FileKind {
        var size: Int64 = 0
        switch try systemCall("fstat", { csystem_file_kind(rawValue, &size) }) {
        case 1: return .regular(size: UInt64(max(0, size)))
        case 2: return .folder
        default: return .other
        }
    }

    /// The file system's unit (st_blksize of fstat(2)): on hugetlbfs the size of the file's pages, in which it is mapped.
    public func blockSize() throws(Errno) -> UInt64 {
        UInt64(try systemCall("fstat") { csystem_block_size(rawValue) })
    }

    /// Reads from a place in the file (pread(2)) until the buffer is full or the file ends.
    ///
    /// - Returns: the number of bytes read.
    public func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        var done = 0
        while done < buffer.count {
            guard let position = Int64(exactly: offset &+ UInt64(done)), position >= 0 else {
                throw Errno(EINVAL, "pread")
            }
            let rest = buffer.count - done
            let start = buffer.baseAddress.map { $0 + done }
            let count = try systemCall("pread") { csystem_read_at(rawValue, start, rest, position) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Up to `count` bytes from a place in the file; fewer where the file ends.
    public func bytes(at offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
        defer { buffer.deallocate() }
        let size = try read(at: offset, into: buffer)
        return Array(buffer[..<size])
    }
}

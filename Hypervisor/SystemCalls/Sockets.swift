// UNIX sockets: listening, connecting, and messages that carry descriptors.

import CSystem
import Glibc

/// Calls on UNIX stream sockets (unix(7)). Every socket made here is close-on-exec and non-blocking.
public enum UnixSocket {
    /// The longest path a socket can have, in bytes: `sun_path` without its NUL.
    public static let pathLimit = 107

    /// A listening socket at `path` (socket, bind, listen). The path must not exist; `replacing`: or be a socket, which goes.
    public static func listen(
        at path: String, replacing: Bool = false, backlog: Int32 = 64
    ) throws(Errno) -> FileDescriptor {
        let socket = try make()
        if replacing, (try? Files.status(of: path))?.kind == .socket { try Files.remove(path) }
        try withAddress(of: path) { (address, size) throws(Errno) in
            try systemCall("bind \(path)") { checked(bind(socket.rawValue, address, size)) }
        }
        try systemCall("listen \(path)") { checked(Glibc.listen(socket.rawValue, backlog)) }
        return socket
    }

    /// A socket connected to the one that listens at `path`. EAGAIN: its queue of connections is full.
    public static func connect(to path: String) throws(Errno) -> FileDescriptor {
        let socket = try make()
        try withAddress(of: path) { (address, size) throws(Errno) in
            try systemCall("connect \(path)") { checked(Glibc.connect(socket.rawValue, address, size)) }
        }
        return socket
    }

    /// The next connection of a listening socket, or nil if there is none.
    public static func accept(_ listener: borrowing FileDescriptor) throws(Errno) -> FileDescriptor? {
        let raw = listener.rawValue
        while true {
            let result = checked(Glibc.accept(raw, nil, nil))
            if result == -Int(EINTR) || result == -Int(ECONNABORTED) { continue }
            if result == -Int(EAGAIN) { return nil }
            guard result >= 0 else { throw Errno(Int32(truncatingIfNeeded: -result), "accept") }
            let connection = FileDescriptor(owning: Int32(truncatingIfNeeded: result))
            try connection.setCloseOnExecAndNonblocking()
            return connection
        }
    }

    /// Whether a number is that of a socket that listens (SO_ACCEPTCONN).
    public static func isListening(_ number: Int32) -> Bool {
        var value: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(number, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value != 0
    }

    /// Two sockets connected with each other.
    public static func pair() throws(Errno) -> SocketPair {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        try systemCall("socketpair") { checked(socketpair(AF_UNIX, type, 0, &ends)) }
        return SocketPair(first: FileDescriptor(owning: ends[0]), second: FileDescriptor(owning: ends[1]))
    }

    /// The process and the user at the other end, as they were when it connected (SO_PEERCRED).
    public static func peer(of socket: borrowing FileDescriptor) throws(Errno) -> (pid: Int32, user: UInt32) {
        var pid: Int32 = 0
        var user: UInt32 = 0
        let raw = socket.rawValue
        try systemCall("getsockopt SO_PEERCRED") { csystem_peer_credentials(raw, &pid, &user) }
        return (pid, user)
    }

    /// Sends bytes, and with the first of them descriptors, without waiting.
    ///
    /// - Returns: how many bytes went; nil if none can go now. Descriptors have gone if any byte has.
    public static func send(
        _ socket: borrowing FileDescriptor, _ bytes: UnsafeRawBufferPointer, descriptors: [Int32] = []
    ) throws(Errno) -> Int? {
        let raw = socket.rawValue
        do throws(Errno) {
            return try systemCall("sendmsg") {
                csystem_send_descriptors(raw, bytes.baseAddress, bytes.count, descriptors, descriptors.count)
            }
        } catch {
            if error.code == EAGAIN { return nil }
            throw error
        }
    }

    /// Receives bytes and the descriptors that came with them, without waiting.
    ///
    /// - Returns: the number of bytes, 0 at the end of the stream, and descriptors that now are the caller's to close;
    ///   nil if nothing is there now.
    public static func receive(
        _ socket: borrowing FileDescriptor, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> (count: Int, descriptors: [Int32])? {
        let raw = socket.rawValue
        var numbers = [Int32](repeating: -1, count: Int(CSYSTEM_MAX_DESCRIPTORS))
        var found = 0
        do throws(Errno) {
            let count = try systemCall("recvmsg") {
                csystem_receive_descriptors(raw, buffer.baseAddress, buffer.count, &numbers, &found)
            }
            return (count, Array(numbers.prefix(found)))
        } catch {
            if error.code == EAGAIN { return nil }
            throw error
        }
    }

    /// -1 as the negative errno that `systemCall` expects.
    private static func checked(_ result: Int32) -> Int { result < 0 ? -Int(errno) : Int(result) }

    private static func make() throws(Errno) -> FileDescriptor {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let result = try systemCall("socket") { checked(socket(AF_UNIX, type, 0)) }
        return FileDescriptor(owning: Int32(truncatingIfNeeded: result))
    }

    private static func withAddress(
        of path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) throws(Errno) -> Void
    ) throws(Errno) {
        let bytes = Array(path.utf8)
        guard bytes.count <= pathLimit, !bytes.contains(0) else { throw Errno(ENAMETOOLONG, "socket \(path)") }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: MemoryLayout<sockaddr_un>.size, alignment: MemoryLayout<sockaddr_un>.alignment)
        defer { raw.deallocate() }
        raw.copyMemory(from: &address, byteCount: MemoryLayout<sockaddr_un>.size)
        try body(UnsafePointer(raw.assumingMemoryBound(to: sockaddr.self)), size)
    }
}

/// Two sockets connected with each other.
@frozen public struct SocketPair: ~Copyable {
    /// One end.
    public let first: FileDescriptor
    /// The other end.
    public let second: FileDescriptor

    /// Closes the second end and gives the first one away.
    public consuming func takeFirst() -> FileDescriptor { first }
}

extension FileDescriptor {
    /// fcntl(2): FD_CLOEXEC and O_NONBLOCK.
    public func setCloseOnExecAndNonblocking() throws(Errno) {
        try systemCall("fcntl F_SETFD") { csystem_fcntl(rawValue, F_SETFD, Int(FD_CLOEXEC)) }
        let flags = try systemCall("fcntl F_GETFL") { csystem_fcntl(rawValue, F_GETFL, 0) }
        try systemCall("fcntl F_SETFL") { csystem_fcntl(rawValue, F_SETFL, flags | Int(O_NONBLOCK)) }
    }
}

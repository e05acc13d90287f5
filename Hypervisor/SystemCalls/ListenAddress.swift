// Where a service of ours is reached: a UNIX socket, or a port of this machine's loopback.

import Glibc

/// An address to listen at. Nothing of Vitrine listens on a network.
public enum ListenAddress: Equatable, Sendable {
    /// A UNIX socket.
    case unix(String)
    /// A TCP port of 127.0.0.1.
    case loopback(UInt16)

    /// `unix:PATH`, `tcp:PORT`, `tcp:127.0.0.1:PORT`, `tcp:localhost:PORT`; nil for anything else.
    public init?(parsing text: String) {
        if text.hasPrefix("unix:"), text.utf8.count > 5 {
            self = .unix(String(text.dropFirst(5)))
            return
        }
        guard text.hasPrefix("tcp:") else { return nil }
        let parts = text.dropFirst(4).split(separator: ":", omittingEmptySubsequences: false)
        guard let last = parts.last, let port = UInt16(last), port > 0,
            parts.count == 1 || parts.count == 2 && ["127.0.0.1", "localhost", ""].contains(parts[0])
        else { return nil }
        self = .loopback(port)
    }

    /// As GDB's `target remote` takes it.
    public var text: String {
        switch self {
        case .unix(let path): return path
        case .loopback(let port): return "127.0.0.1:\(port)"
        }
    }

    /// Removes a UNIX socket's name.
    public func remove() {
        if case .unix(let path) = self { unlink(path) }
    }

    /// Whether a socket is there that nobody listens at (connect(2), ECONNREFUSED).
    private func isLeftover(_ path: String) -> Bool {
        guard (try? Files.status(of: path))?.kind == .socket else { return false }
        do throws(Errno) {
            _ = try UnixSocket.connect(to: path)
            return false
        } catch { return error.code == ECONNREFUSED }
    }

    /// A socket that listens there; close-on-exec and non-blocking. A UNIX socket's path must not exist, or be
    /// a socket that nobody listens at: who made it was killed.
    public func listen() throws(Errno) -> FileDescriptor {
        switch self {
        case .unix(let path): return try UnixSocket.listen(at: path, replacing: isLeftover(path), backlog: 1)
        case .loopback(let port):
            let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
            let socket = FileDescriptor(
                owning: Int32(
                    truncatingIfNeeded: try systemCall("socket") { Files.checked(Glibc.socket(AF_INET, type, 0)) }))
            let raw = socket.rawValue
            // A port whose last connection ended a moment ago.
            var yes: Int32 = 1
            try systemCall("setsockopt SO_REUSEADDR") {
                Files.checked(setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size)))
            }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            try systemCall("bind 127.0.0.1:\(port)") {
                Files.checked(
                    withUnsafePointer(to: &address) { pointer in
                        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                            bind(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                        }
                    })
            }
            try systemCall("listen 127.0.0.1:\(port)") { Files.checked(Glibc.listen(raw, 1)) }
            return socket
        }
    }
}

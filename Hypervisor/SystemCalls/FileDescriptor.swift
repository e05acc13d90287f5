// A descriptor that closes itself.

import CSystem
import Glibc

/// An open file descriptor, closed when its owner goes away.
public struct FileDescriptor: ~Copyable, Sendable {
    /// The number. Valid as long as this value lives.
    public let rawValue: Int32

    /// Takes over a descriptor that nobody else closes.
    public init(owning rawValue: Int32) {
        self.rawValue = rawValue
    }

    /// Opens a file (open(2)); O_CLOEXEC is always added.
    public init(open path: String, _ flags: Int32, mode: UInt32 = 0o600) throws(Errno) {
        let result = try systemCall("open \(path)") { csystem_open(path, flags | O_CLOEXEC, mode) }
        self.init(owning: Int32(truncatingIfNeeded: result))
    }

    deinit {
        _ = close(rawValue)
    }

    /// Gives the number away: the caller closes it.
    public consuming func release() -> Int32 {
        let value = rawValue
        discard self
        return value
    }

    /// A second descriptor of the same open file (fcntl F_DUPFD_CLOEXEC).
    public func duplicate() throws(Errno) -> FileDescriptor {
        let result = try systemCall("fcntl F_DUPFD_CLOEXEC") { csystem_fcntl(rawValue, F_DUPFD_CLOEXEC, 0) }
        return FileDescriptor(owning: Int32(truncatingIfNeeded: result))
    }

    /// ioctl(2) with a number as its argument.
    @discardableResult
    public func control(_ request: UInt, _ argument: UInt = 0, name: @autoclosure () -> String) throws(Errno) -> Int {
        try systemCall(name()) { csystem_ioctl(rawValue, request, argument) }
    }

    /// ioctl(2) on a structure that the kernel reads or fills.
    @discardableResult
    public func control<T>(_ request: UInt, _ value: inout T, name: @autoclosure () -> String) throws(Errno) -> Int {
        try systemCall(name()) {
            withUnsafeMutablePointer(to: &value) { csystem_ioctl_pointer(rawValue, request, $0) }
        }
    }
}

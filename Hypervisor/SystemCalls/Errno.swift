// The one place where the kernel's -1 becomes a Swift error.

import CSystem
import Glibc

/// An error number of the kernel (errno(3)), with the call that returned it.
public struct Errno: Error, Equatable, Sendable, CustomStringConvertible {
    /// The number, for example `ENOENT`.
    public let code: Int32
    /// The call that failed and what it was about, for example `open /dev/kvm`.
    public let call: String

    /// An error `code` returned by `call`.
    public init(_ code: Int32, _ call: String) {
        self.code = code
        self.call = call
    }

    /// `open /dev/kvm: No such file or directory`.
    public var description: String { "\(call): \(Errno.text(code))" }

    /// What strerror(3) says of an error number.
    public static func text(_ code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        guard strerror_r_xsi(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
        return buffer.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

/// Runs a system call that reports failure as a negative errno, again and again while it is interrupted.
///
/// - Parameters:
///   - name: the call and its subject, for the error message; only evaluated on failure.
///   - retryInterrupted: false for calls whose EINTR means something (KVM_RUN).
/// - Returns: what the call returned, never negative.
@inline(__always)
@discardableResult
public func systemCall(
    _ name: @autoclosure () -> String, retryInterrupted: Bool = true, _ call: () -> Int
) throws(Errno) -> Int {
    while true {
        let result = call()
        if result >= 0 { return result }
        if result == -Int(EINTR) && retryInterrupted { continue }
        throw Errno(Int32(truncatingIfNeeded: -result), name())
    }
}

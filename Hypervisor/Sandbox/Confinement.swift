// What the kernel says of a thread's confinement (/proc/PID/task/TID/status; proc(5)).

import Glibc
import SystemCalls

/// The confinement of one thread, as the kernel has it.
public struct Confinement: Sendable, Equatable {
    /// The thread's name.
    public let thread: String
    /// NoNewPrivs.
    public let hasNoNewPrivileges: Bool
    /// Seccomp: 0 none, 1 strict, 2 filters; nil: the kernel does not say.
    public let seccomp: Int?
    /// Seccomp_filters; nil before Linux 5.9.
    public let filters: Int?
    /// CapEff: the capabilities it has.
    public let capabilities: UInt64
    /// CapBnd: those it could ever have.
    public let boundingSet: UInt64

    /// Reads what a status file says; nil if that is none.
    public init?(_ status: [UInt8]) {
        var fields: [Substring: Substring] = [:]
        let text = String(decoding: status, as: UTF8.self)
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon]] = line[line.index(after: colon)...].drop { $0 == "\t" || $0 == " " }
        }
        guard let name = fields["Name"], let effective = fields["CapEff"].flatMap({ UInt64($0, radix: 16) }),
            let bounding = fields["CapBnd"].flatMap({ UInt64($0, radix: 16) })
        else { return nil }
        thread = String(name)
        hasNoNewPrivileges = fields["NoNewPrivs"] == "1"
        seccomp = fields["Seccomp"].flatMap { Int($0) }
        filters = fields["Seccomp_filters"].flatMap { Int($0) }
        capabilities = effective
        boundingSet = bounding
    }

    /// Whether it has a filter of system calls, no capability, and no way to one.
    public var isConfined: Bool { seccomp == 2 && hasNoNewPrivileges && capabilities == 0 }

    /// Of every thread of a process, by thread id; those that end meanwhile are left out.
    public static func threads(of process: Int32) throws(Errno) -> [(id: Int32, confinement: Confinement)] {
        let folder = "/proc/\(process)/task"
        var found: [(Int32, Confinement)] = []
        for id in try Files.names(in: folder).compactMap({ Int32($0) }).sorted() {
            guard let status = try? Files.contents(of: "\(folder)/\(id)/status"), let one = Confinement(status)
            else { continue }
            found.append((id, one))
        }
        return found
    }

    /// Where the calling thread's own is read: opened before it is confined, as nothing can be opened then.
    public static func ownFile() -> FileDescriptor? { try? FileDescriptor(open: "/proc/thread-self/status", O_RDONLY) }

    /// Reads what that file says now.
    public init?(reading file: borrowing FileDescriptor) {
        guard let status = try? file.bytes(at: 0, count: 8192) else { return nil }
        self.init(status)
    }
}

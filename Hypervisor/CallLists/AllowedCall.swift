// What a list of allowed system calls is made of.

import SystemCalls

/// A condition on one argument of a system call: its bits under `mask` are `value`.
public struct ArgumentCondition: Sendable, Equatable {
    /// Which argument, from 0.
    public let argument: UInt32
    /// The bits that count.
    public let mask: UInt64
    /// What they must be.
    public let value: UInt64

    /// The argument, of which the kernel looks at 32 bits, is this.
    static func `is`(_ argument: UInt32, _ value: UInt64) -> ArgumentCondition {
        ArgumentCondition(argument: argument, mask: 0xffff_ffff, value: value & 0xffff_ffff)
    }

    /// None of these bits is set.
    static func lacks(_ argument: UInt32, _ bits: UInt64) -> ArgumentCondition {
        ArgumentCondition(argument: argument, mask: bits, value: 0)
    }
}

/// A system call that threads of some roles may make.
public struct AllowedCall: Sendable {
    /// Its name (syscalls(2)).
    public let name: String
    /// Its number on x86-64 (`asm/unistd_64.h`).
    public let number: Int32
    /// Which of its arguments are allowed: all conditions of one of these. Empty: any.
    public let alternatives: [[ArgumentCondition]]
    /// The arguments in words; empty: any.
    public let arguments: String
    /// What it is there for.
    public let reason: String
    /// Why a guest may live without ever making it, if that is so.
    public let rare: String?

    /// In a condition: the process itself, which is known when it runs. No process has this number (PID_MAX_LIMIT is 2^22).
    public static let thisProcess: UInt64 = 0x7056_4944

    init(
        _ name: String, _ number: Int32, _ reason: String, arguments: String = "",
        only alternatives: [[ArgumentCondition]] = [], rare: String? = nil
    ) {
        self.name = name
        self.number = number
        self.reason = reason
        self.arguments = arguments
        self.alternatives = alternatives
        self.rare = rare
    }

    /// ioctl(2) with these requests.
    static func ioctl(_ requests: [IORequest], _ reason: String) -> AllowedCall {
        AllowedCall(
            "ioctl", 16, reason, arguments: requests.map(\.name).joined(separator: " "),
            only: requests.map { [.is(1, UInt64($0.number))] })
    }
}

/// A request of ioctl(2).
public struct IORequest: Sendable {
    /// Its name in the kernel's headers.
    public let name: String
    let number: UInt

    init(_ name: String, _ number: UInt) {
        self.name = name
        self.number = number
    }
}

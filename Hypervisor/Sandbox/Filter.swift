// A list of allowed system calls as a program that the kernel runs before each (seccomp(2)): made when the project was built
// (MakeFilters), here only put to use.

import CSystem
import CallLists
import Glibc
import SystemCalls

/// A filter of system calls: classic BPF.
struct Filter: Sendable {
    private let program: [UInt64]

    /// BPF_JMP | BPF_JEQ | BPF_K and BPF_RET | BPF_K (linux/bpf_common.h).
    private static let jumpIfEqual: UInt64 = 0x15, returnConstant: UInt64 = 0x06
    /// SECCOMP_RET_TRAP and SECCOMP_RET_LOG (linux/seccomp.h).
    private static let trap: UInt64 = 0x0003_0000, log: UInt64 = 0x7ffc_0000

    /// The filter of a role's list.
    ///
    /// - Parameters:
    ///   - opensFiles: see `AllowedCall.list`.
    ///   - logs: whether a call that is not on it is only logged (SECCOMP_RET_LOG), not refused by SIGSYS.
    init(of role: ThreadRole, opensFiles: Bool, logs: Bool) {
        let made = Filter.made(for: role, opensFiles: opensFiles)
        program = Filter.complete(made, process: UInt32(bitPattern: getpid()), logs: logs)
    }

    /// What the build made for a role.
    static func made(for role: ThreadRole, opensFiles: Bool) -> [UInt64] {
        switch role {
        case .vcpu: MadeFilters.vcpu
        case .watch: MadeFilters.watch
        case .control: MadeFilters.control
        case .transfer: opensFiles ? MadeFilters.transferOpeningFiles : MadeFilters.transfer
        }
    }

    /// Puts in what is known only now: which process this is, and what becomes of a call that is not on the list.
    static func complete(_ program: [UInt64], process: UInt32, logs: Bool) -> [UInt64] {
        program.map { instruction in
            // struct sock_filter (linux/filter.h): 16 bits of code, 8 and 8 of jumps, 32 of a constant.
            let code = instruction & 0xffff
            let constant = instruction >> 32
            let rest = instruction & 0xffff_ffff
            if code == jumpIfEqual, constant == AllowedCall.thisProcess {
                return UInt64(process) << 32 | rest
            }
            if logs, code == returnConstant, constant == trap { return log << 32 | rest }
            return instruction
        }
    }

    /// Puts the calling thread behind it, for good (seccomp(2), SECCOMP_SET_MODE_FILTER).
    func install() throws(Errno) {
        try systemCall("seccomp SECCOMP_SET_MODE_FILTER") {
            program.withUnsafeBytes { csystem_install_filter($0.baseAddress, program.count) }
        }
    }
}

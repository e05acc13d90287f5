// Whether a confined thread is refused every system call that is not on its list: each is made, in a process of its own.

import CSystem
import CallLists
import Glibc
import Sandbox
import SystemCalls

/// A system call with arguments that no list allows, though it has the call.
private let wrongArguments: [(name: String, number: Int, arguments: [Int])] = [
    ("mmap PROT_EXEC", 9, [0, 4096, 5, 0x22, -1, 0]), ("mprotect PROT_EXEC", 10, [0, 4096, 4]),
    ("ioctl TIOCSTI", 16, [0, 0x5412, 0]), ("ioctl KVM_CREATE_VM", 16, [0, 0xae01, 0]),
    ("ioctl KVM_CREATE_VCPU", 16, [0, 0xae41, 0]), ("tgkill of another process", 234, [1, 1, 35]),
    ("tgkill SIGKILL", 234, [Int(getpid()), Int(getpid()), 9]), ("fcntl F_SETOWN", 72, [0, 8, 1]),
    ("socketpair AF_INET", 53, [2, 1, 0, 0]), ("getsockopt SO_SNDBUF", 55, [0, 1, 7, 0, 0]),
    ("fallocate", 285, [0, 0, 0, 4096]), ("perf_event_open of a processor", 298, [0, -1, 0, -1, 8]),
    ("getpid of x32", 0x4000_0027, []),
]

/// `vitrine-witness refused`: a line for each role.
func witnessRefused() -> Int32 {
    var status: Int32 = 0
    for role in ThreadRole.allCases {
        let allowed = Set(AllowedCall.list(of: role, opensFiles: false).map(\.name))
        let names = SystemCallNames.all
        var refused = 0
        var made: [String] = []
        func attempt(_ name: String, _ number: Int, _ arguments: [Int]) {
            if isRefused(role, number, arguments) { refused += 1 } else { made.append(name) }
        }
        for (number, name) in names where !allowed.contains(name) { attempt(name, number, []) }
        for (name, number, arguments) in wrongArguments { attempt(name, number, arguments) }
        say("\(role.rawValue): \(allowed.count) allowed, \(refused) refused, \(made.count) made: \(made)")
        if !made.isEmpty || refused < 300 { status = 1 }
    }
    return status
}

/// Makes a call on a confined thread in a new process; true if that ended by SIGSYS.
private func isRefused(_ role: ThreadRole, _ number: Int, _ arguments: [Int]) -> Bool {
    let child = csystem_fork()
    if child == 0 {
        // Its report of the violation is not for us.
        close(STDERR_FILENO)
        var none = rlimit()
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        do throws(Errno) {
            let transfer = TaskThread(name: "witness", role: .transfer, stackSize: 256 << 10)
            let sandbox = try Sandbox(.on, opensFiles: false, reach: [], transfer: transfer) { made throws(Errno) in
                guard made == role else { return 0 }
                try HostThread(name: "witness", role: role, stackSize: 64 << 10) { call(number, arguments) }.join()
                return 1
            }
            try sandbox.enterControl()
            if role == .control { call(number, arguments) }
            if role == .transfer { try transfer.run { call(number, arguments) } }
        } catch { _exit(3) }
        _exit(0)
    }
    var status: Int32 = 0
    while waitpid(pid_t(truncatingIfNeeded: child), &status, 0) < 0 && errno == EINTR {}
    return status & 0x7f == SIGSYS
}

private func call(_ number: Int, _ arguments: [Int]) {
    let all = arguments + Array(repeating: 0, count: 6 - arguments.count)
    _ = csystem_call(number, all[0], all[1], all[2], all[3], all[4], all[5])
}

/// The system calls that the headers name.
private enum SystemCallNames {
    static var all: [(number: Int, name: String)] {
        (0..<512).compactMap { number in
            csystem_call_name(Int32(number)).map { (number, String(cString: $0)) }
        }
    }
}

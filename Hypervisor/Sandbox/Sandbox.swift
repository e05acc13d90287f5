// What a monitor gives up before its guest's first instruction, so that a guest that takes it over has gained little.
//
//     no_new_privs, no capabilities, Landlock      the whole process: before it makes its threads
//     seccomp                                      each thread its own list, by its role (CallLists.swift)

import CSystem
import Glibc
import Synchronization
import SystemCalls

/// Whether a monitor is confined.
public enum SandboxMode: String, CaseIterable, Sendable {
    /// A call that is not allowed ends the monitor.
    case on
    /// No confinement.
    case off
    /// A call that is not allowed is logged by the kernel (SECCOMP_RET_LOG) and made. The rest as with `on`.
    case log
}

/// The confinement of this process.
public final class Sandbox: Sendable {
    /// How.
    public let mode: SandboxMode
    /// The version of Landlock's interface that is in force; 0: the kernel has none.
    public let landlock: Int
    private let filters: [ThreadRole: Filter]

    /// Confines this thread and all that it makes, but for its system calls: each thread made with a role confines those
    /// itself, and the calling thread does by `enterControl()`.
    ///
    /// - Parameters:
    ///   - filters: what was begun before; the thread that makes them has ended when this returns.
    ///   - reach: where something remains to be done by name.
    public init(_ filters: FilterSet, reach: [Reach]) throws(Errno) {
        mode = filters.mode
        self.filters = try filters.get()
        try systemCall("prctl PR_SET_NO_NEW_PRIVS") { csystem_no_new_privileges() }
        // Landlock needs folders opened, for which a capability may be needed.
        landlock = try Reach.confine(to: reach)
        try systemCall("capset") { csystem_drop_capabilities() }
        try systemCall("sigaction SIGSYS") { csystem_report_violations() }
        HostThread.confinement.withLock { $0 = { [self] role in enter(role) } }
    }

    /// What this host has: whether threads can be confined by filters, and the version of Landlock's interface, 0 for none.
    public static var host: (hasFilters: Bool, landlock: Int) {
        let actions = try? Files.contents(of: "/proc/sys/kernel/seccomp/actions_avail", limit: 256)
        let words = String(decoding: actions ?? [], as: UTF8.self).split { $0 == " " || $0 == "\n" }
        return (words.contains("trap"), max(0, csystem_landlock_version()))
    }

    /// Puts the calling thread behind the list of the control thread.
    public func enterControl() throws(Errno) {
        Sandbox.name(.control)
        try filters[.control]?.install()
    }

    /// What a new thread does. One that cannot be confined must not run, nor can the process go on without it.
    private func enter(_ role: ThreadRole) {
        Sandbox.name(role)
        do throws(Errno) { try filters[role]?.install() } catch {
            let text = "vitrine: a \(role.rawValue) thread cannot be confined: \(error)\n"
            _ = write(STDERR_FILENO, text, text.utf8.count)
            _exit(4)
        }
    }

    /// For the report of a violation.
    private static func name(_ role: ThreadRole) {
        switch role {
        case .vcpu: csystem_name_role("vcpu")
        case .control: csystem_name_role("control")
        case .transfer: csystem_name_role("transfer")
        case .watch: csystem_name_role("watch")
        }
    }
}

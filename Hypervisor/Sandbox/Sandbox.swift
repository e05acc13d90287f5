// What a monitor gives up before its guest's first instruction, so that a guest that takes it over has gained little.
//
//     no_new_privs, no capabilities, Landlock      each thread, or who made it
//     seccomp                                      each thread its own list, by its role (CallLists.swift)
//
// The lists are filters since the build (MakeFilters). To have the kernel take each is still the work of a millisecond, which KVM needs for
// a machine as well. So it is done meanwhile: the transfer thread, the first to be made, gives up what it can and makes the machine's
// other threads, which get that from it, and each puts itself behind its list; they stand confined when the machine is there. Only the
// thread that made the machine, and needed files for it, comes last.

import CSystem
import Glibc
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
    /// What may be reached; nil where the kernel has no Landlock, and once everybody is bound to it.
    private let rules: Guarded<Reach.Rules?>
    /// What the transfer thread leaves: the list of the control thread, and how many threads there are besides that.
    private let result: Guarded<Result<(filter: Filter, threads: Int), Errno>?>
    /// How many threads stand behind their lists.
    private let confined: Guarded<Int>

    /// Begins to confine this process: all threads that it will have but the calling one, which `enterControl()` does.
    ///
    /// - Parameters:
    ///   - mode: not `off`.
    ///   - opensFiles: see `AllowedCall.list`.
    ///   - reach: where something remains to be done by name.
    ///   - transfer: the transfer thread, not made yet; it does all this before its first task.
    ///   - makeThreads: makes the threads of a role (`HostThread`) and says how many; called for those of vCPUs and watches, on another
    ///     thread. Nobody makes threads afterwards.
    public init(
        _ mode: SandboxMode, opensFiles: Bool, reach: [Reach], transfer: TaskThread,
        makeThreads: @escaping @Sendable (ThreadRole) throws(Errno) -> Int
    ) throws(Errno) {
        self.mode = mode
        let (version, rules) = try Reach.rules(reach)
        landlock = version
        let result = Guarded<Result<(filter: Filter, threads: Int), Errno>?>(nil)
        let confined = Guarded(0)
        self.rules = Guarded(rules)
        self.result = result
        self.confined = confined
        try systemCall("sigaction SIGSYS") { csystem_report_violations() }
        try transfer.prepare {
            let made = Result { () throws(Errno) -> (filter: Filter, threads: Int) in
                try Sandbox.giveUp(rules)
                func filter(_ role: ThreadRole) -> Filter {
                    Filter(of: role, opensFiles: opensFiles, logs: mode == .log)
                }
                var count = 1
                for role in [ThreadRole.vcpu, .watch] {
                    let filter = filter(role)
                    HostThread.setConfinement(of: role) {
                        Sandbox.enter(role, filter)
                        confined.update { $0 += 1 }
                    }
                    count += try makeThreads(role)
                }
                let control = filter(.control)
                Sandbox.enter(.transfer, filter(.transfer))
                confined.update { $0 += 1 }
                return (control, count)
            }
            result.update { $0 = made }
        }
    }

    /// Confines the calling thread as the control thread; returns when all others are confined.
    public func enterControl() throws(Errno) {
        try Sandbox.giveUp(rules.withLock { $0 })
        rules.update { $0 = nil }
        let made = try result.wait { $0 }.get()
        confined.wait { $0 == made.threads ? () : nil }
        Sandbox.name(.control)
        try made.filter.install()
    }

    /// Takes privileges, files and capabilities away from this thread and those that it makes.
    private static func giveUp(_ rules: Reach.Rules?) throws(Errno) {
        try systemCall("prctl PR_SET_NO_NEW_PRIVS") { csystem_no_new_privileges() }
        if let rules { try Reach.confine(to: rules) }
        try systemCall("capset") { csystem_drop_capabilities() }
    }

    /// What this host has: whether threads can be confined by filters, and the version of Landlock's interface, 0 for none.
    public static var host: (hasFilters: Bool, landlock: Int) {
        let actions = try? Files.contents(of: "/proc/sys/kernel/seccomp/actions_avail", limit: 256)
        let words = String(decoding: actions ?? [], as: UTF8.self).split { $0 == " " || $0 == "\n" }
        return (words.contains("trap"), max(0, csystem_landlock_version()))
    }

    /// What a new thread does. One that cannot be confined must not run, nor can the process go on without it.
    private static func enter(_ role: ThreadRole, _ filter: Filter) {
        name(role)
        do throws(Errno) { try filter.install() } catch {
            writeToStandardError("vitrine: a \(role.rawValue) thread cannot be confined: \(error)\n")
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

// The filters of all roles, made while something else is done.

import SystemCalls

/// The filters of a process's threads. libseccomp takes about a millisecond for them, as long as KVM for a machine; so a thread
/// makes them meanwhile.
public final class FilterSet: Sendable {
    /// How the process is to be confined; not `off`.
    public let mode: SandboxMode
    private let thread: HostThread
    private let result: Guarded<Result<[ThreadRole: Filter], Errno>?>

    /// Begins to make them.
    ///
    /// - Parameter opensFiles: see `AllowedCall.list`.
    public init(_ mode: SandboxMode, opensFiles: Bool) throws(Errno) {
        self.mode = mode
        let result = Guarded<Result<[ThreadRole: Filter], Errno>?>(nil)
        self.result = result
        thread = try HostThread(name: "filters", stackSize: 256 << 10) {
            let made = Result { () throws(Errno) -> [ThreadRole: Filter] in
                var filters: [ThreadRole: Filter] = [:]
                for role in ThreadRole.allCases {
                    filters[role] = try Filter(AllowedCall.list(of: role, opensFiles: opensFiles), logs: mode == .log)
                }
                return filters
            }
            result.update { $0 = made }
        }
    }

    deinit { thread.join() }

    /// Waits for them, and for the end of the thread that made them.
    func get() throws(Errno) -> [ThreadRole: Filter] {
        thread.join()
        return try result.wait { $0 }.get()
    }
}

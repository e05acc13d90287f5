// A thread that is there before it is needed.

/// A thread that does one task after the other, each begun by another thread. It is made with the first task, or by
/// `prepare()`: a process that may make no more threads has its own made before.
public final class TaskThread: Sendable {
    private struct State {
        var thread: HostThread?
        var task: (@Sendable () -> Void)?
        var isBusy = false
        var isEnding = false
    }

    private let name: String
    private let role: ThreadRole
    private let stackSize: Int
    private let state = Guarded(State())

    /// A thread that is not there yet; the parameters are those of `HostThread`.
    public init(name: String, role: ThreadRole, stackSize: Int) {
        self.name = name
        self.role = role
        self.stackSize = stackSize
    }

    /// Makes the thread, if it is not there.
    public func prepare() throws(Errno) { try make(role) {} }

    /// Makes the thread, which does something else before its first task; with that it has to confine itself.
    public func prepare(_ first: @escaping @Sendable () -> Void) throws(Errno) { try make(nil, first) }

    private func make(_ role: ThreadRole?, _ first: @escaping @Sendable () -> Void) throws(Errno) {
        guard state.withLock({ $0.thread == nil && !$0.isEnding }) else { return }
        let state = state
        let thread = try HostThread(name: name, role: role, stackSize: stackSize) {
            first()
            TaskThread.serve(state)
        }
        state.update { $0.thread = thread }
    }

    /// The kernel's thread id; 0 before the thread runs, and after its end.
    public var id: Int32 { state.withLock { $0.thread }?.id ?? 0 }

    /// Interrupts the system call that the thread is in (tgkill(2)).
    public func kick() { state.withLock { $0.thread }?.kick() }

    /// Begins a task, after the one before has ended.
    public func begin(_ task: @escaping @Sendable () -> Void) throws(Errno) {
        try prepare()
        wait()
        state.update {
            $0.task = task
            $0.isBusy = true
        }
    }

    /// Waits until no task is under way; not from within one.
    public func wait() { state.wait { $0.isBusy ? nil : () } }

    /// Does a task on the thread and waits for its end: for what the calling thread may not do itself.
    public func run<Value: Sendable>(_ task: @escaping @Sendable () -> Value) throws(Errno) -> Value {
        let result = Guarded<Value?>(nil)
        try begin { result.update { $0 = task() } }
        return result.wait { $0 }
    }

    /// Ends the thread, after the task under way. No other may begin.
    public func end() {
        let thread = state.update { state in
            state.isEnding = true
            defer { state.thread = nil }
            return state.thread
        }
        thread?.join()
    }

    private static func serve(_ state: Guarded<State>) {
        // The task is gone, with all that it held, before anybody is told that it is over.
        while performNext(state) { state.update { $0.isBusy = false } }
    }

    /// Does the next task; false if there will be none.
    private static func performNext(_ state: Guarded<State>) -> Bool {
        let next: (@Sendable () -> Void)?? = state.wait { state in
            if let task = state.task {
                state.task = nil
                return .some(task)
            }
            return state.isEnding ? .some(nil) : nil
        }
        guard let task = next ?? nil else { return false }
        task()
        return true
    }
}

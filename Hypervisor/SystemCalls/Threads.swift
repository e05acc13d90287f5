// Threads that run vCPUs, and the kick that gets a thread out of KVM_RUN.

import CSystem
import Glibc
import Synchronization

/// What a thread of a monitor is for; what it may ask the kernel for follows from that.
public enum ThreadRole: String, CaseIterable, Sendable {
    /// Runs a vCPU.
    case vcpu
    /// Serves the control socket and the console.
    case control
    /// Moves a guest's memory into a file or out of one.
    case transfer
    /// Looks after the vCPUs from outside: halts, page tables.
    case watch
}

/// A thread with a small stack and a name. It takes no signal but the kick, so that the process's signals go elsewhere.
public final class HostThread: Sendable {
    private static let confinements = Mutex<[ThreadRole: @Sendable () -> Void]>([:])

    /// Says what the threads of a role that are made from now on do before anything else.
    public static func setConfinement(of role: ThreadRole, _ confine: @escaping @Sendable () -> Void) {
        confinements.withLock { $0[role] = confine }
    }

    private let handle: Mutex<pthread_t?>
    private let identifier = Atomic<Int32>(0)

    /// What the new thread finds.
    private final class Start: Sendable {
        let name: String
        let role: ThreadRole?
        let body: @Sendable () -> Void
        let thread: HostThread
        init(name: String, role: ThreadRole?, thread: HostThread, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.role = role
            self.thread = thread
            self.body = body
        }
    }

    /// Starts a thread.
    ///
    /// - Parameters:
    ///   - name: what the kernel shows, cut to 15 bytes.
    ///   - role: what it is for, in a monitor.
    ///   - stackSize: in bytes; at least 16 KiB.
    ///   - body: what it does.
    public init(
        name: String, role: ThreadRole? = nil, stackSize: Int, body: @escaping @Sendable () -> Void
    ) throws(Errno) {
        handle = Mutex(nil)
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        try systemCall("pthread_attr_setstacksize") { -Int(pthread_attr_setstacksize(&attributes, stackSize)) }
        let start = Unmanaged.passRetained(
            Start(name: String(decoding: name.utf8.prefix(15), as: UTF8.self), role: role, thread: self, body: body))
        var new = pthread_t()
        let result = pthread_create(&new, &attributes, HostThread.main, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw Errno(result, "pthread_create \(name)")
        }
        let created = new
        handle.withLock { $0 = created }
    }

    private static let main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        _ = csystem_block_signals_but_kick()
        csystem_name_thread(start.name)
        start.thread.identifier.store(csystem_thread_id(), ordering: .sequentiallyConsistent)
        if let role = start.role, let confine = HostThread.confinements.withLock({ $0[role] }) { confine() }
        start.body()
        start.thread.identifier.store(0, ordering: .sequentiallyConsistent)
        return nil
    }

    /// The kernel's thread id (gettid(2)); 0 before the thread runs and after it has ended.
    public var id: Int32 { identifier.load(ordering: .sequentiallyConsistent) }

    /// Waits for the thread's end (pthread_join(3)). Only the first call waits; not from the thread itself.
    public func join() {
        let taken = handle.withLock { handle in
            defer { handle = nil }
            return handle
        }
        if let taken { pthread_join(taken, nil) }
    }

    /// Interrupts the system call that the thread is in (tgkill(2)). A thread that has ended is left alone.
    public func kick() {
        let thread = id
        if thread != 0 { _ = csystem_kick(thread) }
    }

    /// Has the threads of this process share one heap: a heap of its own costs a thread that takes little memory more than waiting would.
    public static func shareHeap() { csystem_share_heap() }

    /// Prepares the process for kicks: a handler that does nothing. Without it a kick ends the process.
    public static func installKick() throws(Errno) {
        try systemCall("sigaction") { csystem_install_kick() }
    }
}

/// Lets this thread sleep (usleep(3)).
public func sleepThread(milliseconds: UInt32) { usleep(milliseconds &* 1000) }

// Whether a thread runs, told when it changes: nobody has to wake up to ask.

import CSystem

/// Reports whenever a thread of this process begins or ceases to run (perf_event_open(2), PERF_RECORD_SWITCH).
///
/// A kernel with `kernel.perf_event_paranoid` above 2 refuses it to ordinary users (EACCES or EPERM).
public final class ThreadSwitches: @unchecked Sendable {
    /// Readable when something happened since `update()`.
    public let descriptor: FileDescriptor
    private let area: UnsafeMutableRawPointer
    /// Whether the thread ran, or waited for a processor, at the last `update()`; true before anything is known.
    public private(set) var isRunning = true

    /// Watches a thread, by its kernel id (gettid(2)).
    public init(thread: Int32) throws(Errno) {
        let result = try systemCall("perf_event_open of thread \(thread)") { csystem_open_switches(thread) }
        let file = FileDescriptor(owning: Int32(truncatingIfNeeded: result))
        var mapped: UnsafeMutableRawPointer?
        let number = file.rawValue
        try systemCall("mmap of a perf event") { csystem_map_switches(number, &mapped) }
        guard let mapped else { throw Errno(12, "mmap of a perf event") }
        descriptor = file
        area = mapped
    }

    deinit { csystem_unmap_switches(area) }

    /// Takes what happened. On one thread at a time.
    ///
    /// - Returns: whether anything did.
    public func update() -> Bool {
        var running: Int32 = isRunning ? 1 : 0
        let any = csystem_take_switches(area, &running) != 0
        isRunning = running != 0
        return any
    }
}

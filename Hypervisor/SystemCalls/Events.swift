// Waiting: poll(2), and the descriptors that stand for events and signals.

import CSystem
import Glibc

/// A counter that one thread raises and another waits for (eventfd(2)).
public final class EventCounter: Sendable {
    /// The descriptor; readable while the counter is not 0.
    public let descriptor: FileDescriptor

    /// A counter at 0.
    public init() throws(Errno) {
        let result = try systemCall("eventfd") { csystem_eventfd() }
        descriptor = FileDescriptor(owning: Int32(truncatingIfNeeded: result))
    }

    /// Raises the counter by 1. Never blocks; safe on any thread.
    public func signal() {
        var one: UInt64 = 1
        // EAGAIN means that the counter is at its limit, so the reader has reason enough to wake.
        _ = write(descriptor.rawValue, &one, 8)
    }

    /// Sets the counter back to 0.
    public func clear() {
        var value: UInt64 = 0
        _ = read(descriptor.rawValue, &value, 8)
    }
}

/// Signals that arrive as something to read (signalfd(2)).
public final class SignalReader: Sendable {
    /// The descriptor; readable while a signal is pending.
    public let descriptor: FileDescriptor

    /// Blocks these signals for this thread and every thread it starts later, and reports them here.
    public init(_ signals: [Int32]) throws(Errno) {
        let result = try systemCall("signalfd") { csystem_signalfd(signals, signals.count) }
        descriptor = FileDescriptor(owning: Int32(truncatingIfNeeded: result))
    }

    /// The number of the next signal, or nil if none is pending.
    public func next() -> Int32? {
        let result = csystem_read_signal(descriptor.rawValue)
        return result > 0 ? Int32(truncatingIfNeeded: result) : nil
    }
}

/// Waits until one of the descriptors is ready (poll(2)); a signal handler's return is not an end of the wait.
///
/// - Parameter milliseconds: how long at most; negative: without end.
/// - Returns: how many are ready.
@discardableResult
public func waitForEvents(_ descriptors: inout [pollfd], milliseconds: Int32) throws(Errno) -> Int {
    try systemCall("poll") {
        let result = poll(&descriptors, nfds_t(descriptors.count), milliseconds)
        return result < 0 ? -Int(errno) : Int(result)
    }
}

/// Nanoseconds on a clock that never goes back (CLOCK_MONOTONIC).
public func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(truncatingIfNeeded: time.tv_sec) &* 1_000_000_000 &+ UInt64(truncatingIfNeeded: time.tv_nsec)
}

/// Microseconds since 1970 (CLOCK_REALTIME).
public func wallMicroseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(truncatingIfNeeded: time.tv_sec) &* 1_000_000 &+ UInt64(truncatingIfNeeded: time.tv_nsec / 1000)
}

// From the vCPU threads to the control thread.

import Machine
import Synchronization
import SystemCalls

/// The events of a machine, on their way to the control thread.
///
/// A guest may write its program status port as fast as it can: beyond a limit such events are counted and forgotten. What
/// ends or stops a machine is never forgotten; there can only be a few of those.
final class EventQueue: Sendable {
    /// Raised whenever the control thread has something to do.
    let wake: EventCounter
    private let state = Mutex((events: [MachineEvent](), forgotten: UInt64(0)))
    private static let limit = 4096

    init() throws(Errno) {
        wake = try EventCounter()
    }

    /// Adds an event; called on vCPU threads.
    func push(_ event: MachineEvent) {
        state.withLock { state in
            if case .programEnded = event, state.events.count >= EventQueue.limit {
                state.forgotten &+= 1
            } else {
                state.events.append(event)
            }
        }
        wake.signal()
    }

    /// Takes all events, oldest first, and the number forgotten since the last time.
    func takeAll() -> (events: [MachineEvent], forgotten: UInt64) {
        state.withLock { state in
            defer { state = ([], 0) }
            return state
        }
    }
}

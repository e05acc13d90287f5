// A machine's events, kept until a test asks for them.

import KVM
import Machine
import SystemCalls
import Testing

/// Whether this host lets us test with real guests.
let hasKVM = (try? KVMSystem()) != nil

/// Collects events, and waits for the one a test wants.
final class Recorder: Sendable {
    private let seen = Guarded<[MachineEvent]>([])

    var handler: @Sendable (MachineEvent) -> Void {
        { event in self.seen.update { $0.append(event) } }
    }

    var events: [MachineEvent] { seen.withLock { $0 } }

    /// The first event, seen or still to come, of which `choose` makes something; nil if none comes.
    func first<Value>(_ choose: (MachineEvent) -> Value?) -> Value? {
        seen.wait(nanoseconds: 20_000_000_000) { events in
            for event in events {
                if let value = choose(event) { return value }
            }
            return nil
        }
    }
}

extension MachineEvent {
    var isShutdown: Bool? { if case .shutdown = self { true } else { nil } }
    var isReset: Bool? { if case .resetRequested = self { true } else { nil } }
    var isHalt: Bool? { if case .haltedForever = self { true } else { nil } }
    var stageReport: StageReport? { if case .stage(let report) = self { report } else { nil } }
    var stop: Stage? { if case .stopped(let stage) = self { stage } else { nil } }
    var tripleFault: CrashReport? { if case .tripleFault(let report) = self { report } else { nil } }
}

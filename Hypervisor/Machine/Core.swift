// What control threads and vCPU threads share, all of it behind one lock.

import KVM

/// A machine's shared state.
struct Core {
    /// What is known of a vCPU's thread.
    struct Worker {
        /// It waits in `serve` and touches the vCPU no more.
        var parked = false
        /// It has ended.
        var ended = false
        /// A debugger lets others run, and not this one.
        var held = false
        /// What it is to do between two runs.
        var jobs: [@Sendable (VCPU) -> Void] = []
    }

    var state = MachineState.prelaunch
    /// The threads exist.
    var started = false
    /// vCPUs are to park.
    var park = false
    /// vCPU threads are to end.
    var terminate = false
    /// The guest asked for a reset and waits for it.
    var awaitingReset = false
    var workers: [Worker]
    /// The vCPUs' threads run, or are about to.
    var hasThreads = false
    var stages: [StageReport] = []
    var snapshots: [StageSnapshot] = []
    var protocolErrors: UInt64 = 0
    /// When the guest began to run.
    var startTime: UInt64 = 0
    /// Emulated instructions before that.
    var instructionBase: UInt64 = 0
    /// `haltedForever` was told.
    var haltTold = false

    /// What a debugger has set up; nil without one.
    var debug: DebugState?
    /// Until when what a debugger's steps have left in the guest is caught, by CLOCK_MONOTONIC; nil: nothing is.
    var catchesTrapsUntil: UInt64?
    /// Whether there ever was one.
    var wasDebugged = false

    init(vcpus: Int) {
        workers = Array(repeating: Worker(), count: vcpus)
    }

    /// Every thread is parked or has ended.
    var allParked: Bool { workers.allSatisfy { $0.parked || $0.ended } }
}

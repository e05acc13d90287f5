// What happened to the guest, and what follows from it.

import JSON
import Machine
import SystemCalls

/// What the guest has done since its start.
struct GuestRecord {
    /// How its programs ended, by number.
    var programs: [UInt8: Int32] = [:]
    /// Ends of programs that had ended already, or that nobody had time to note.
    var surplusProgramEnds: UInt64 = 0
    /// The code of its panic.
    var panicCode: UInt32?
    /// Why it crashed, in lines.
    var crash: [String] = []
    /// Whether all vCPUs halt with interrupts off.
    var isHalted = false
    /// The stage of `--stop-at`, once it is held there.
    var heldAt: Stage?
}

extension GuestMonitor {
    /// Handles what the machine has told.
    func handleEvents() {
        let (events, forgotten) = queue.takeAll()
        record.surplusProgramEnds &+= forgotten
        for event in events where exitStatus == nil { handle(event) }
    }

    private func handle(_ event: MachineEvent) {
        switch event {
        case .stage(let report):
            server.broadcast("X_VITRINE_STAGE", stageJSON(report))
            // A guest that ends at once does not pay for it.
            if report.stage == .ready { startupCodeDrop = monotonicNanoseconds() &+ 500_000_000 }
        case .stopped(let stage):
            record.heldAt = stage
            server.broadcast("STOP")
        case .debugStop(let vcpu, let reason): tellDebugStop(vcpu, reason)
        case .programEnded(let number, let status):
            guard record.programs[number] == nil else {
                record.surplusProgramEnds &+= 1
                return
            }
            record.programs[number] = status
            server.broadcast("X_VITRINE_PROGRAM", ["number": JSON(number), "status": JSON(status)])
        case .haltedForever:
            record.isHalted = true
            server.broadcast("X_VITRINE_HALTED")
            complain("the guest halts with interrupts off on every vCPU: nothing will ever happen in it again")
            if !options.keepsCrashed { end(status: 5, reason: "guest-halted", guest: true) }
        case .panicked(let code):
            record.panicCode = code
            crashed("the guest kernel panicked (code 0x\(String(code, radix: 16)))", lines: [])
        case .tripleFault(let report), .emulationFailure(let report):
            crashed(report.summary, lines: report.lines)
        case .failure(let text):
            crashed(text, lines: [])
        case .shutdown:
            end(status: 0, reason: "guest-shutdown", guest: true)
        case .resetRequested:
            reset(guest: true)
        }
    }

    private func crashed(_ summary: String, lines: [String]) {
        for answer in exec.reset(summary) { reply(answer) }
        record.crash = [summary] + lines
        // What the guest printed before comes first.
        console.finish()
        complain(summary, details: lines)
        server.broadcast(
            "GUEST_PANICKED",
            ["action": .string(options.keepsCrashed ? "pause" : "shutdown"), "info": ["reason": .string(summary)]])
        if !options.keepsCrashed { end(status: 5, reason: "guest-panic", guest: true) }
    }

    /// Starts the guest again from its first instruction.
    func reset(guest: Bool) {
        for answer in exec.reset("the guest was reset") { reply(answer) }
        let wasHeld = !guest && machine.state == .paused
        record = GuestRecord()
        do throws(MachineError) {
            try machine.reset()
        } catch {
            crashed("the guest cannot be reset: \(error)", lines: [])
            return
        }
        server.broadcast(
            "RESET", ["guest": .bool(guest), "reason": .string(guest ? "guest-reset" : "host-qmp-system-reset")])
        if !wasHeld, machine.state != .running { machine.resume() }
    }

    /// A boot stage as events and `x-vitrine-info` show it.
    func stageJSON(_ report: StageReport) -> JSON {
        [
            "stage": .string(report.stage.rawValue),
            "instructions": report.instructions.map { JSON($0) } ?? .null,
            "microseconds": JSON(report.nanoseconds / 1000),
        ]
    }
}

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
            poweredOff("guest-shutdown")
        case .resetRequested:
            if options.endsAtReset { poweredOff("guest-reset") } else { reset(guest: true) }
        }
    }

    private func crashed(_ summary: String, lines: [String]) {
        for answer in exec.reset(summary) { reply(answer) }
        record.crash = [summary] + lines
        // What the guest printed before comes first.
        console.finish()
        complain(summary, details: lines)
        writePanicCore()
        server.broadcast("GUEST_PANICKED", panicJSON(summary))
        if face.isQEMU { server.broadcast("STOP") }
        if !options.keepsCrashed { end(status: 5, reason: "guest-panic", guest: true) }
    }

    /// The guest's own end.
    private func poweredOff(_ reason: String) {
        guard options.staysAfterPowerOff else {
            end(status: 0, reason: reason, guest: true)
            return
        }
        for answer in exec.reset("the guest powered off") { reply(answer) }
        server.broadcast("SHUTDOWN", ["guest": true, "reason": .string(reason)])
        server.broadcast("STOP")
    }

    /// The data of GUEST_PANICKED. What QEMU's own has under `info` is of two kinds only, neither of them ours.
    private func panicJSON(_ summary: String) -> JSON {
        let action = options.keepsCrashed ? "pause" : face.isQEMU ? "poweroff" : "shutdown"
        return face.isQEMU
            ? ["action": .string(action)] : ["action": .string(action), "info": ["reason": .string(summary)]]
    }

    /// Starts the guest again from its first instruction.
    func reset(guest: Bool) {
        for answer in exec.reset("the guest was reset") { reply(answer) }
        let wasHeld = !guest && machine.state == .paused
        // QEMU lets a machine that was at its end wait for `cont`; managers send one.
        let waits: Bool
        switch machine.state {
        case .shutdown, .panicked, .crashed: waits = face.isQEMU
        case .prelaunch, .running, .paused: waits = false
        }
        record = GuestRecord()
        do throws(MachineError) {
            try machine.reset(parked: waits)
        } catch {
            crashed("the guest cannot be reset: \(error)", lines: [])
            return
        }
        server.broadcast(
            "RESET", ["guest": .bool(guest), "reason": .string(guest ? "guest-reset" : "host-qmp-system-reset")])
        if !wasHeld, !waits, machine.state != .running { machine.resume() }
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

// The commands that QEMU has too. What is ours is in VitrineCommands.swift.

import JSON
import Machine

/// A command of the control socket, as data.
struct QMPCommand {
    /// The name after `execute`.
    let name: String
    /// Does it. The arguments that it does not take are refused by `arguments.end()`.
    let run: (GuestMonitor, inout QMPArguments, QMPConnection) throws(QMPError) -> QMPResult

    /// What every face has.
    static var common: [QMPCommand] {
        [
            QMPCommand(name: "query-version") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(monitor.face.versionReply)
            },
            QMPCommand(name: "query-status") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(monitor.statusJSON)
            },
            QMPCommand(name: "query-commands") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(monitor.face.commandsReply)
            },
            QMPCommand(name: "query-cpus-fast") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(monitor.cpusJSON)
            },
            QMPCommand(name: "stop") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                // From now on it stands until somebody lets it go on.
                monitor.holder = nil
                if monitor.machine.state == .running {
                    monitor.machine.pause()
                    monitor.server.broadcast("STOP")
                }
                return .done
            },
            QMPCommand(name: "cont") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                switch monitor.machine.state {
                case .running: break
                case .paused, .prelaunch:
                    try monitor.refuseDuringTransfer()
                    guard !monitor.isAwaitingGuest else {
                        throw .generic("the guest is not there yet (migrate-incoming)")
                    }
                    monitor.transfer.isSaved = false
                    monitor.holder = nil
                    monitor.record.heldAt = nil
                    monitor.machine.resume()
                    monitor.server.broadcast("RESUME")
                case .shutdown, .panicked, .crashed:
                    throw .generic("the guest cannot go on; reset it (system_reset) or end it (quit)")
                }
                return .done
            },
            QMPCommand(name: "system_reset") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                try monitor.refuseDuringTransfer()
                guard !monitor.isAwaitingGuest else {
                    throw .generic("the guest is not there yet (migrate-incoming)")
                }
                monitor.transfer.isSaved = false
                monitor.reset(guest: false)
                return .done
            },
            QMPCommand(name: "system_powerdown") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                switch monitor.machine.state {
                // One that is paused finds the request when it goes on.
                case .running, .paused, .prelaunch: monitor.machine.requestPowerOff()
                case .shutdown, .panicked, .crashed:
                    throw .generic("the guest does not run, so it cannot power itself off; end it (quit)")
                }
                monitor.server.broadcast("POWERDOWN")
                return .done
            },
            QMPCommand(name: "quit") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                monitor.end(status: 0, reason: "host-qmp-quit", guest: false)
                return .done
            },
        ]
    }
}

extension GuestMonitor {
    /// The state in QEMU's words (its type RunState).
    var runState: String {
        switch machine.state {
        case .prelaunch: return isAwaitingGuest ? "inmigrate" : "prelaunch"
        case .running: return "running"
        case .paused: return transfer.isSaved ? "postmigrate" : "paused"
        case .shutdown: return "shutdown"
        case .panicked: return "guest-panicked"
        case .crashed: return "internal-error"
        }
    }

    var statusJSON: JSON {
        [
            "status": .string(runState), "running": .bool(machine.state == .running), "singlestep": false,
            "x-vitrine-sandbox": sandboxJSON,
        ]
    }

    var cpusJSON: JSON {
        .array(
            machine.threadIDs.enumerated().map { index, thread in
                [
                    "cpu-index": JSON(index), "qom-path": .string("/machine/cpu[\(index)]"), "thread-id": JSON(thread),
                    "target": "x86_64",
                    "props": ["socket-id": 0, "core-id": JSON(index), "thread-id": 0],
                ]
            })
    }

    /// Checks the number of a vCPU.
    func vcpuArgument(_ arguments: inout QMPArguments, _ name: String = "vcpu") throws(QMPError) -> Int {
        try arguments.int(name, in: 0..<options.machine.vcpus, default: 0)
    }
}

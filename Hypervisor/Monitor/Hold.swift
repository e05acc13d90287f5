// A pause that lasts no longer than who asked for it: a command that is killed while it looks leaves no guest standing.

import JSON
import Machine

extension QMPCommand {
    static var hold: QMPCommand {
        QMPCommand(name: "x-vitrine-hold") { (monitor, arguments, connection) throws(QMPError) in
            try arguments.end()
            let wasRunning = monitor.machine.state == .running
            if wasRunning {
                monitor.machine.pause()
                monitor.server.broadcast("STOP")
                monitor.holder = connection.id
            }
            return .value(["was-running": .bool(wasRunning)])
        }
    }
}

extension GuestMonitor {
    /// Lets the guest go on if the connection that holds it is gone.
    func checkHolder() {
        guard let holder, !server.connections.contains(where: { $0.id == holder }) else { return }
        // A transfer tells its end, and ends with this.
        guard !transfer.isActive, !dump.isActive else { return }
        self.holder = nil
        guard machine.state == .paused else { return }
        transfer.isSaved = false
        machine.resume()
        server.broadcast("RESUME")
    }
}

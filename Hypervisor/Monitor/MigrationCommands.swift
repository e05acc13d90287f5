// Saving and restoring as QEMU's monitor has it: the guest goes through a descriptor, its format is ours.

import Glibc
import GuestMemory
import JSON
import Machine
import SavedGuests
import SystemCalls

extension QMPCommand {
    static var migration: [QMPCommand] {
        [
            QMPCommand(name: "getfd") { (monitor, arguments, connection) throws(QMPError) in
                let name = try arguments.text("fdname")
                try arguments.end()
                guard let descriptor = connection.takeDescriptor() else {
                    throw .generic("no descriptor came with the command (SCM_RIGHTS)")
                }
                guard let first = name.utf8.first, !(48...57).contains(first), name.utf8.count <= 255 else {
                    throw .generic("'fdname' must be a name that begins with no digit")
                }
                guard monitor.descriptors[name] != nil || monitor.descriptors.count < 64 else {
                    throw .generic("64 descriptors are kept already; close some (closefd)")
                }
                monitor.descriptors[name] = (descriptor, connection.id)
                return .done
            },
            QMPCommand(name: "x-vitrine-connect") { (monitor, arguments, connection) throws(QMPError) in
                try arguments.end()
                guard let socket = connection.takeDescriptor() else {
                    throw .generic("no socket came with the command (SCM_RIGHTS)")
                }
                try monitor.server.adopt(socket)
                return .done
            },
            QMPCommand(name: "closefd") { (monitor, arguments, _) throws(QMPError) in
                _ = try monitor.takeDescriptor(named: try arguments.text("fdname"))
                try arguments.end()
                return .done
            },
            QMPCommand(name: "migrate") { (monitor, arguments, connection) throws(QMPError) in
                let uri = try arguments.text("uri")
                // They belong to QEMU's way of moving disks, and to clients of long ago.
                for name in ["blk", "inc", "detach"] { _ = try arguments.optionalFlag(name) }
                if try arguments.optionalFlag("resume") ?? false {
                    throw .generic("no transfer was interrupted that could go on")
                }
                try arguments.end()
                return try monitor.save(to: uri, connection)
            },
            QMPCommand(name: "migrate-incoming") { (monitor, arguments, _) throws(QMPError) in
                let uri = try arguments.text("uri")
                try arguments.end()
                return try monitor.fill(from: uri)
            },
            QMPCommand(name: "migrate_cancel") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                monitor.transfer.cancel()
                return .done
            },
            QMPCommand(name: "query-migrate") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(monitor.transfer.status(memory: monitor.options.machine.memory))
            },
            QMPCommand(name: "migrate_set_speed") { (monitor, arguments, _) throws(QMPError) in
                let speed = try arguments.optionalInt("value", in: 0..<Int.max)
                try arguments.end()
                monitor.transfer.bandwidth = UInt64(speed ?? 0)
                return .done
            },
            QMPCommand(name: "migrate-set-parameters") { (monitor, arguments, _) throws(QMPError) in
                let speed = try arguments.optionalInt("max-bandwidth", in: 0..<Int.max)
                try arguments.end()
                if let speed { monitor.transfer.bandwidth = UInt64(speed) }
                return .done
            },
        ]
    }
}

extension GuestMonitor {
    /// Takes a descriptor that `getfd` brought.
    func takeDescriptor(named name: String) throws(QMPError) -> SharedDescriptor {
        guard let descriptor = descriptors.removeValue(forKey: name) else {
            throw .generic("there is no descriptor named '\(name)' (getfd brings one)")
        }
        return descriptor.descriptor
    }

    /// Closes the descriptors of connections that are gone: who killed a client waits for their ends.
    func dropDescriptors() {
        guard !descriptors.isEmpty else { return }
        let present = Set(server.connections.map(\.id))
        descriptors = descriptors.filter { present.contains($0.value.connection) }
    }

    /// Takes a descriptor that the process was started with.
    private func takeInheritedDescriptor(_ number: Int32) throws(QMPError) -> SharedDescriptor {
        guard emulator?.inheritedDescriptors.remove(number) != nil else {
            throw .generic("this process was not started with a descriptor \(number), or has used it")
        }
        return SharedDescriptor(FileDescriptor(owning: number))
    }

    /// The descriptor that a URI names: `fd:NAME`, `unix:PATH`.
    private func descriptor(of uri: String) throws(QMPError) -> SharedDescriptor {
        if uri.hasPrefix("fd:") {
            let name = String(uri.dropFirst(3))
            // getfd takes no name that begins with a digit.
            if let number = Int32(name) { return try takeInheritedDescriptor(number) }
            return try takeDescriptor(named: name)
        }
        if uri.hasPrefix("unix:") {
            guard sandbox == nil else {
                throw .generic(
                    "the sandbox of this guest connects to nothing: bring a connected socket (getfd, then fd:NAME), or start "
                        + "the guest with --sandbox off")
            }
            do throws(Errno) {
                return SharedDescriptor(try UnixSocket.connect(to: String(uri.dropFirst(5))))
            } catch { throw .generic(error.description) }
        }
        throw .generic("'uri' must be fd:NAME (of getfd) or unix:PATH")
    }

    /// Stops the guest and begins to save it; the end comes as the event MIGRATION.
    func save(to uri: String, _ connection: QMPConnection) throws(QMPError) -> QMPResult {
        try refuseDuringTransfer()
        switch machine.state {
        case .running, .paused, .prelaunch: break
        case .shutdown, .panicked, .crashed:
            throw .generic(
                "the guest cannot be saved: it is \(runState), and can never go on (dump-guest-memory keeps its memory)"
            )
        }
        guard !isAwaitingGuest else { throw .generic("the guest is not there yet (migrate-incoming)") }
        let descriptor = try descriptor(of: uri)
        wasRunningBeforeTransfer = machine.state == .running
        if wasRunningBeforeTransfer {
            machine.pause()
            server.broadcast("STOP")
        }
        // Events of the moment before it stood belong to what is saved.
        handleEvents()
        let queue = queue
        do throws(QMPError) {
            try transfer.save(
                machine, to: descriptor,
                machine.description(name: options.name, wasRunning: wasRunningBeforeTransfer),
                monitor: savedRecord
            ) { queue.wake.signal() }
        } catch {
            resumeAfterTransfer()
            throw error
        }
        // Who saves ends it or lets it go on; who is gone can do neither. Managers of a QEMU come back and ask.
        if wasRunningBeforeTransfer, !face.isQEMU { holder = connection.id }
        server.broadcast("MIGRATION", ["status": "setup"])
        server.broadcast("MIGRATION", ["status": "active"])
        return .done
    }

    /// Begins to fill a machine that waits for a guest.
    func fill(from uri: String) throws(QMPError) -> QMPResult {
        try refuseDuringTransfer()
        guard isAwaitingGuest else {
            throw .generic("'-incoming' was not given, or the guest is there already: it cannot be replaced")
        }
        let queue = queue
        try transfer.fill(machine, from: try descriptor(of: uri)) { queue.wake.signal() }
        server.broadcast("MIGRATION", ["status": "setup"])
        server.broadcast("MIGRATION", ["status": "active"])
        return .done
    }

    /// Refuses what would change a guest that is on its way.
    func refuseDuringTransfer() throws(QMPError) {
        guard !transfer.isActive else {
            throw .generic("the guest is being saved or restored; wait for the event MIGRATION, or migrate_cancel")
        }
        guard !dump.isActive else { throw .generic("the guest is being dumped; wait for the event DUMP_COMPLETED") }
    }

    /// Handles the end of a transfer.
    func handleTransfer() {
        switch transfer.takeOutcome() {
        case nil: return
        case .saved: server.broadcast("MIGRATION", ["status": "completed"])
        case .filled(let description, let section):
            finishFilling(description, section)
            server.broadcast("MIGRATION", ["status": "completed"])
        case .failed(let direction, let error):
            var isCancelled = false
            if case .cancelled = error { isCancelled = true }
            server.broadcast("MIGRATION", ["status": isCancelled ? "cancelled" : "failed"])
            if direction == .outgoing {
                complain("the guest was not saved: \(error)")
                resumeAfterTransfer()
            } else {
                // It is neither one guest nor another.
                complain("the guest cannot be restored: \(error)")
                exitStatus = MonitorError.saved(error).exitStatus
            }
        }
    }

    /// Lets a guest go on that was only stopped to be looked at.
    func resumeAfterTransfer() {
        guard wasRunningBeforeTransfer, machine.state == .paused else { return }
        machine.resume()
        server.broadcast("RESUME")
    }

    /// What follows from a guest being there: it goes on, or stands as it stood.
    func finishFilling(_ description: GuestDescription, _ section: Section) {
        isAwaitingGuest = false
        do throws(SavedGuestError) {
            try restoreRecord(section)
        } catch {
            complain("\(error)")
        }
        guard description.wasRunning, !options.staysPaused else { return }
        machine.resume()
        server.broadcast("RESUME")
    }
}

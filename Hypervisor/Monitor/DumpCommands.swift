// Dumps of the guest's memory as QEMU's monitor has them.

import Glibc
import GuestMemory
import JSON
import Machine
import SavedGuests
import SystemCalls

extension QMPCommand {
    static var dumping: [QMPCommand] {
        [
            QMPCommand(name: "dump-guest-memory") { (monitor, arguments, connection) throws(QMPError) in
                let paging = try arguments.optionalFlag("paging") ?? false
                let place = try arguments.text("protocol")
                let detach = try arguments.optionalFlag("detach") ?? false
                let format = try arguments.optionalText("format") ?? "elf"
                let begin = try arguments.optionalInt("begin", in: 0..<Int.max)
                let length = try arguments.optionalInt("length", in: 0..<Int.max)
                try arguments.end()
                guard !paging else { throw .generic("'paging' must be false: cores are by physical address") }
                guard format == "elf" else {
                    throw .generic("'format' \(format) is not there: elf is (query-dump-guest-memory-capability)")
                }
                guard begin == nil, length == nil else {
                    throw .generic("'begin' and 'length' are not there: all memory is dumped")
                }
                return try monitor.dump(to: place, detach: detach, connection)
            },
            QMPCommand(name: "query-dump") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(monitor.dump.status)
            },
            QMPCommand(name: "query-dump-guest-memory-capability") { (_, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(["formats": ["elf"]])
            },
        ]
    }
}

extension GuestMonitor {
    /// Stops the guest and begins to dump it; it goes on afterwards if it ran.
    func dump(to place: String, detach: Bool, _ connection: QMPConnection) throws(QMPError) -> QMPResult {
        try refuseDuringTransfer()
        guard !isAwaitingGuest else { throw .generic("the guest is not there yet (migrate-incoming)") }
        let descriptor: SharedDescriptor
        if place.hasPrefix("fd:") {
            descriptor = try takeDescriptor(named: String(place.dropFirst(3)))
        } else if place.hasPrefix("file:") {
            do throws(Errno) {
                descriptor = SharedDescriptor(
                    try FileDescriptor(
                        open: String(place.dropFirst(5)), O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, mode: 0o600))
            } catch { throw .generic(error.description) }
        } else {
            throw .generic("'protocol' must be fd:NAME (of getfd) or file:PATH")
        }
        wasRunningBeforeTransfer = machine.state == .running
        if wasRunningBeforeTransfer {
            machine.pause()
            server.broadcast("STOP")
        }
        let queue = queue
        do throws(QMPError) {
            try dump.begin(
                machine, to: descriptor, layout: options.machine.layout, connection: detach ? nil : connection.id
            ) { queue.wake.signal() }
        } catch {
            resumeAfterTransfer()
            throw error
        }
        return detach ? .done : .later
    }

    /// Handles the end of a dump.
    func handleDump() {
        guard let (failure, connection) = dump.takeOutcome() else { return }
        if let connection {
            server.reply(to: connection, failure.map { .failure(.generic($0)) } ?? .success([:]))
        }
        var data = [JSONMember("result", dump.status)]
        if let failure { data.append(JSONMember("error", .string(failure))) }
        server.broadcast("DUMP_COMPLETED", .object(data))
        resumeAfterTransfer()
    }

    /// Writes the core of `--core-on-panic`, if it was asked for. The guest stands.
    func writePanicCore() {
        guard let path = options.panicCore, !isAwaitingGuest else { return }
        // The other vCPUs may not have come to rest yet.
        machine.pause()
        do throws(SavedGuestError) {
            do throws(Errno) {
                let file = try ReplacedFile(path, mode: 0o600)
                let descriptor = SharedDescriptor(try file.descriptor.duplicate())
                var failure: SavedGuestError?
                do throws(SavedGuestError) {
                    try writeCore(
                        of: machine, to: descriptor, TransferStream(descriptor), layout: options.machine.layout
                    ) { _, _ in }
                } catch { failure = error }
                if let failure {
                    complain("no core of the guest in \(path): \(failure)")
                    return
                }
                try file.commit()
            } catch { throw .call(error) }
            complain("the guest's core is in \(path)")
        } catch {
            complain("no core of the guest in \(path): \(error)")
        }
    }
}

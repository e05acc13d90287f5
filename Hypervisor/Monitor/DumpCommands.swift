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
            let path = String(place.dropFirst(5))
            descriptor = try openFile(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY)
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
        let machine = machine
        let layout = options.machine.layout
        do throws(Errno) {
            let failure = try machine.threads.transfer.run { () -> SavedGuestError? in
                do throws(SavedGuestError) {
                    try writeNamedCore(of: machine, path, layout: layout)
                    return nil
                } catch { return error }
            }
            if let failure {
                complain("no core of the guest in \(path): \(failure)")
            } else {
                complain("the guest's core is in \(path)")
            }
        } catch {
            complain("no core of the guest in \(path): \(error)")
        }
    }

    /// Opens a file for writing, on the thread that may.
    ///
    /// - Throws: what a client can do about it, where it is the sandbox that refuses.
    func openFile(_ path: String, _ flags: Int32) throws(QMPError) -> SharedDescriptor {
        guard sandbox == nil || face.isQEMU else {
            throw .generic(
                "the sandbox of this guest opens no files: bring a descriptor (getfd, then fd:NAME), or start the guest "
                    + "with --sandbox off")
        }
        let result = try onTransferThread { () -> Result<SharedDescriptor, Errno> in
            Result { () throws(Errno) in SharedDescriptor(try FileDescriptor(open: path, flags, mode: 0o600)) }
        }
        switch result {
        case .success(let descriptor): return descriptor
        case .failure(let error):
            let hint =
                sandbox != nil && error.code == EACCES
                ? "; the sandbox of this guest opens files in libvirt's folder of the domain alone (-sandbox off: anywhere)"
                : ""
            throw .generic(error.description + hint)
        }
    }
}

/// Writes a core that has its name once it is whole. On the thread of transfers.
private func writeNamedCore(of machine: Machine, _ path: String, layout: String) throws(SavedGuestError) {
    let file: ReplacedFile
    let descriptor: SharedDescriptor
    do throws(Errno) {
        file = try ReplacedFile(path, mode: 0o600)
        descriptor = SharedDescriptor(try file.descriptor.duplicate())
    } catch { throw .call(error) }
    try writeCore(of: machine, to: descriptor, TransferStream(descriptor), layout: layout) { _, _ in }
    do throws(Errno) { try file.commit() } catch { throw .call(error) }
}

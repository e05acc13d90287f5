// The process that libvirt asks what there could be: a monitor without a machine (`-machine none`).

import Glibc
import GuestMemory
import JSON
import SystemCalls

/// A monitor without a machine.
final class QEMUProbe {
    private let server: QMPServer
    private let signals: SignalReader
    private let face = QMPFace.qemu
    private var answers: [String: QEMUAnswer] = [:]
    private var isOver = false

    init(listeners: [SharedDescriptor]) throws(Errno) {
        signals = try SignalReader([SIGINT, SIGTERM, SIGHUP])
        server = QMPServer(listeners: listeners, face: face)
        for answer in QEMUAnswer.all { answers[answer.name] = answer }
    }

    /// Answers until a signal or `quit` ends it.
    func run() throws(Errno) {
        while !isOver {
            var list = [pollfd(fd: signals.descriptor.rawValue, events: Int16(POLLIN), revents: 0)]
            server.addDescriptors(to: &list)
            try waitForEvents(&list, milliseconds: server.hasWork ? 0 : -1)
            if list[0].revents != 0, signals.next() != nil { return }
            server.handle(list[1...]) { (name, arguments, _) throws(QMPError) in
                .value(try self.answer(name, QMPArguments(arguments)))
            }
            server.flush()
        }
        server.drain(milliseconds: 100)
    }

    private func answer(_ name: String, _ arguments: QMPArguments) throws(QMPError) -> JSON {
        var arguments = arguments
        if let answer = answers[name] { return try answer.answer(&arguments) }
        switch name {
        case "query-version": return face.versionReply
        case "query-commands": return face.commandsReply
        case "query-status": return ["status": "prelaunch", "running": false, "singlestep": false]
        case "quit":
            isOver = true
            return [:]
        default:
            guard face.commands.contains(where: { $0.name == name }) else {
                throw .commandNotFound("there is no command '\(name)'")
            }
            throw .generic("there is no machine here (-machine none)")
        }
    }
}

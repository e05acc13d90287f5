// The process that libvirt asks what there could be: a monitor without a machine (`-machine none`).

import Glibc
import GuestMemory
import JSON
import SystemCalls

/// A monitor without a machine.
package final class QEMUProbe {
    private let server: QMPServer
    private let signals: SignalReader?
    private let face = QMPFace.qemu
    private var answers: [String: QEMUAnswer] = [:]
    private var isOver = false

    init(listeners: [SharedDescriptor], handlesSignals: Bool = true) throws(Errno) {
        signals = handlesSignals ? try SignalReader([SIGINT, SIGTERM, SIGHUP]) : nil
        server = QMPServer(listeners: listeners, face: face)
        for answer in QEMUAnswer.all { answers[answer.name] = answer }
    }

    /// Answers until a signal or `quit` ends it.
    func run() throws(Errno) {
        while !isOver { try turn(milliseconds: -1) }
        server.drain(milliseconds: 100)
    }

    /// Waits for something to happen, so long at most (negative: without end), and handles it.
    private func turn(milliseconds: Int32) throws(Errno) {
        var list = [pollfd(fd: signals?.descriptor.rawValue ?? -1, events: Int16(POLLIN), revents: 0)]
        server.addDescriptors(to: &list)
        try waitForEvents(&list, milliseconds: server.hasWork ? 0 : milliseconds)
        if list[0].revents != 0, signals?.next() != nil {
            isOver = true
            return
        }
        server.handle(list[1...]) { (name, arguments, _) throws(QMPError) in
            .value(try self.answer(name, QMPArguments(arguments)))
        }
        server.flush()
    }

    /// What a client gets that says this and no more; for tests, without a socket of the file system.
    package static func conversation(_ input: [UInt8]) throws(Errno) -> [UInt8] {
        let probe = try QEMUProbe(listeners: [], handlesSignals: false)
        let pair = try UnixSocket.pair()
        probe.server.add(pair.first)
        let client = pair.second
        var output: [UInt8] = []
        var rest = input[...]
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            if !rest.isEmpty {
                let piece = rest.prefix(4096)
                buffer.copyBytes(from: piece)
                let sent = try UnixSocket.send(client, UnsafeRawBufferPointer(rebasing: buffer[..<piece.count]))
                rest.removeFirst(sent ?? 0)
                if rest.isEmpty { shutdown(client.rawValue, Int32(SHUT_WR)) }
            } else if input.isEmpty {
                shutdown(client.rawValue, Int32(SHUT_WR))
            }
            try probe.turn(milliseconds: 0)
            while let (count, _) = try UnixSocket.receive(client, into: buffer), count > 0 {
                output += buffer[..<count]
            }
            if probe.server.connections.isEmpty { return output }
        }
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

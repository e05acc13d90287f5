// The control socket: accepts clients, splits what they say into commands, sends what they are told.

import Glibc
import GuestMemory
import JSON
import SystemCalls

/// The control socket and its clients. Lives on the control thread; what a command does is the owner's business.
final class QMPServer {
    /// More clients than this at once are turned away.
    static let clientLimit = 128
    /// So many commands of one client are run before the next client's turn.
    private static let turn = 32

    private let listeners: [SharedDescriptor]
    private let face: QMPFace
    private var nextID = 1
    /// Who may connect, besides root.
    private let user = geteuid()
    private(set) var connections: [QMPConnection] = []

    /// Runs a command: its name, its arguments, and the connection that asked.
    typealias Handler = (String, JSON?, QMPConnection) throws(QMPError) -> QMPResult

    /// Listens at a path that must not exist yet.
    convenience init(path: String, face: QMPFace) throws(Errno) {
        self.init(listeners: [try QMPServer.listen(at: path)], face: face)
    }

    /// Accepts clients on sockets that listen already.
    init(listeners: [SharedDescriptor], face: QMPFace) {
        self.listeners = listeners
        self.face = face
    }

    /// A listening socket that no other user may connect to. The path must not exist yet.
    static func listen(at path: String) throws(Errno) -> SharedDescriptor {
        let socket = try UnixSocket.listen(at: path)
        chmod(path, 0o600)
        return SharedDescriptor(socket)
    }

    /// Adds what to wait for.
    func addDescriptors(to list: inout [pollfd]) {
        // Beyond the limit new ones wait in the kernel's queue until one leaves.
        let events = connections.count < QMPServer.clientLimit ? Int16(POLLIN) : 0
        for listener in listeners { list.append(pollfd(fd: listener.rawValue, events: events, revents: 0)) }
        for connection in connections {
            list.append(pollfd(fd: connection.socket.rawValue, events: connection.pollEvents, revents: 0))
        }
    }

    /// Whether a client's line waits for its turn, so that nobody must sleep now.
    var hasWork: Bool { connections.contains { $0.hasLine } }

    /// Handles what became ready; `ready` are the entries that `addDescriptors` added, in order.
    func handle(_ ready: ArraySlice<pollfd>, _ handler: Handler) {
        guard ready.count >= listeners.count else { return }
        for (connection, entry) in zip(connections, ready.dropFirst(listeners.count)) {
            if entry.revents & Int16(POLLIN) != 0 {
                connection.receive()
            } else if entry.revents & Int16(POLLHUP | POLLERR | POLLNVAL) != 0 {
                connection.disconnect()
            }
        }
        for connection in connections {
            for _ in 0..<QMPServer.turn {
                guard let line = connection.nextLine() else { break }
                run(line, connection, handler)
            }
            connection.forgetDescriptors()
            connection.flush()
        }
        connections.removeAll { $0.isOver }
        for (listener, entry) in zip(listeners, ready) where entry.revents & Int16(POLLIN) != 0 { accept(listener) }
    }

    /// Takes a socket that somebody brought for a client of its own: who may bring it may do everything already.
    func adopt(_ socket: SharedDescriptor) throws(QMPError) {
        guard connections.count < QMPServer.clientLimit else { throw .generic("there are too many clients") }
        do throws(Errno) {
            let own = try socket.descriptor.duplicate()
            try own.setCloseOnExecAndNonblocking()
            nextID += 1
            let connection = QMPConnection(id: nextID, socket: own, lineEnd: face.lineEnd)
            connections.append(connection)
            connection.send(line: face.greeting)
            connection.flush()
        } catch {
            throw .generic(error.description)
        }
    }

    /// Tells every client that has negotiated.
    func broadcast(_ name: String, _ data: JSON? = nil) {
        let message = QMPMessage.event(name, data)
        for connection in connections where connection.isNegotiated { connection.send(line: message) }
    }

    /// Answers a command that was to be answered later.
    func reply(to connectionID: Int, _ result: Result<JSON, QMPError>) {
        guard let connection = connections.first(where: { $0.id == connectionID }),
            let deferred = connection.deferred
        else { return }
        connection.deferred = nil
        switch result {
        case .success(let value): connection.send(line: QMPMessage.success(value, id: deferred.id))
        case .failure(let error): connection.send(line: error.reply(id: deferred.id))
        }
    }

    /// Sends what can be sent now.
    func flush() {
        for connection in connections { connection.flush() }
        connections.removeAll { $0.isOver }
    }

    /// Gives the clients some time to read what was said last, before the end.
    func drain(milliseconds: Int) {
        let deadline = monotonicNanoseconds() &+ UInt64(milliseconds) &* 1_000_000
        while true {
            flush()
            var list = connections.filter(\.hasOutput).map {
                pollfd(fd: $0.socket.rawValue, events: Int16(POLLOUT), revents: 0)
            }
            let now = monotonicNanoseconds()
            guard !list.isEmpty, now < deadline else { return }
            _ = try? waitForEvents(&list, milliseconds: Int32((deadline - now) / 1_000_000 + 1))
        }
    }

    /// Takes a client that is connected already; it gets the greeting.
    func add(_ socket: consuming FileDescriptor) {
        nextID += 1
        let connection = QMPConnection(id: nextID, socket: socket, lineEnd: face.lineEnd)
        connections.append(connection)
        connection.send(line: face.greeting)
        connection.flush()
    }

    private func accept(_ listener: SharedDescriptor) {
        while connections.count < QMPServer.clientLimit {
            guard let connection = nextConnection(listener) else { return }
            connections.append(connection)
            connection.send(line: face.greeting)
            connection.flush()
        }
    }

    /// The next client that may talk to us: the same user or root.
    private func nextConnection(_ listener: SharedDescriptor) -> QMPConnection? {
        while true {
            do throws(Errno) {
                guard let socket = try UnixSocket.accept(listener.descriptor) else { return nil }
                let peer = try UnixSocket.peer(of: socket).user
                guard peer == 0 || peer == user else { continue }
                nextID += 1
                return QMPConnection(id: nextID, socket: socket, lineEnd: face.lineEnd)
            } catch {
                return nil
            }
        }
    }

    private func run(_ line: [UInt8], _ connection: QMPConnection, _ handler: Handler) {
        guard line.contains(where: { $0 != 0x20 && $0 != 9 && $0 != 13 }) else { return }
        var id: JSON?
        do throws(QMPError) {
            let request: JSON
            do throws(JSONError) {
                request = try JSON.parse(line, limits: JSONLimits(bytes: QMPConnection.inputLimit, depth: 32))
            } catch {
                throw .generic(error.description)
            }
            guard let members = request.members else { throw .generic("a request must be an object") }
            id = request["id"]
            guard let command = request["execute"]?.text else { throw .generic("'execute' must name a command") }
            for member in members where !["execute", "arguments", "id"].contains(member.name) {
                throw .generic("'\(member.name)' is unexpected in a request")
            }
            if !connection.isNegotiated {
                guard command == "qmp_capabilities" else {
                    throw .commandNotFound("capabilities must be negotiated first, with 'qmp_capabilities'")
                }
                connection.isNegotiated = true
                connection.send(line: QMPMessage.success([:], id: id))
                return
            }
            if command == "qmp_capabilities" { throw .commandNotFound("capabilities are negotiated already") }
            switch try handler(command, request["arguments"], connection) {
            case .value(let value, let descriptors):
                connection.send(line: QMPMessage.success(value, id: id), descriptors: descriptors)
            case .later: connection.deferred = QMPConnection.Deferred(id: id)
            }
        } catch {
            connection.send(line: error.reply(id: id))
        }
    }
}

// The client's side of QMP on a UNIX socket, with the descriptors that come along.

import Glibc
import GuestMemory
import JSON
import Synchronization
import SystemCalls

/// The answer to a command.
public struct QMPReply: Sendable {
    /// What `return` holds.
    public let value: JSON
    /// The descriptors that came with it, in order.
    public let descriptors: [SharedDescriptor]
}

/// An event that the other side sent.
public struct QMPEvent: Sendable {
    /// Its name, for example `SHUTDOWN`.
    public let name: String
    /// Its data; null if it has none.
    public let data: JSON
}

/// A connection to a QMP server. Safe on any thread: commands of several threads go one after the other.
public final class QMPClient: Sendable {
    /// The name used in messages.
    public let name: String
    private let socket: FileDescriptor
    private let state = Mutex(State())
    /// The longest line that is accepted.
    private static let lineLimit = 64 << 20

    private struct State {
        var received: [UInt8] = []
        /// Where the search for the next line end goes on.
        var searched = 0
        /// How many bytes were taken out of `received` so far.
        var base = 0
        /// Descriptors that came, with the offset in the stream of the line they belong to.
        var descriptors: [(line: Int, descriptor: SharedDescriptor)] = []
        /// Those of the line that was taken last.
        var current: [SharedDescriptor] = []
        var events: [QMPEvent] = []
        var nextID = 1
        var isNegotiated = false
        var isBroken = false
    }

    /// Connects to the socket at `path`. Nothing is said yet: the first command negotiates.
    public init(path: String, name: String) throws(TargetError) {
        self.name = name
        do throws(Errno) {
            socket = try UnixSocket.connect(to: path)
        } catch {
            switch error.code {
            case ENOENT, ECONNREFUSED, ENOTDIR: throw .noSuchTarget("no guest named '\(name)' (see vitrine list)")
            case EAGAIN: throw .unable("'\(name)' has too many connections waiting; try again")
            case EACCES, EPERM: throw .unable("'\(name)' belongs to another user")
            default: throw .call(error)
            }
        }
    }

    /// Speaks over a socket that is connected already, non-blocking.
    public init(socket: consuming FileDescriptor, name: String) {
        self.name = name
        self.socket = socket
    }

    /// The process and the user at the other end (SO_PEERCRED): whoever listened on the socket.
    public func peer() throws(TargetError) -> (pid: Int32, user: UInt32) {
        do throws(Errno) { return try UnixSocket.peer(of: socket) } catch { throw .call(error) }
    }

    /// What to wait on for events, besides others: readable when `nextEvent` has something new to look at.
    public var descriptor: Int32 { socket.rawValue }

    /// Runs a command and waits for its answer.
    ///
    /// - Parameter descriptors: go along with the command (`getfd`); they stay the caller's.
    @discardableResult
    public func execute(
        _ command: String, _ arguments: [JSONMember] = [], descriptors: [Int32] = [], timeout seconds: Double = 10
    ) throws(TargetError) -> QMPReply {
        let replies = try execute([(command, arguments)], descriptors: descriptors, timeout: seconds)
        guard let reply = replies.first else { throw .badAnswer("no reply") }
        return reply
    }

    /// Runs several commands with a single round trip; the first error among the answers is thrown.
    public func execute(
        _ commands: [(name: String, arguments: [JSONMember])], descriptors: [Int32] = [], timeout seconds: Double = 10
    ) throws(TargetError) -> [QMPReply] {
        let deadline = monotonicNanoseconds() &+ UInt64(seconds * 1e9)
        let result: Result<[QMPReply], TargetError> = state.withLock { state in
            do throws(TargetError) {
                return .success(try run(commands, descriptors, deadline: deadline, seconds: seconds, &state))
            } catch {
                switch error {
                case .refused: break
                default: state.isBroken = true
                }
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// The next event, or nil if none comes within the time.
    public func nextEvent(timeout seconds: Double) throws(TargetError) -> QMPEvent? {
        let deadline = monotonicNanoseconds() &+ UInt64(max(0, seconds) * 1e9)
        let result: Result<QMPEvent?, TargetError> = state.withLock { state in
            do throws(TargetError) {
                if !state.isNegotiated { _ = try run([], [], deadline: deadline, seconds: seconds, &state) }
                while state.events.isEmpty {
                    guard let message = try nextMessage(deadline: deadline, &state) else { return .success(nil) }
                    keepEvent(message, &state)
                }
                return .success(state.events.removeFirst())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func run(
        _ commands: [(name: String, arguments: [JSONMember])], _ descriptors: [Int32], deadline: UInt64,
        seconds: Double, _ state: inout State
    ) throws(TargetError) -> [QMPReply] {
        guard !state.isBroken else { throw .wentAway(name) }
        var pending: [(id: Int, name: String)] = []
        var text = JSONWriter()
        let negotiation: [(name: String, arguments: [JSONMember])] =
            state.isNegotiated ? [] : [("qmp_capabilities", [])]
        for command in negotiation + commands {
            text.object {
                $0.member("execute", command.name)
                if !command.arguments.isEmpty { $0.member("arguments", json: .object(command.arguments)) }
                $0.member("id", state.nextID)
            }
            text.endLine()
            pending.append((state.nextID, command.name))
            state.nextID += 1
        }
        try send(text.bytes, descriptors, deadline: deadline)
        var replies: [QMPReply] = []
        var failure: TargetError?
        for (id, command) in pending {
            while true {
                guard let message = try nextMessage(deadline: deadline, &state) else {
                    throw .noAnswer(command: command, seconds: seconds)
                }
                if message["event"] != nil || message["QMP"] != nil {
                    keepEvent(message, &state)
                    continue
                }
                let descriptors = state.current
                // An error without an id answers what the server could not read; it is ours all the same.
                guard message["id"]?.int == id || message["id"] == nil else {
                    throw .badAnswer("a reply to command \(message["id"]?.encoded ?? "") instead of \(id)")
                }
                if let error = message["error"] {
                    failure =
                        failure
                        ?? .refused(
                            command: command, errorClass: error["class"]?.text ?? "GenericError",
                            reason: error["desc"]?.text ?? "\(command) was refused")
                } else if let value = message["return"] {
                    replies.append(QMPReply(value: value, descriptors: descriptors))
                } else {
                    throw .badAnswer("neither return nor error")
                }
                break
            }
        }
        if !state.isNegotiated {
            state.isNegotiated = true
            if !replies.isEmpty { replies.removeFirst() }
        }
        if let failure { throw failure }
        return replies
    }

    private func keepEvent(_ message: JSON, _ state: inout State) {
        guard let event = message["event"]?.text else { return }
        // Somebody who never looks at events shall not gather them without end.
        if state.events.count >= 4096 { state.events.removeFirst() }
        state.events.append(QMPEvent(name: event, data: message["data"] ?? .null))
    }

    private func send(_ bytes: [UInt8], _ descriptors: [Int32], deadline: UInt64) throws(TargetError) {
        var done = 0
        while done < bytes.count {
            let rest = Array(bytes[done...])
            let sent: Int?
            do throws(Errno) {
                sent = try systemCallSend(rest, done == 0 ? descriptors : [])
            } catch {
                throw error.code == EPIPE || error.code == ECONNRESET ? .wentAway(name) : .call(error)
            }
            if let sent { done += sent } else { try wait(POLLOUT, deadline: deadline) }
        }
    }

    private func systemCallSend(_ bytes: [UInt8], _ descriptors: [Int32]) throws(Errno) -> Int? {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { buffer.deallocate() }
        buffer.copyBytes(from: bytes)
        return try UnixSocket.send(socket, UnsafeRawBufferPointer(buffer), descriptors: descriptors)
    }

    /// Waits until the socket is ready.
    ///
    /// - Returns: false when the time is over.
    @discardableResult
    private func wait(_ events: Int32, deadline: UInt64) throws(TargetError) -> Bool {
        let now = monotonicNanoseconds()
        guard now < deadline else { return false }
        var descriptors = [pollfd(fd: socket.rawValue, events: Int16(events), revents: 0)]
        do throws(Errno) {
            let milliseconds = min((deadline - now) / 1_000_000 + 1, UInt64(Int32.max))
            return try waitForEvents(&descriptors, milliseconds: Int32(milliseconds)) > 0
        } catch {
            throw .call(error)
        }
    }

    /// The next line as JSON, or nil when the time is over.
    private func nextMessage(deadline: UInt64, _ state: inout State) throws(TargetError) -> JSON? {
        while true {
            if let end = state.received[state.searched...].firstIndex(of: 10) {
                let line = state.received[..<end]
                let parsed: JSON
                do throws(JSONError) {
                    parsed = try JSON.parse(line, limits: JSONLimits(bytes: QMPClient.lineLimit))
                } catch {
                    throw .badAnswer(error.description)
                }
                let size = state.received.distance(from: state.received.startIndex, to: end) + 1
                state.current = state.descriptors.filter { $0.line < state.base + size }.map(\.descriptor)
                state.descriptors.removeAll { $0.line < state.base + size }
                state.base += size
                state.received.removeFirst(size)
                state.searched = 0
                return parsed
            }
            state.searched = state.received.count
            guard state.received.count < QMPClient.lineLimit else { throw .badAnswer("an endless line") }
            if try receive(&state) { continue }
            guard try wait(POLLIN, deadline: deadline) else { return nil }
        }
    }

    /// Takes what has arrived; false if nothing has.
    private func receive(_ state: inout State) throws(TargetError) -> Bool {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
        defer { buffer.deallocate() }
        do throws(Errno) {
            guard let (count, descriptors) = try UnixSocket.receive(socket, into: buffer) else { return false }
            let arrived = descriptors.map { SharedDescriptor(FileDescriptor(owning: $0)) }
            guard count > 0 else { throw Errno(ECONNRESET, "recvmsg") }
            state.received.append(contentsOf: buffer[..<count])
            // The kernel ends a read with the piece that carries descriptors, so they belong to the last line begun.
            let previous = state.received.dropLast().lastIndex(of: 10).map { $0 + 1 } ?? 0
            state.descriptors += arrived.map { (state.base + previous, $0) }
            return true
        } catch {
            throw error.code == ECONNRESET || error.code == EPIPE ? .wentAway(name) : .call(error)
        }
    }
}

import Glibc
import GuestMemory
import JSON
import SystemCalls
import TestSupport
import Synchronization

/// The other end of a control socket, which says what a test tells it to: what no real monitor would say.
final class FakeMonitor: Sendable {
    private let folder: TemporaryFolder
    var path: String { folder.path + "/qmp.sock" }
    private let thread: Mutex<pthread_t?> = Mutex(nil)

    /// A connection as the fake sees it.
    final class Connection {
        let socket: FileDescriptor
        private var received: [UInt8] = []

        init(_ socket: consuming FileDescriptor) { self.socket = socket }

        /// The next request, or nil when the client has closed.
        func next() -> JSON? {
            while true {
                if let end = received.firstIndex(of: 10) {
                    let line = Array(received[..<end])
                    received.removeSubrange(...end)
                    return try? JSON.parse(line)
                }
                var list = [pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)]
                guard poll(&list, 1, 5000) > 0 else { return nil }
                var buffer = [UInt8](repeating: 0, count: 4096)
                let count = read(socket.rawValue, &buffer, buffer.count)
                guard count > 0 else { return nil }
                received += buffer[..<count]
            }
        }

        /// Says a line as it is.
        func say(_ line: String, _ descriptors: [Int32] = []) {
            var rest = Array((line + "\n").utf8)[...]
            var gifts = descriptors
            while !rest.isEmpty {
                let piece = Array(rest)
                guard let sent = try? piece.withUnsafeBytes({ try UnixSocket.send(socket, $0, descriptors: gifts) })
                else {
                    // Full, or nobody reads any more.
                    var list = [pollfd(fd: socket.rawValue, events: Int16(POLLOUT), revents: 0)]
                    guard poll(&list, 1, 2000) > 0, list[0].revents == Int16(POLLOUT) else { return }
                    continue
                }
                rest.removeFirst(sent)
                gifts = []
            }
        }

        /// Answers the request.
        func answer(_ request: JSON, _ value: JSON, _ descriptors: [Int32] = []) {
            say(
                JSON.object([JSONMember("return", value), JSONMember("id", request["id"] ?? .null)]).encoded,
                descriptors)
        }
    }

    /// Serves one connection with `script`; negotiation is done before.
    init(_ script: @escaping @Sendable (Connection) -> Void) throws {
        folder = try TemporaryFolder()
        let listener = SharedDescriptor(try UnixSocket.listen(at: folder.path + "/qmp.sock"))
        let work = Work {
            var list = [pollfd(fd: listener.rawValue, events: Int16(POLLIN), revents: 0)]
            guard poll(&list, 1, 5000) > 0, let socket = try? UnixSocket.accept(listener.descriptor) else { return }
            let connection = Connection(socket)
            connection.say(#"{"QMP":{"version":{},"capabilities":[]}}"#)
            guard let request = connection.next() else { return }
            connection.answer(request, [:])
            script(connection)
        }
        var started: pthread_t = 0
        let raw = Unmanaged.passRetained(work).toOpaque()
        pthread_create(
            &started, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, raw)
        thread.withLock { $0 = started }
    }

    deinit {
        if let thread = thread.withLock({ $0 }) { pthread_join(thread, nil) }
    }

    private final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}

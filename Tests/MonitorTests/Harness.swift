import Glibc
import GuestFolders
import JSON
import Monitor
import Synchronization
import SystemCalls
import Targets

/// A guest in this process: a monitor on a thread of its own, reached by its real socket.
final class RunningGuest: Sendable {
    let name: String
    private let thread: pthread_t
    private let result: Result

    /// What the monitor's thread tells.
    private final class Result: Sendable {
        let state = Mutex<(started: Bool, error: MonitorError?, status: Int32?)>((false, nil, nil))
        let changed = Mutex(())
    }

    /// The process that made the folder and the tiny guest's file.
    private static let maker = getpid()

    /// The runtime folder of all these tests.
    static let folder: RuntimeFolder? = {
        let path = "/tmp/vt-monitor-\(getpid())"
        _ = maker
        mkdir(path, 0o700)
        signal(SIGPIPE, SIG_IGN)
        setenv("XDG_RUNTIME_DIR", path, 1)
        atexit {
            // Other tests fork, and a child that ends by exit(3) runs this as well: only the maker cleans up.
            guard getpid() == RunningGuest.maker else { return }
            rmdir("/tmp/vt-monitor-\(getpid())/vitrine")
            rmdir("/tmp/vt-monitor-\(getpid())")
            unlink(TinyGuest.path)
        }
        return try? RuntimeFolder.ofThisUser()
    }()

    /// Starts the tiny guest with more options.
    ///
    /// - Parameter change: sets options that have no words.
    init(
        _ name: String, _ words: [String] = [], change: @escaping @Sendable (inout RunOptions) -> Void = { _ in }
    ) throws {
        _ = RunningGuest.folder
        self.name = name
        let all = ["--name", name, "--kernel", TinyGuest.path, "--memory", "64M", "--console", "none"] + words
        let result = Result()
        self.result = result
        thread = startThread {
            do throws(MonitorError) {
                var options = try RunOptions(words: all)
                change(&options)
                let monitor = try GuestMonitor(options, ownsProcess: false)
                result.state.withLock { $0.started = true }
                let status = monitor.run()
                result.state.withLock { $0.status = status }
            } catch {
                result.state.withLock { $0.error = error }
            }
        }
        while true {
            let (started, error, _) = result.state.withLock { $0 }
            if let error {
                pthread_join(thread, nil)
                throw error
            }
            if started { return }
            usleep(500)
        }
    }

    /// A new connection.
    func client() throws -> QMPClient { try Targets.connect(name) }

    /// A connection after the guest has reached stage ready.
    func readyClient() throws -> QMPClient {
        let client = try client()
        while try client.execute("x-vitrine-info").value["stage"] != "ready" {
            _ = try client.nextEvent(timeout: 5)
        }
        return client
    }

    /// Ends the guest if it still runs, and waits.
    ///
    /// - Returns: the exit status.
    @discardableResult
    func end() -> Int32? {
        if result.state.withLock({ $0.status }) == nil { _ = try? client().execute("quit") }
        pthread_join(thread, nil)
        return result.state.withLock { $0.status }
    }

    /// Waits until the guest has ended by itself; nil if it does not within ten seconds.
    func status() -> Int32? {
        for _ in 0..<5000 {
            if let status = result.state.withLock({ $0.status }) {
                pthread_join(thread, nil)
                return status
            }
            usleep(2000)
        }
        return nil
    }
}

/// A block that a thread runs.
private final class Work: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

private func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    var thread: pthread_t = 0
    let raw = Unmanaged.passRetained(Work(body)).toOpaque()
    pthread_create(
        &thread, nil,
        { argument in
            guard let argument else { return nil }
            Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body()
            return nil
        }, raw)
    return thread
}

/// A client that says what it likes, byte for byte.
final class RawClient {
    let socket: FileDescriptor
    private var received: [UInt8] = []

    init(_ guest: RunningGuest) throws {
        socket = try UnixSocket.connect(to: RuntimeFolder.ofThisUser().guest(guest.name).socket)
    }

    /// Sends as much as goes within two seconds; false if the other end has closed.
    @discardableResult
    func say(_ text: String) -> Bool { say(Array(text.utf8)) }

    @discardableResult
    func say(_ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                send(socket.rawValue, $0.baseAddress.map { $0 + done }, bytes.count - done, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                done += count
            } else if errno == EAGAIN {
                var list = [pollfd(fd: socket.rawValue, events: Int16(POLLOUT), revents: 0)]
                guard poll(&list, 1, 2000) > 0 else { return false }
            } else {
                return false
            }
        }
        return true
    }

    /// The next line that comes within five seconds; nil at the end.
    func next() -> String? {
        while true {
            if let end = received.firstIndex(of: 10) {
                defer { received.removeSubrange(...end) }
                return String(decoding: received[..<end], as: UTF8.self)
            }
            var list = [pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)]
            guard poll(&list, 1, 5000) > 0 else { return nil }
            var buffer = [UInt8](repeating: 0, count: 65536)
            let count = read(socket.rawValue, &buffer, buffer.count)
            guard count > 0 else { return nil }
            received += buffer[..<count]
        }
    }

    /// The next line that is no event, as JSON.
    func reply() -> JSON? {
        while let line = next() {
            guard let value = try? JSON.parse(line) else { return nil }
            if value["event"] == nil { return value }
        }
        return nil
    }

    /// Takes the greeting and negotiates.
    func negotiate() -> Bool {
        guard reply()?["QMP"] != nil else { return false }
        say("{\"execute\":\"qmp_capabilities\"}\n")
        return reply()?["return"] != nil
    }
}

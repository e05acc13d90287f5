// The console: what the guest prints on COM1, to everyone who listens, and what they type, to the guest.
//
// Standard output is the user's own choice of reader, so the guest waits for it (16550A: "not empty"). Every other
// reader came later and may be slow or hostile: what it does not read in time is lost to it, not to the guest.

import Glibc
import GuestMemory
import Machine
import SystemCalls

/// The console of a guest. Lives on the control thread.
final class ConsoleHub {
    private let port: SerialPort
    /// The last output, for those who come later.
    private var history: [UInt8] = []
    private var listeners: [Listener] = []
    /// Typed, but not yet taken by the guest.
    private var typed: [UInt8] = []
    /// Where output goes that the guest waits for; nil: nowhere, or it is closed.
    private var standardOutput: (descriptor: Int32, pending: ArraySlice<UInt8>)?
    /// Where input comes from; nil: nowhere, or it has ended.
    private var standardInput: Int32?
    private var file: FileDescriptor?
    private var terminal: PseudoTerminal?
    /// Where clients connect; nil: nowhere.
    private var acceptor: SharedDescriptor?
    /// The path of `acceptor`, if it was made here.
    private var acceptorPath: String?

    static let historyLimit = 64 << 10
    private static let clientLimit = 64
    private static let listenerLimit = 256 << 10
    private static let typedLimit = 64 << 10

    /// A console client: a socket, or the pseudo-terminal.
    private final class Listener {
        let descriptor: FileDescriptor
        var pending: [UInt8]
        var isClosed = false

        init(_ descriptor: consuming FileDescriptor, pending: [UInt8]) {
            self.descriptor = descriptor
            self.pending = pending
        }
    }

    /// Whether the reader of standard output has gone away.
    private(set) var isOutputClosed = false

    /// The path of the pseudo-terminal, if there is one.
    var terminalPath: String? { terminal?.path }

    init(port: SerialPort, choice: ConsoleChoice) throws(Errno) {
        self.port = port
        switch choice {
        case .none: break
        case .stdio:
            standardOutput = (STDOUT_FILENO, [])
            standardInput = STDIN_FILENO
        case .file(let path):
            file = try FileDescriptor(open: path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, mode: 0o644)
        case .pty:
            let pty = try PseudoTerminal()
            terminal = pty
            listeners.append(Listener(try pty.master.duplicate(), pending: []))
        case .append(let path):
            file = try FileDescriptor(open: path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, mode: 0o644)
        case .descriptor(let number): file = FileDescriptor(owning: number)
        case .listen(let path):
            acceptor = SharedDescriptor(try UnixSocket.listen(at: path, replacing: true))
            acceptorPath = path
        case .listening(let number):
            let socket = FileDescriptor(owning: number)
            try socket.setCloseOnExecAndNonblocking()
            acceptor = SharedDescriptor(socket)
        case .connect(let path): listeners.append(Listener(try UnixSocket.connect(to: path), pending: []))
        }
    }

    /// A new listener; it first gets what was printed last.
    ///
    /// - Returns: the end of the socket that the client gets.
    func attach() throws(Errno) -> SharedDescriptor {
        listeners.removeAll { $0.isClosed }
        guard listeners.count < ConsoleHub.clientLimit else {
            throw Errno(EMFILE, "\(ConsoleHub.clientLimit) clients read this console already")
        }
        let pair = try UnixSocket.pair()
        listeners.append(Listener(pair.first, pending: history))
        return SharedDescriptor(pair.second)
    }

    /// Takes a client that connects to the console's socket; it first gets what was printed last.
    private func accept(_ acceptor: SharedDescriptor) {
        while let socket = try? UnixSocket.accept(acceptor.descriptor) {
            guard listeners.count < ConsoleHub.clientLimit else { continue }
            listeners.append(Listener(socket, pending: history))
        }
    }

    /// Adds what to wait for: first standard input and output and the console's socket, then the listeners.
    func addDescriptors(to list: inout [pollfd]) {
        let mayType = typed.count < ConsoleHub.typedLimit
        if let standardInput, mayType {
            list.append(pollfd(fd: standardInput, events: Int16(POLLIN), revents: 0))
        } else {
            list.append(pollfd(fd: -1, events: 0, revents: 0))
        }
        if let standardOutput {
            let events = standardOutput.pending.isEmpty ? 0 : Int16(POLLOUT)
            list.append(pollfd(fd: standardOutput.descriptor, events: events, revents: 0))
        } else {
            list.append(pollfd(fd: -1, events: 0, revents: 0))
        }
        list.append(pollfd(fd: acceptor?.rawValue ?? -1, events: Int16(POLLIN), revents: 0))
        for listener in listeners {
            var events: Int16 = mayType ? Int16(POLLIN) : 0
            if !listener.pending.isEmpty { events |= Int16(POLLOUT) }
            list.append(pollfd(fd: listener.descriptor.rawValue, events: events, revents: 0))
        }
    }

    /// Handles what became ready, and what the guest has printed since.
    func handle(_ ready: ArraySlice<pollfd>) {
        let entries = Array(ready)
        if entries.count >= 3 {
            if entries[0].revents != 0, let descriptor = standardInput { readStandardInput(descriptor) }
            if entries[1].revents & Int16(POLLERR | POLLNVAL) != 0 { closeStandardOutput() }
            if entries[1].revents & Int16(POLLOUT) != 0 { writeStandardOutput() }
            for (listener, entry) in zip(listeners, entries.dropFirst(3)) where entry.revents != 0 {
                read(from: listener, entry.revents)
            }
            if entries[2].revents & Int16(POLLIN) != 0, let acceptor { accept(acceptor) }
        }
        pump()
    }

    /// Moves what the guest has printed to those who listen, and what was typed to the guest.
    func pump() {
        // While standard output is slow nothing is taken: the guest's own queue fills up and it waits.
        while standardOutput?.pending.isEmpty ?? true {
            let output = port.takeOutput()
            if output.isEmpty { break }
            deliver(output)
        }
        for listener in listeners { write(to: listener) }
        listeners.removeAll { $0.isClosed }
        if !typed.isEmpty { typed.removeFirst(port.send(typed)) }
    }

    /// Delivers everything, for the end: standard output is waited for, at most half a second.
    func finish() {
        let deadline = monotonicNanoseconds() &+ 500_000_000
        while true {
            pump()
            guard let pending = standardOutput?.pending, !pending.isEmpty, monotonicNanoseconds() < deadline else {
                break
            }
            var list = [pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)]
            _ = try? waitForEvents(&list, milliseconds: 100)
            if list[0].revents != 0 { writeStandardOutput() }
        }
    }

    /// Removes the socket that was made for the console.
    func removeSocket() {
        if let acceptorPath { try? Files.remove(acceptorPath) }
    }

    private func deliver(_ output: [UInt8]) {
        history.append(contentsOf: output)
        if history.count > ConsoleHub.historyLimit * 2 { history.removeFirst(history.count - ConsoleHub.historyLimit) }
        if standardOutput != nil {
            standardOutput?.pending = output[...]
            writeStandardOutput()
        }
        if file != nil {
            do throws(Errno) { try file?.writeAll(output) } catch { file = nil }
        }
        for listener in listeners {
            listener.pending.append(contentsOf: output)
            let excess = listener.pending.count - ConsoleHub.listenerLimit
            if excess > 0 { listener.pending.removeFirst(excess) }
        }
    }

    /// Writes as much as goes without waiting. The descriptor is shared with the shell, so it is not made non-blocking:
    /// after poll(2) a pipe takes PIPE_BUF bytes at once.
    private func writeStandardOutput() {
        while let output = standardOutput, !output.pending.isEmpty {
            var list = [pollfd(fd: output.descriptor, events: Int16(POLLOUT), revents: 0)]
            guard (try? waitForEvents(&list, milliseconds: 0)) ?? 0 > 0 else { return }
            let piece = Array(output.pending.prefix(4096))
            let count = Glibc.write(output.descriptor, piece, piece.count)
            if count > 0 {
                standardOutput?.pending.removeFirst(count)
            } else if count < 0 && (errno == EINTR || errno == EAGAIN) {
                return
            } else {
                closeStandardOutput()
            }
        }
    }

    private func closeStandardOutput() {
        standardOutput = nil
        isOutputClosed = true
    }

    private func readStandardInput(_ descriptor: Int32) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        if count > 0 {
            typed.append(contentsOf: buffer[..<count])
        } else if count == 0 || (errno != EINTR && errno != EAGAIN) {
            standardInput = nil
        }
    }

    private func read(from listener: Listener, _ events: Int16) {
        guard events & Int16(POLLIN) != 0 else {
            if events & Int16(POLLHUP | POLLERR | POLLNVAL) != 0 { listener.isClosed = true }
            return
        }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = Glibc.read(listener.descriptor.rawValue, &buffer, buffer.count)
        if count > 0 {
            typed.append(contentsOf: buffer[..<count])
        } else if count == 0 || (errno != EINTR && errno != EAGAIN) {
            listener.isClosed = true
        }
    }

    private func write(to listener: Listener) {
        while !listener.pending.isEmpty, !listener.isClosed {
            let count = listener.pending.withUnsafeBytes {
                Glibc.write(listener.descriptor.rawValue, $0.baseAddress, min($0.count, 65536))
            }
            if count > 0 {
                listener.pending.removeFirst(count)
            } else {
                if !(count < 0 && (errno == EAGAIN || errno == EINTR)) { listener.isClosed = true }
                return
            }
        }
    }
}

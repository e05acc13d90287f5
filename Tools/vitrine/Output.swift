// Standard output, written through one buffer.

import Glibc
import SystemCalls

/// The reader of standard output went away: the command ends quietly.
struct ClosedPipe: Error {}

/// Standard output. Bytes are gathered and written in large pieces; `flush()` writes what is left.
///
/// A closed pipe throws `ClosedPipe`, which ends the command with status 0: SIGPIPE is ignored.
final class Output {
    /// Whether standard output is a terminal.
    let isTerminal: Bool
    /// Whether to use colour: only on a terminal, and not if NO_COLOR is set.
    let isColoured: Bool
    private let descriptor: Int32
    private var buffer: [UInt8] = []

    /// Output to a descriptor, which stays the caller's.
    init(descriptor: Int32 = STDOUT_FILENO) {
        self.descriptor = descriptor
        isTerminal = isatty(descriptor) == 1
        let noColour = getenv("NO_COLOR").map { $0.pointee != 0 } ?? false
        isColoured = isTerminal && !noColour
    }

    /// The width of the terminal in columns, or nil if it is none.
    var columns: Int? {
        guard isTerminal else { return nil }
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }

    /// Writes text.
    func write(_ text: String) throws {
        buffer.append(contentsOf: text.utf8)
        if buffer.count >= 65536 { try flush() }
    }

    /// Writes bytes as they are.
    func write(bytes: some Sequence<UInt8>) throws {
        buffer.append(contentsOf: bytes)
        if buffer.count >= 65536 { try flush() }
    }

    /// Writes a line.
    func line(_ text: String = "") throws {
        try write(text)
        try write("\n")
    }

    /// Writes what is still in the buffer.
    func flush() throws {
        var start = 0
        defer { buffer.removeAll(keepingCapacity: true) }
        while start < buffer.count {
            let count = buffer.withUnsafeBytes { bytes in
                Glibc.write(descriptor, bytes.baseAddress.map { $0 + start }, bytes.count - start)
            }
            if count > 0 {
                start += count
                continue
            }
            let code = errno
            if code == EINTR { continue }
            if code == EAGAIN {
                var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = Glibc.poll(&poll, 1, -1)
                continue
            }
            if code == EPIPE { throw ClosedPipe() }
            throw CommandError(.unable, "standard output: \(Errno.text(code))")
        }
    }

    /// Text in a colour of the terminal, or as it is where there is none.
    func styled(_ text: String, _ style: Style) -> String {
        isColoured ? "\u{1b}[\(style.rawValue)m\(text)\u{1b}[0m" : text
    }

    /// SGR parameters (ECMA-48).
    enum Style: String {
        case bold = "1"
        case faint = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case cyan = "36"
    }
}

/// Writes a line on standard error, after the program's name.
func complain(_ message: String) {
    let text = Array("vitrine: \(message)\n".utf8)
    _ = text.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

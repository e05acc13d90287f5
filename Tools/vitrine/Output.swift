// Where a command's data goes, written through one buffer.

import Glibc
import Inspection
import SystemCalls

/// The reader of standard output went away: the command ends quietly.
struct ClosedPipe: Error {}

/// When text has colours.
enum ColourChoice: String, CaseIterable {
    /// On a terminal, unless NO_COLOR is set or the terminal is dumb.
    case auto
    /// Always.
    case always
    /// Never.
    case never
}

/// Standard output, or the file that --output names. Bytes are gathered and written in large pieces; `flush()` writes
/// what is left.
///
/// A closed pipe throws `ClosedPipe`, which ends the command with status 0: SIGPIPE is ignored.
final class Output {
    /// Whether it is a terminal.
    private(set) var isTerminal: Bool
    /// Whether to use colour.
    private(set) var isColoured: Bool
    /// Shown on standard error until something is written here; not if this is a file.
    var progress: Progress?
    private var descriptor: Int32
    private var file: ReplacedFile?
    private var name = "standard output"
    private var buffer: [UInt8] = []
    /// What was written, where it goes nowhere else.
    private(set) var kept: [UInt8]?
    /// No more than that is kept.
    private static let mostKept = 4 << 20

    /// Output that is kept here, without colours.
    init(keeping: Void) {
        descriptor = -1
        isTerminal = false
        isColoured = false
        kept = []
    }

    /// Output to a descriptor, which stays the caller's.
    init(descriptor: Int32 = STDOUT_FILENO) {
        self.descriptor = descriptor
        isTerminal = isatty(descriptor) == 1
        isColoured = false
        colour(.auto)
    }

    /// Switches colours on or off.
    func colour(_ choice: ColourChoice) {
        switch choice {
        case .always: isColoured = true
        case .never: isColoured = false
        case .auto:
            func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
            isColoured = isTerminal && (variable("NO_COLOR") ?? "").isEmpty && variable("TERM") != "dumb"
        }
    }

    /// Writes to a file from now on. It gets its name when `finish()` is called, and not before.
    func redirect(to path: String) throws {
        do throws(Errno) {
            let file = try ReplacedFile(path)
            self.file = file
            descriptor = file.descriptor.rawValue
        } catch {
            throw CommandError(.usage, "--output: \(error)")
        }
        name = path
        isTerminal = isatty(descriptor) == 1
    }

    /// Whether everything goes to a file that was named.
    var isFile: Bool { file != nil }

    /// Everything is written: a file gets its name.
    func finish() throws {
        try flush()
        progress?.end()
        try file?.commit()
        file = nil
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
        if !isFile && !buffer.isEmpty { progress?.end() }
        var start = 0
        defer { buffer.removeAll(keepingCapacity: true) }
        if let already = kept {
            kept?.append(contentsOf: buffer.prefix(Output.mostKept - already.count))
            return
        }
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
            throw CommandError(.unable, "\(name): \(Errno.text(code))")
        }
    }

    /// Text in a style, or as it is where there are no colours.
    func styled(_ text: String, _ style: TextStyle) -> String { isColoured ? style.applied(to: text) : text }
}

/// Writes a line on standard error, after the program's name.
func complain(_ message: String) {
    writeToStandardError("vitrine: \(message)\n")
}

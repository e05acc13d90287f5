// Character devices: what a serial port or a monitor is connected to outside.

import Glibc
import Options

/// A character device of the command line.
struct QEMUChardev {
    /// Its name: `charserial0`.
    let id: String
    /// What is at the other end.
    let end: End

    /// The other end of a character device.
    enum End {
        case null
        case stdio
        case pty
        /// A file, which gets the output; `append`: behind what is there.
        case file(String, append: Bool)
        /// A descriptor that is open for writing.
        case descriptor(Int32)
        /// A UNIX socket that listens, by its path.
        case listen(String)
        /// A UNIX socket that listens already.
        case listening(Int32)
        /// A UNIX socket to connect to.
        case connect(String)
    }

    /// Reads the value of `-chardev`.
    ///
    /// - Parameter sets: the descriptors of `-add-fd`, by the number of their set.
    init(_ text: String, sets: [Int: Int32]) throws(UsageError) {
        var value = try QEMUValue("-chardev", text, first: "backend")
        let backend = try value.need("backend")
        id = try value.need("id")
        switch backend {
        case "null": end = .null
        case "pty": end = .pty
        case "stdio":
            _ = value.take("signal")
            end = .stdio
        case "file":
            let path = try value.need("path")
            let append = try value.flag("append") ?? false
            end = try QEMUChardev.descriptor(path, sets).map { .descriptor($0) } ?? .file(path, append: append)
        case "socket": end = try QEMUChardev.socket(&value)
        default:
            throw UsageError(
                "-chardev \(backend): a serial port is connected to pty, file, socket, stdio or null, nothing else")
        }
        try value.refuse("mux", "a character device has one user here")
        if value.take("logfile") != nil {
            throw UsageError("-chardev \(id): there is no second log of a serial port; use a file as its source")
        }
        _ = value.take("logappend")
        try value.end()
    }

    private init(id: String, end: End) {
        self.id = id
        self.end = end
    }

    /// Reads the short form that `-serial` takes; nil: none.
    static func short(_ option: String, _ text: String) throws(UsageError) -> QEMUChardev? {
        let id = option == "-serial" ? "serial0" : "compat_monitor0"
        switch text {
        case "none": return nil
        case "null": return QEMUChardev(id: id, end: .null)
        case "stdio": return QEMUChardev(id: id, end: .stdio)
        case "pty": return QEMUChardev(id: id, end: .pty)
        default:
            if text.hasPrefix("file:") {
                return QEMUChardev(id: id, end: .file(String(text.dropFirst(5)), append: false))
            }
            guard text.hasPrefix("unix:") else {
                throw UsageError("\(option) \(text): none, null, stdio, pty, file:PATH and unix:PATH are possible")
            }
            var value = try QEMUValue(option, String(text.dropFirst(5)), first: "path")
            let end = try socket(&value)
            try value.end()
            return QEMUChardev(id: id, end: end)
        }
    }

    private static func socket(_ value: inout QEMUValue) throws(UsageError) -> End {
        let option = value.option
        for key in ["host", "port", "type", "websocket", "telnet", "tn3270", "tls-creds"] {
            guard let given = value.take(key), given != "off" else { continue }
            throw UsageError("\(option) \(value.text): only UNIX sockets are possible")
        }
        let isServer = try value.flag("server") ?? false
        // Nobody is ever waited for; that is no harm to who comes.
        _ = try value.flag("wait")
        try value.refuse("abstract", "only sockets with a path are possible")
        _ = value.take("tight")
        if let descriptor = try value.number("fd", in: 3...1_048_576) {
            guard isServer else {
                throw UsageError("\(option) \(value.text): fd= is for a socket that listens (server=on)")
            }
            return .listening(Int32(descriptor))
        }
        let path = try value.need("path")
        return isServer ? .listen(path) : .connect(path)
    }

    /// The descriptor that the path `/dev/fdset/N` stands for, or nil if it is another path.
    private static func descriptor(_ path: String, _ sets: [Int: Int32]) throws(UsageError) -> Int32? {
        guard path.hasPrefix("/dev/fdset/") else { return nil }
        guard let number = Int(path.dropFirst(11)), let descriptor = sets[number] else {
            throw UsageError("-chardev path=\(path): there is no such set of descriptors (-add-fd)")
        }
        return descriptor
    }

    /// What the console is connected to.
    var console: ConsoleChoice {
        switch end {
        case .null: return .none
        case .stdio: return .stdio
        case .pty: return .pty
        case .file(let path, let append): return append ? .append(path) : .file(path)
        case .descriptor(let number): return .descriptor(number)
        case .listen(let path): return .listen(path)
        case .listening(let number): return .listening(number)
        case .connect(let path): return .connect(path)
        }
    }

    /// The name of the other end as `query-chardev` has it.
    ///
    /// - Parameter terminal: the path of the pseudo-terminal.
    func filename(terminal: String?) -> String {
        switch end {
        case .null: return "null"
        case .stdio: return "stdio"
        case .pty: return "pty:" + (terminal ?? "")
        case .file, .descriptor: return "file"
        case .listen(let path): return "disconnected:unix:\(path),server=on"
        case .listening: return "disconnected:unix:,server=on"
        case .connect(let path): return "unix:\(path)"
        }
    }
}

// What goes to standard error.

import Glibc
import Synchronization
import SystemCalls

/// How the lines on standard error begin.
public struct ComplaintStyle: Sendable {
    /// The program's name.
    public var program: String
    /// Whether the time comes first, as QEMU's `-msg timestamp=on` has it.
    public var hasTimestamp: Bool

    /// A style.
    public init(program: String, hasTimestamp: Bool = false) {
        self.program = program
        self.hasTimestamp = hasTimestamp
    }

    /// The style of this process.
    public static var current: ComplaintStyle {
        get { style.withLock { $0 } }
        set { style.withLock { $0 = newValue } }
    }

    private static let style = Mutex(ComplaintStyle(program: "vitrine"))

    /// What a line begins with.
    var prefix: String { (hasTimestamp ? ComplaintStyle.time(wallMicroseconds()) + " " : "") + program + ": " }

    /// A time as `2026-01-31T12:34:56.000789Z`.
    static func time(_ microseconds: UInt64) -> String {
        var seconds = time_t(microseconds / 1_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func digits(_ number: some BinaryInteger, _ count: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
        }
        return "\(digits(parts.tm_year + 1900, 4))-\(digits(parts.tm_mon + 1, 2))-\(digits(parts.tm_mday, 2))T"
            + "\(digits(parts.tm_hour, 2)):\(digits(parts.tm_min, 2)):\(digits(parts.tm_sec, 2))."
            + "\(digits(microseconds % 1_000_000, 6))Z"
    }
}

/// Writes a line on standard error.
///
/// - Parameter details: lines below it, indented.
func complain(_ message: String, details: [String] = []) {
    let lines = [ComplaintStyle.current.prefix + message] + details.map { "  \($0)" }
    writeToStandardError(lines.joined(separator: "\n") + "\n")
}

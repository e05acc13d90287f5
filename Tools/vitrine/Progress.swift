// A sign of life for what lasts longer than a second, on a terminal only.

import Glibc
import Synchronization
import SystemCalls

/// A line on standard error that says what is going on and for how long: `vitrine pages a: 3 s`. It goes away at the end.
final class Progress: Sendable {
    private struct State {
        var isOver = false
        var isShown = false
    }

    private let state = Mutex(State())

    /// Begins to count; nil if standard error is no terminal, or one that cannot go back to the start of a line.
    init?(_ what: String) {
        let isDumb = getenv("TERM").map { String(cString: $0) == "dumb" } ?? false
        guard isatty(STDERR_FILENO) == 1, !isDumb else { return nil }
        let start = monotonicNanoseconds()
        let printable = what.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }
        let name = String(printable.prefix(60).map(Character.init))
        let thread = try? HostThread(name: "progress", stackSize: 64 << 10) { [self] in
            repeat { usleep(100_000) } while tick(name, seconds: (monotonicNanoseconds() - start) / 1_000_000_000)
        }
        guard thread != nil else { return nil }
    }

    /// Shows the line anew; false when it is over.
    private func tick(_ name: String, seconds: UInt64) -> Bool {
        state.withLock { state in
            guard !state.isOver else { return false }
            guard seconds > 0 else { return true }
            state.isShown = true
            Progress.write("\r\(name): \(seconds) s\u{1b}[K")
            return true
        }
    }

    /// Takes the line away, for good.
    func end() {
        state.withLock { state in
            guard !state.isOver else { return }
            state.isOver = true
            if state.isShown { Progress.write("\r\u{1b}[K") }
        }
    }

    private static func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

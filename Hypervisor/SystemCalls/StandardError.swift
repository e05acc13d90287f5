// What a program has to say besides its results.

import Glibc

/// Writes text on standard error, all of it; where nobody takes it, it is lost.
public func writeToStandardError(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
        var done = 0
        while done < bytes.count {
            let count = write(STDERR_FILENO, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            done += count
        }
    }
}

// What a running guest says of itself, and what its monitor's process weighs.

import GuestFolders
import JSON
import SystemCalls
import Targets

/// Figures of a guest that runs.
struct GuestFigures {
    /// Instructions that KVM emulated up to stage ready; nil where it does not count them.
    var instructionsToReady: UInt64?
    /// From the first entry into the guest to stage ready.
    var secondsToReady: Double?
    /// Resident bytes of the monitor that are not pages of the guest.
    var residentBeyondGuest: UInt64?
    /// The same, of pages that several processes share only this one's part (Pss): the executable is there once for all guests.
    var proportionalBeyondGuest: UInt64?

    /// Asks the guest of this name.
    init?(name: String) {
        // Before anything is asked: an answer brings code into memory that an idle monitor has let go of.
        guard let pid = (try? RuntimeFolder.ofThisUser().guest(name))?.pid() else { return nil }
        residentBeyondGuest = sum("Rss:", of: pid)
        proportionalBeyondGuest = sum("Pss:", of: pid)
        guard let guest = try? OwnGuest(named: name), let info = try? guest.info() else { return nil }
        for stage in info["stages"]?.elements ?? [] where stage["stage"]?.text == "ready" {
            instructionsToReady = stage["instructions"]?.uint64
            secondsToReady = stage["microseconds"]?.double.map { $0 / 1e6 }
        }
    }

    /// The sum of a field over the mappings that are not a slot's memory file, from /proc/PID/smaps.
    private func sum(_ field: String, of pid: Int32) -> UInt64? {
        guard let bytes = try? Files.contents(of: "/proc/\(pid)/smaps", limit: 1 << 20) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        var sum: UInt64 = 0
        var isGuest = false
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count >= 5, words[0].contains("-"), !words[0].hasSuffix(":") {
                isGuest = words.last?.hasPrefix("/memfd:") == true || line.contains("/memfd:")
            } else if words.count >= 2, words[0] == field, !isGuest {
                sum += (UInt64(words[1]) ?? 0) << 10
            }
        }
        return sum
    }
}

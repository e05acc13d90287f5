// System calls that fail, processes that are killed, disks that are full: a sample of what `make faults` does in full.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm"), .serialized) struct Faults {
    /// Runs a tool of the package on the executables under test.
    private func tool(_ name: String, _ arguments: [String]) throws {
        let result = try command(
            Host.package.appending(path: "Tools/\(name)").path, arguments,
            environment: ["VITRINE_BIN": Host.binaries.path], timeout: 600)
        #expect(result.status == 0, "\(result.output)\n\(result.errors)")
    }

    /// One system call fails in each of these runs: no signal, no hang, a message with every failure, nothing left behind.
    @Test func failingSystemCalls() throws {
        try tool("fault-sweep", ["--run", "start", "--run", "confine", "--occurrences", "3", "--sample", "90"])
        try tool("fault-sweep", ["--run", "save", "--run", "dump", "--run", "pages", "--sample", "12"])
    }

    /// Reads and writes that move half of what they could: everything comes out the same.
    @Test func shortReadsAndWrites() throws {
        try tool("fault-sweep", ["--short", "--run", "start", "--run", "confine", "--run", "dump", "--run", "exec"])
    }

    /// Monitors and commands killed at random moments: nothing stays, and another guest does not notice.
    @Test func kills() throws { try tool("kill-sweep", ["9"]) }

    /// No half file is left on a full disk, and the guest goes on.
    @Test func fullDisk() throws { try tool("full-disk", []) }
}

// The short form of `make soak`: everything it does, some twenty seconds of it.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct SoakTests {
    @Test func nothingIsLeftOver() throws {
        let result = try command(
            Host.package.appending(path: "Tools/soak").path,
            ["--minutes", "0.25", "--starts", "8", "--guests", "5", Host.binaries.path], timeout: 400)
        #expect(result.status == 0, "\(result.output)\(result.errors)")
        // It has done what it is for: a line for each thing that is counted, and work by everyone.
        for line in ["monitor-of-stays:descriptors", "processes", "sockets", "folders-of-guests", "BPF-objects"] {
            #expect(result.lines.contains { $0.hasPrefix(line) }, "no line \(line) in \(result.output)")
        }
        let told = try #require(result.lines.last { $0.contains(" starts, ") })
        for kind in ["watch", "ept", "look", "work", "save"] {
            #expect(told.contains(", \(kind) ") && !told.contains(", \(kind) 0"), "\(told)")
        }
    }
}

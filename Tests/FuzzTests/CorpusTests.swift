// The fuzz targets on every input that is kept: what `make fuzz` found interesting, and what once went wrong.

import Foundation
import FuzzTargets
import Testing

// One after the other: targets share one memory, so that a fuzzer need not make it anew for each input.
@Suite(.serialized) struct CorpusTests {
    /// Tests/Fuzz/Corpus/TARGET: one file an input; Tests/Fuzz/Regressions/TARGET: those that once failed.
    static func inputs(_ folder: String, _ target: FuzzTarget) -> [URL] {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let path = root.appending(path: "Fuzz/\(folder)/\(target.rawValue)")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path.path)) ?? []
        return names.sorted().map { path.appending(path: $0) }
    }

    // One after the other: `walk` and `changing` share one piece of memory (`FuzzMemory.bytes`).
    @Test(.serialized, arguments: FuzzTarget.allCases) func corpus(target: FuzzTarget) throws {
        let inputs = Self.inputs("Corpus", target) + Self.inputs("Regressions", target)
        #expect(inputs.count > 10)
        for input in inputs {
            try Data(contentsOf: input).withUnsafeBytes { target.run($0) }
        }
        Data().withUnsafeBytes { target.run($0) }
    }
}

// The example of docs/library.md is the file that is compiled, and it says what `vitrine pages` says.

import Addresses
import Foundation
import GuestImages
import PageTables
import Targets
import Testing

/// Runs one of this build's executables to its end.
func runTool(_ name: String, _ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
    let process = Process()
    let folder = try #require(GuestImages.executableFolder())
    process.executableURL = URL(fileURLWithPath: folder + "/" + name)
    process.arguments = arguments
    let output = NSTemporaryDirectory() + "vitrine-output-\(UUID().uuidString)"
    for path in [output, output + ".errors"] { try Data().write(to: URL(fileURLWithPath: path)) }
    defer { for path in [output, output + ".errors"] { unlink(path) } }
    process.standardOutput = FileHandle(forWritingAtPath: output)
    process.standardError = FileHandle(forWritingAtPath: output + ".errors")
    process.standardInput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return (
        process.terminationStatus, try String(contentsOfFile: output, encoding: .utf8),
        try String(contentsOfFile: output + ".errors", encoding: .utf8)
    )
}

@Suite struct LibraryTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    @Test func theDocumentShowsWhatIsCompiled() throws {
        let page = try String(contentsOf: Self.root.appending(path: "docs/library.md"), encoding: .utf8)
        let file = try String(
            contentsOf: Self.root.appending(path: "Tests/LibraryExample/LibraryExample.swift"), encoding: .utf8)
        #expect(page.contains("```swift\n\(file)```\n"))
        #expect(file.split(separator: "\n", omittingEmptySubsequences: false).count <= 31)
    }

    /// A page: where, what is behind it, what may be done with it.
    struct Page: Hashable {
        let va: UInt64
        let gpa: UInt64
        let flags: String
    }

    static func pages(va: UInt64, gpa: UInt64, size: UInt64, repeats: Bool, flags: String) -> [Page] {
        stride(from: 0, to: size, by: 4096).map { Page(va: va &+ $0, gpa: repeats ? gpa : gpa &+ $0, flags: flags) }
    }

    @Test(.enabled(if: QEMU.isInstalled, "qemu-system-x86 is not installed")) func theExampleSaysWhatVitrineSays()
        throws
    {
        let (machine, target) = try PagingGuestTests().start("pae")
        try target.pause()
        let example = try runTool("library-example", ["qmp:\(machine.secondSocket)"])
        #expect(example.status == 0, "\(example.errors)")
        var theirs: Set<Page> = []
        let lines = example.output.split(separator: "\n")
        for words in lines.map({ $0.split(separator: " ") }) where words.count == 5 && words[0].hasPrefix("0x") {
            theirs.formUnion(
                Self.pages(
                    va: try #require(parseHexadecimal(words[0])), gpa: try #require(parseHexadecimal(words[1])),
                    size: try #require(UInt64(words[2])), repeats: words[3] == "true", flags: String(words[4])))
        }
        let vitrine = try runTool("vitrine", ["pages", "qmp:\(machine.secondSocket)", "--json"])
        #expect(vitrine.status == 0, "\(vitrine.errors)")
        let report = try #require(try JSONSerialization.jsonObject(with: Data(vitrine.output.utf8)) as? [String: Any])
        var ours: Set<Page> = []
        for range in try #require(report["ranges"] as? [[String: Any]]) {
            ours.formUnion(
                Self.pages(
                    va: try #require(parseHexadecimal(range["va"] as? String ?? "")),
                    gpa: try #require(parseHexadecimal(range["gpa"] as? String ?? "")),
                    size: try #require(range["size"] as? UInt64), repeats: range["repeats"] != nil,
                    flags: range["flags"] as? String ?? ""))
        }
        #expect(theirs.count > 1000 && ours.count > 1000)
        #expect(ours == theirs, "\(ours.subtracting(theirs).prefix(3)) and \(theirs.subtracting(ours).prefix(3))")
        #expect(
            lines.last?.hasPrefix("PT at ") == true || lines.last?.hasPrefix("PD at ") == true, "\(lines.last ?? "")")
        withExtendedLifetime(machine) {}
    }
}

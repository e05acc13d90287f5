// The page in a browser: it tries itself (Page/selftest.js), and the ways of addresses that it shows are those that
// `vitrine translate` finds in the same tables.

import Addresses
import Foundation
import GuestMemory
import Inspection
import JSON
import Layouts
import PageTables
import Testing

/// Chromium without a window.
enum Browser {
    private static let places: [String] = [
        "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome",
    ]
    static let executable: String? = places.first {
        access($0, X_OK) == 0
    }

    /// The document that a page has made of itself, as text.
    static func document(of page: [UInt8], _ hash: String) throws -> String {
        let folder = FileManager.default.temporaryDirectory.appending(path: "vitrine-page-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "page.html")
        try Data(page).write(to: file)
        let output = folder.appending(path: "out")
        try Data().write(to: output)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable ?? "")
        process.arguments = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--user-data-dir=\(folder.path)/profile", "--window-size=1600,1000", "--dump-dom",
            "file://\(file.path)\(hash)",
        ]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try FileHandle(forWritingTo: output)
        process.standardError = FileHandle.nullDevice
        try process.run()
        let deadline = Date().addingTimeInterval(300)
        while process.isRunning && Date() < deadline { usleep(20_000) }
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        return String(decoding: try Data(contentsOf: output), as: UTF8.self)
    }

    /// What the page's own test found.
    static func selfTest(of page: [UInt8]) throws -> JSON {
        let document = try document(of: page, "#selftest")
        let start = try #require(document.range(of: "<pre id=\"selftest\">")?.upperBound, "the page's test did not end")
        let end = try #require(document.range(of: "</pre>", range: start..<document.endIndex)?.lowerBound)
        let text = document[start..<end].replacingOccurrences(of: "&lt;", with: "<").replacingOccurrences(
            of: "&gt;", with: ">"
        ).replacingOccurrences(of: "&amp;", with: "&")
        return try JSON.parse(Array(text.utf8))
    }
}

@Suite(.serialized, .enabled(if: Browser.executable != nil, "chromium is not installed")) struct BrowserTests {
    /// Every check passed, and every way is what the tables say.
    func expectRight(_ result: JSON, _ subject: Subject) throws {
        let checks = try #require(result["checks"]?.members)
        #expect(checks.count > 2)
        for check in checks { #expect(check.value.boolean == true, "\(check.name)") }
        let ways = try #require(result["ways"]?.elements)
        for way in ways {
            let address = try #require(way["va"]?.address)
            let expected = AddressWay(GVA(address), in: subject, pageMap: nil)
            let entries = expected.translation.entries
            let shown = way["entries"]?.elements ?? []
            #expect(shown.count == entries.count, "\(GVA(address).hex)")
            for (one, other) in zip(shown, entries) {
                #expect(one["level"]?.int == other.level && one["at"]?.address == other.at.rawValue)
                #expect(one["value"]?.address == other.value, "\(GVA(address).hex) level \(other.level)")
                let isLeaf = other == entries.last && expected.mapping != nil
                let names = subject.format.names(of: other.value, level: other.level, isLeaf: isLeaf)
                if other.value & 1 != 0 { #expect(one["bits"]?.elements?.compactMap(\.text) == names) }
            }
            #expect(way["gpa"]?.address == expected.mapping?.gpa.rawValue)
            #expect(way["hva"]?.address == expected.hva?.rawValue)
            #expect(way["slot"]?.int == expected.slot.map { Int($0.id) })
        }
    }

    func page(_ subject: Subject) -> [UInt8] {
        Drawing(subject, options: PagesOptions(), pid: 0, backing: nil).html()
    }

    @Test func aGuestOfOSv() throws {
        let image = try OSvImage(size: 6 << 30)
        image.map4K(OSv.programBase, 0x3a0_0000)
        image.map4K(OSv.mmapBase, 0x3a2_0000, bits: 0x65 | 1 << 51 | 1 << 63)
        image.map4K(OSv.mmapBase + 4096, 0x3a2_1000, bits: 0x65 | 1 << 53)
        let at = try #require(image.entryAddress(OSv.mmapBase, level: 2))
        for index in 8..<24 as Range<UInt64> { image.memory[at + index * 8] = image.memory[at] }
        let result = try Browser.selfTest(of: page(image.subject))
        try expectRight(result, image.subject)
        #expect(result["title"]?.text == "vitrine: a")
    }

    @Test func aHundredThousandRanges() throws {
        let subject = try scatteredTables(ranges: 100_000)
        let result = try Browser.selfTest(of: page(subject))
        #expect((result["ranges"]?.int ?? 0) > 90_000)
        try expectRight(result, subject)
    }

    @Test func hostileNames() throws {
        let subject = try DrawingTests().hostile()
        let result = try Browser.selfTest(of: page(subject))
        #expect(result["checks"]?["no script but the page's own"]?.boolean == true)
        #expect(result["title"]?.text?.contains("<script>intruder=1</script>") == true)
    }

    @Test func tablesOfNothing() throws {
        let image = try OSvImage()
        let empty = Subject(
            name: "a", layout: nil, slots: image.slots, memory: image.subject.memory, format: .x86FourLevel(),
            root: GPA(0x700_0000))
        #expect(try Browser.selfTest(of: page(empty))["ranges"]?.int == 0)
    }
}

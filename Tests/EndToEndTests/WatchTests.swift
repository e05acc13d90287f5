// `vitrine watch` and `vitrine diff` on /dev/kvm: what a guest does to its tables, as told from outside.

import Addresses
import Foundation
import JSON
import Targets
import TestSupport
import Testing

/// A `vitrine watch --json` that runs beside the test.
final class Watch {
    private let process = Process()
    private let file: URL
    private var errors: URL { file.appendingPathExtension("err") }

    init(_ bench: Bench, _ arguments: [String]) throws {
        file = bench.runtime.appending(path: "watch-\(UUID().uuidString)")
        try Data().write(to: file)
        try Data().write(to: file.appendingPathExtension("err"))
        process.executableURL = Host.binaries.appending(path: "vitrine")
        process.arguments = ["watch"] + arguments + ["--json"]
        process.environment = ProcessInfo.processInfo.environment.merging(bench.environment) { $1 }
        process.standardOutput = try FileHandle(forWritingTo: file)
        process.standardError = try FileHandle(forWritingTo: file.appendingPathExtension("err"))
        process.standardInput = FileHandle.nullDevice
        try process.run()
        _ = try wait("the first line") { !$0.isEmpty }
    }

    deinit {
        if process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
    }

    /// What was printed so far, complete lines only.
    var lines: [JSON] {
        let bytes = (try? Data(contentsOf: file)) ?? Data()
        let end = bytes.lastIndex(of: 10).map { $0 + 1 } ?? 0
        return bytes[..<end].split(separator: 10).compactMap { try? JSON.parse($0) }
    }

    /// The changes so far.
    var changes: [JSON] { lines.filter { $0["event"]?.text == "change" } }

    var complaint: String { (try? String(contentsOf: errors, encoding: .utf8)) ?? "" }

    struct Missing: Error, CustomStringConvertible {
        let description: String
    }

    @discardableResult
    func wait(_ what: String, for seconds: Double = 20, until isSo: ([JSON]) -> Bool) throws -> [JSON] {
        let deadline = Date().addingTimeInterval(seconds)
        while true {
            let lines = lines
            if isSo(lines) { return lines }
            guard Date() < deadline else {
                throw Missing(description: "\(what) in \(lines.map(\.encoded)), \(complaint)")
            }
            usleep(2000)
        }
    }

    /// Waits for so many changes.
    func changes(_ count: Int) throws -> [JSON] {
        try wait("\(count) changes") { $0.count { $0["event"]?.text == "change" } >= count }
        return changes
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    /// The exit status, or nil if a signal ended it.
    func end(within seconds: Double = 20) -> Int32? {
        let deadline = Date().addingTimeInterval(seconds)
        while process.isRunning && Date() < deadline { usleep(2000) }
        if process.isRunning { return nil }
        return process.terminationReason == .exit ? process.terminationStatus : nil
    }
}

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct WatchTests {
    let bench: Bench

    init() throws { bench = try Bench() }

    /// `+ 0x200000100000 4096 - urw`: a change in few words.
    func summary(_ change: JSON) -> String {
        func side(_ name: String) -> String { change[name]?["flags"]?.text ?? "-" }
        return "\(change["change"]?.text ?? "?") \(change["va"]?.text ?? "?") \(change["size"]?.int ?? 0) "
            + "\(side("from")) \(side("to"))"
    }

    /// Each command of the kernel's monitor, from -> to, with the physical page that the tables name.
    @Test func mapProtectUnmap() throws {
        try bench.start("w", ["--memory", "64M"])
        let watch = try Watch(bench, ["w"])
        let start = try #require(watch.lines.first)
        #expect(start["schema"]?.text == "vitrine.watch/1" && start["event"]?.text == "start")
        #expect(start["method"]?.text == "by the dirty log of the page-table arena")
        _ = try bench.exec("w", "map 65536 rw at 0x200000100000")
        _ = try bench.exec("w", "touch 0x200000103000 1")
        _ = try bench.exec("w", "touch 0x200000105000 1")
        let mapped = try watch.changes(2)
        #expect(
            mapped.map(summary) == ["added 0x200000103000 4096 - urw", "added 0x200000105000 4096 - urw"])
        #expect(mapped.allSatisfy { $0["region"]?.text == "mmap" })
        let translated = try bench.vitrine("translate", "w", "0x200000103000", "--json").json()
        let translation = try #require((translated["translations"] as? [[String: Any]])?.first)
        #expect(mapped[0]["to"]?["gpa"]?.address == (try address(translation, "gpa")))
        _ = try bench.exec("w", "protect 0x200000100000 65536 r")
        let protected = try watch.changes(3).dropFirst(2)
        #expect(protected.first.map(summary)?.hasSuffix("urw ur") == true)
        #expect(protected.reduce(0) { $0 + ($1["size"]?.int ?? 0) } >= 4096)
        _ = try bench.exec("w", "unmap 0x200000100000 65536")
        try watch.wait("that nothing is mapped") { lines in
            lines.filter { $0["change"]?.text == "removed" }.reduce(0) { $0 + ($1["size"]?.int ?? 0) } == 8192
        }
        #expect(
            watch.changes.filter { $0["change"]?.text == "changed" }.reduce(0) { $0 + ($1["size"]?.int ?? 0) } == 8192)
        // Nothing else was said, and Ctrl-C ends it well.
        #expect(watch.changes.allSatisfy { ($0["va"]?.address ?? 0) >> 12 >= 0x2000_0010_3 })
        watch.signal(SIGINT)
        #expect(watch.end() == 0)
        #expect(watch.lines.last?["event"]?.text == "end")
        #expect(watch.lines.last?["reason"]?.text == "interrupted")
    }

    /// The dirty log is read by one for all: both see everything, and the one that is killed takes nothing along. With the
    /// last watcher the log is off.
    @Test func twoWatchersAndAKilledOne() throws {
        try bench.start("t", ["--memory", "64M"])
        let pid = try #require(bench.processes().first)
        // The log's thread is there from the beginning; what ends it is not.
        func counters() -> Int {
            let folder = "/proc/\(pid)/fd"
            let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            return files.filter {
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)"))
                    == "anon_inode:[eventfd]"
            }.count
        }
        let idle = counters()
        #expect(idle > 0)
        func isLogging() -> Bool { counters() > idle }
        let first = try Watch(bench, ["t"])
        let second = try Watch(bench, ["t", "--count", "6"])
        #expect(isLogging())
        _ = try bench.exec("t", "map 65536 rw at 0x200000100000")
        // No two pages side by side: what is found together would be one change.
        for page in [0, 2, 4, 6] { _ = try bench.exec("t", "touch 0x20000010\(page)000 1") }
        let seen = try first.changes(4).map(summary)
        #expect(try second.changes(4).map(summary) == seen)
        first.signal(SIGKILL)
        _ = first.end()
        _ = try bench.exec("t", "touch 0x200000108000 1")
        _ = try bench.exec("t", "touch 0x20000010a000 1")
        #expect(second.end() == 0)
        #expect(second.changes.count == 6)
        #expect(second.lines.last?["reason"]?.text == "count")
        let deadline = Date().addingTimeInterval(5)
        while isLogging() && Date() < deadline { usleep(5000) }
        #expect(!isLogging())
        // And on again.
        let third = try Watch(bench, ["t", "--count", "1"])
        _ = try bench.exec("t", "touch 0x20000010c000 1")
        #expect(third.end() == 0)
        #expect(third.changes.map(summary) == ["added 0x20000010c000 4096 - urw"])
    }

    /// Filters and ranges leave out what is not asked for.
    @Test func filtersAndRanges() throws {
        try bench.start("f", ["--memory", "64M"])
        let writable = try Watch(bench, ["f", "--filter", "executable", "--range", "0x200000100000-0x2000001fffff"])
        _ = try bench.exec("f", "map 65536 rw at 0x200000100000")
        _ = try bench.exec("f", "map 65536 rx at 0x200000200000")
        _ = try bench.exec("f", "touch 0x200000100000 1")
        _ = try bench.exec("f", "touch 0x200000200000")
        _ = try bench.exec("f", "protect 0x200000100000 65536 rx")
        #expect(try writable.changes(1).map(summary) == ["changed 0x200000100000 4096 urw urx"])
        writable.signal(SIGINT)
        #expect(writable.end() == 0)
        #expect(writable.changes.count == 1)
    }

    /// A guest whose tables move: held at boot, it goes through its stages; the root is followed.
    @Test func theRootMoves() throws {
        try bench.start("r", ["--memory", "64M", "--stop-at", "B"], ready: false)
        let deadline = Date().addingTimeInterval(20)
        while Date() < deadline, try bench.vitrine("list", "--json").output.contains("\"held-at\":\"B\"") == false {
            usleep(10_000)
        }
        let watch = try Watch(bench, ["r"])
        #expect(watch.lines.first?["method"]?.text?.contains("outside it are read again") == true)
        try #require(try bench.vitrine("resume", "r").status == 0)
        let lines = try watch.wait("another root") { $0.contains { $0["event"]?.text == "root" } }
        let move = try #require(lines.first { $0["event"]?.text == "root" })
        let stage = try bench.vitrine("pages", "r", "--stage", "C", "--json").json()
        #expect(move["to"]?["root"]?.address == (try address(stage, "root")))
        try watch.wait("what stage C adds") { lines in
            lines.contains { $0["change"]?.text == "added" && $0["va"]?.text == "0xffff8000fec00000" }
        }
    }

    /// A guest that ends, and one whose monitor is killed: status 3, and why.
    @Test func theGuestEnds() throws {
        try bench.start("e", ["--memory", "64M"])
        let watch = try Watch(bench, ["e"])
        try bench.vitrine("stop", "e")
        #expect(watch.end() == 3)
        #expect(watch.lines.last?["event"]?.text == "end")
        #expect(watch.complaint.contains("ended while it was watched"))
        try bench.start("k", ["--memory", "64M"])
        let pid = try #require(bench.processes().first)
        let other = try Watch(bench, ["k"])
        kill(pid, SIGKILL)
        #expect(other.end() == 3)
        #expect(other.complaint.contains("went away"))
        let missing = try bench.vitrine("watch", "nobody")
        #expect(missing.status == 3)
    }

    @Test func badInput() throws {
        for (words, text) in [
            (["a", "--interval", "0"], "--interval"), (["a", "--for", "-1"], "--for"),
            (["a", "--count", "x"], "--count"),
            (["a", "--time", "local"], "since and utc"), (["a", "--filter", "wx and"], "character"),
            ([], "TARGET is missing"),
        ] as [([String], String)] {
            let result = try command(
                Host.binaries.appending(path: "vitrine").path, ["watch"] + words, environment: bench.environment)
            #expect(result.status == 2, "\(words)")
            #expect(result.errors.contains(text), "\(result.errors)")
        }
        for (words, text) in [
            (["a"], "two targets are needed"), (["a", "b", "c"], "two targets are needed"),
            (["a", "b", "--after", "1"], "one target"), (["a", "b", "--range", "5"], "--range"),
            (["a", "--after", "nan"], "--after"),
        ] as [([String], String)] {
            let result = try command(
                Host.binaries.appending(path: "vitrine").path, ["diff"] + words, environment: bench.environment)
            #expect(result.status == 2, "\(words)")
            #expect(result.errors.contains(text), "\(result.errors)")
        }
    }

    // MARK: diff

    @Test func stagesOfAGuest() throws {
        try bench.start("d", ["--memory", "64M"])
        let result = try bench.vitrine("diff", "d@B", "d@C", "--json")
        #expect(result.status == 1)
        let changes = try #require(try JSON.parse(result.output)["changes"]?.elements)
        // The map below 1 GiB goes but for the kernel, and the first large page of main becomes small ones.
        #expect(changes.contains { $0["change"]?.text == "removed" && $0["va"]?.text == "0x0" })
        #expect(
            changes.contains {
                $0["change"]?.text == "changed" && $0["va"]?.text == "0xffff800000000000" && $0["size"]?.int == 2 << 20
                    && $0["from"]?["page"]?.text == "2M" && $0["to"]?["page"]?.text == "4K"
            })
        #expect(!changes.contains { $0["va"]?.text == "0x200000" })
        let text = try bench.vitrine("diff", "d@B", "d@C", "--filter", "region=Core")
        #expect(text.lines.filter { $0.hasPrefix("-") }.count == 1)
        #expect(try bench.vitrine("diff", "d@C", "d@C").output.contains("no difference"))
        #expect(try bench.vitrine("diff", "d@X", "d@C").status == 2)
    }

    /// Two dumps of one guest around a change; the guest against its own dump; and a guest over time.
    @Test func dumpsAndMoments() throws {
        try bench.start("s", ["--memory", "64M"])
        let (before, after) = (bench.runtime.path + "/before", bench.runtime.path + "/after")
        _ = try bench.exec("s", "map 65536 rw at 0x200000100000")
        _ = try bench.exec("s", "touch 0x200000100000 1")
        try #require(try bench.vitrine("save-tables", "s", before).status == 0)
        #expect(try bench.vitrine("diff", "core:\(before)", "s").status == 0)
        #expect(try bench.vitrine("diff", "s", "s", "--after", "0.1").status == 2)
        #expect(try bench.vitrine("diff", "s", "--after", "0.1").status == 0)
        _ = try bench.exec("s", "touch 0x200000101000 1")
        _ = try bench.exec("s", "protect 0x200000100000 4096 r")
        try #require(try bench.vitrine("save-tables", "s", after).status == 0)
        let result = try bench.vitrine("diff", "core:\(before)", "core:\(after)", "--json")
        #expect(result.status == 1)
        let changes = try #require(try JSON.parse(result.output)["changes"]?.elements)
        #expect(
            changes.map(summary) == ["changed 0x200000100000 4096 urw ur", "added 0x200000101000 4096 - urw"])
        let turned = try bench.vitrine("diff", "core:\(after)", "core:\(before)", "--json")
        let back = try #require(try JSON.parse(turned.output)["changes"]?.elements)
        #expect(back.map(summary) == ["changed 0x200000100000 4096 ur urw", "removed 0x200000101000 4096 urw -"])
        #expect(try bench.vitrine("diff", "core:\(after)", "s", "--consistent").status == 0)
        #expect(try bench.vitrine("watch", "core:\(after)").status == 4)
    }
}

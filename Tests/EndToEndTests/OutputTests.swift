// How things are written out: to files that are whole or not there, to terminals with colours, and as one says.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct OutputTests {
    let bench: Bench
    let folder: URL

    init() throws {
        bench = try Bench()
        folder = bench.runtime.appending(path: "out")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        try bench.start("a", ["--memory", "64M", "--program", "hello"])
    }

    func path(_ name: String) -> String { folder.appending(path: name).path }
    func contents(_ name: String) throws -> String { try String(contentsOfFile: path(name), encoding: .utf8) }
    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).sorted() }

    /// Runs a command with a terminal as its output.
    func onTerminal(_ words: String..., environment: [String: String] = [:]) throws -> CommandResult {
        let line = ([Host.binaries.appending(path: "vitrine").path] + words).map { "'\($0)'" }.joined(separator: " ")
        var all = bench.environment
        all["NO_COLOR"] = ""
        all["TERM"] = "xterm"
        return try command(
            "/usr/bin/script", ["-qec", line, "/dev/null"], environment: all.merging(environment) { $1 })
    }

    @Test func filesAreWholeOrNotThere() throws {
        for (format, start) in [
            ("text", "a: "), ("json", "{"), ("csv", "va,"), ("svg", "<?xml"), ("html", "<!DOCTYPE"),
        ] {
            let result = try bench.vitrine("pages", "a", "--format", format, "--output", path(format))
            #expect(result.status == 0 && result.output.isEmpty, "\(result.errors)")
            #expect(try contents(format).hasPrefix(start))
        }
        #expect(names == ["csv", "html", "json", "svg", "text"])
        // What fails leaves what was there, and nothing beside it.
        let before = try contents("csv")
        #expect(try bench.vitrine("pages", "nobody", "--format", "csv", "--output", path("csv")).status == 3)
        #expect(try bench.vitrine("pages", "nobody", "--format", "csv", "--output", path("new")).status == 3)
        #expect(try contents("csv") == before)
        #expect(names.count == 5)
        // A link stays one; its target is replaced and keeps its mode.
        try FileManager.default.createSymbolicLink(atPath: path("link"), withDestinationPath: "json")
        #expect(chmod(path("json"), 0o600) == 0)
        #expect(try bench.vitrine("layouts", "--format", "csv", "--output", path("link")).status == 0)
        #expect(try contents("json").hasPrefix("layout,"))
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: path("link")) == "json")
        let mode = try FileManager.default.attributesOfItem(atPath: path("json"))[.posixPermissions] as? Int
        #expect(mode == 0o600)
        // What is no file is written to, not replaced.
        #expect(try bench.vitrine("pages", "a", "--output", "/dev/null").status == 0)
        #expect(
            try FileManager.default.attributesOfItem(atPath: "/dev/null")[.type] as? FileAttributeType
                == .typeCharacterSpecial)
        for bad in ["/nowhere/at/all", folder.path, ""] {
            let result = try bench.vitrine("pages", "a", "--output", bad)
            #expect(result.status == 2 && result.errors.contains("--output"), "\(bad): \(result.errors)")
        }
    }

    @Test func aFullDiskIsAnError() throws {
        let result = try bench.vitrine("pages", "a", "--output", "/dev/full")
        #expect(result.status == 4 && result.errors.contains("/dev/full"), "\(result.errors)")
    }

    @Test func pagesAndPicturesAreNotForTerminals() throws {
        for (verb, format) in [("map", "html"), ("pages", "svg")] {
            let refused = try onTerminal(verb, "a", "--format", format)
            #expect(refused.status == 2 && refused.output.contains("--output FILE"), "\(refused.output)")
            let piped = try bench.vitrine(verb, "a", "--format", format)
            #expect(piped.status == 0 && piped.output.contains("<title"))
        }
        #expect(try onTerminal("map", "a", "--format", "html", "--output", path("page")).status == 0)
        #expect(try contents("page").contains("</html>"))
    }

    @Test func coloursAreForTerminals() throws {
        let escape = "\u{1b}["
        #expect(try onTerminal("pages", "a").output.contains("\u{1b}[31murwx-ad"))
        #expect(try !onTerminal("pages", "a", environment: ["NO_COLOR": "1"]).output.contains(escape))
        #expect(try !onTerminal("pages", "a", environment: ["TERM": "dumb"]).output.contains(escape))
        #expect(try !onTerminal("pages", "a", "--color", "never").output.contains(escape))
        #expect(try !onTerminal("pages", "a", "--json").output.contains(escape))
        #expect(try !bench.vitrine("pages", "a").output.contains(escape))
        #expect(try bench.vitrine("pages", "a", "--color", "always").output.contains(escape))
        let refused = try bench.vitrine("pages", "a", "--color", "sometimes")
        #expect(refused.status == 2 && refused.errors.contains("auto, always or never"))
    }

    /// After a second, on a terminal, and gone at the end.
    @Test func progressOfWhatTakesLong() throws {
        // A monitor that takes connections and never says a word.
        let socket = path("silent")
        let silent = Process()
        silent.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
        silent.arguments = [
            "-c",
            "import socket,sys,time; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(60)",
            socket,
        ]
        try silent.run()
        defer {
            silent.terminate()
            silent.waitUntilExit()
        }
        while !FileManager.default.fileExists(atPath: socket) { usleep(10_000) }
        let result = try onTerminal("pages", "qmp:\(socket)")
        #expect(result.status == 4)
        let name = "vitrine pages qmp:\(socket)".prefix(60)
        #expect(result.output.contains("\r\(name): 1 s\u{1b}[K"), "\(result.output)")
        // The line is gone before the message comes.
        #expect(result.output.contains("\r\u{1b}[Kvitrine: "), "\(result.output)")
        let piped = try bench.vitrine("pages", "qmp:\(socket)")
        #expect(piped.status == 4 && !piped.errors.contains(" s\u{1b}["))
    }

    @Test func guestsAsCSV() throws {
        let lines = try bench.vitrine("list", "--format", "csv").lines
        let json = try bench.vitrine("list", "--json").json()
        let guest = try #require((json["guests"] as? [[String: Any]])?.first)
        #expect(lines.count == 2)
        let record = Dictionary(
            zip(
                lines[0].split(separator: ",").map(String.init),
                lines[1].split(separator: ",", omittingEmptySubsequences: false).map(String.init))
        ) { first, _ in first }
        #expect(record["name"] == "a" && record["pid"] == "\(guest["pid"] as? Int ?? 0)")
        #expect(record["memory"] == "67108864" && record["stage"] == "ready" && record["halted"] == "false")
    }

    /// What `ept` prints as CSV is what its JSON has.
    @Test func theSecondStageAsCSV() throws {
        _ = try bench.vitrine("pause", "a")
        let csv = try bench.vitrine("ept", "a", "--source", "computed", "--format", "csv")
        let json = try bench.vitrine("ept", "a", "--source", "computed", "--json").json()
        let mappings = try #require(json["mappings"] as? [[String: Any]])
        #expect(csv.lines.first == "gpa,va,size,hva,hpa,page,flags,slot,root,memoryType")
        #expect(csv.lines.count == mappings.count + 1 && mappings.count > 3)
        for (line, mapping) in zip(csv.lines.dropFirst(), mappings) {
            let fields = line.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            #expect(fields[0] == mapping["gpa"] as? String && fields[2] == "\(mapping["size"] as? Int ?? -1)")
            #expect(fields[3] == mapping["hva"] as? String && fields[4] == mapping["hpa"] as? String ?? "")
        }
    }
}

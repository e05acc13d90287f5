// Guests that are saved and go on: exactly, in every layout; files that are no saved guests are refused before anything runs.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct SavedGuestFiles {
    let bench: Bench

    init() throws { bench = try Bench() }

    func path(_ name: String) -> String { bench.runtime.appending(path: name).path }

    func text(_ path: String) throws -> String {
        try String(decoding: Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
    }

    /// Two programs count in ring 3 with everything that a processor holds; they are saved in the middle of it, twice.
    @Test func aGuestGoesOnExactly() throws {
        let source = Host.package.appending(path: "Tests/EndToEndTests/Fixtures/steady.c").path
        let built = try command(
            "/usr/bin/gcc", ["-static", "-O1", "-Wall", "-Wextra", "-Werror", source, "-o", path("steady")])
        try #require(built.status == 0, "\(built.errors)")
        try bench.start(
            "g",
            [
                "--layout", "linux", "--memory", "64M", "--cpus", "2", "--program", path("steady"), "--program",
                path("steady"), "--append", "args=8", "--console", "file:" + path("c0"),
            ])
        try bench.wait("the programs' beginning") {
            try text(path("c0")).components(separatedBy: "steady: begins").count == 3
        }
        var ticks = try #require(Int(try bench.exec("g", "stats").first?["ticks"] ?? ""))
        for round in 1...2 {
            let saved = try bench.vitrine("save", "g", path("g.guest"))
            #expect(saved.status == 0 && saved.output.isEmpty, "\(saved.errors)")
            // It is ended, and what it knows is its owner's alone.
            #expect(bench.processes().isEmpty)
            let attributes = try FileManager.default.attributesOfItem(atPath: path("g.guest"))
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            let restored = try bench.vitrine(
                "restore", path("g.guest"), "--detach", "--console", "file:" + path("c\(round)"))
            #expect(restored.status == 0, "\(restored.errors)")
            let now = try #require(Int(try bench.exec("g", "stats").first?["ticks"] ?? ""))
            #expect(now >= ticks, "\(ticks) ticks before, \(now) after")
            ticks = now
        }
        for program in 0...1 {
            #expect(try bench.ended("g", program: program)["status"] == "0")
        }
        let said = try (0...2).map { try text(path("c\($0)")) }.joined()
        for round in 0..<8 {
            #expect(said.components(separatedBy: "steady: round \(round)\n").count == 3, "round \(round): \(said)")
        }
        #expect(try bench.vitrine("audit", "g", "--timeout", "60", timeout: 600).status == 0)
        #expect(try bench.vitrine("stop", "g").status == 0)
    }

    /// What is restored has the tables, the memory and the registers that were saved.
    @Test(arguments: ["osv", "osc", "courseos", "panda", "resea"]) func aGuestIsTheSame(layout: String) throws {
        let memory = layout == "resea" ? "320M" : "64M"
        try bench.start("a", ["--layout", layout, "--memory", memory, "--cpus", "2"])
        #expect(try bench.vitrine("pause", "a").status == 0)
        #expect(try bench.vitrine("dump", "a", path("before.core")).status == 0)
        #expect(try bench.vitrine("save", "a", path("a.guest"), "--keep-running").status == 0)
        let restored = try bench.vitrine("restore", path("a.guest"), "--name", "b", "--detach")
        #expect(restored.status == 0, "\(restored.errors)")
        #expect(try bench.vitrine("diff", "a", "b").status == 0)
        #expect(try bench.vitrine("dump", "b", path("after.core")).status == 0)
        let same = try command("/usr/bin/cmp", [path("before.core"), path("after.core")])
        #expect(same.status == 0, "\(same.output)")
        // The tables of boot stages went along.
        let stage = try bench.vitrine("pages", "a", "--stage", "C").output.split(separator: "\n").dropFirst()
        let again = try bench.vitrine("pages", "b", "--stage", "C").output.split(separator: "\n").dropFirst()
        #expect(stage.elementsEqual(again) && !stage.isEmpty)
        for name in ["a", "b"] {
            // It was paused, so it is.
            #expect(try bench.vitrine("exec", name, "stage").status == 4)
            #expect(try bench.vitrine("resume", name).status == 0)
            #expect(try bench.vitrine("exec", name, "stage").output == "stage=R\n")
            let audit = try bench.vitrine("audit", name, "--timeout", "60", timeout: 600)
            #expect(audit.status == 0, "\(audit.output)")
        }
        // A reset starts the images again.
        #expect(try bench.vitrine("reset", "b").status == 0)
        try bench.wait("stage ready") { try bench.vitrine("exec", "b", "stage").output == "stage=R\n" }
        #expect(try bench.vitrine("stop", "b").status == 0)
    }

    @Test func whatCannotBeRestoredIsRefused() throws {
        try bench.start("a", ["--memory", "64M"])
        #expect(try bench.vitrine("save", "a", path("a.guest")).status == 0)
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path("a.guest"))))
        func refused(_ altered: [UInt8], _ status: Int32, _ words: String) throws {
            try Data(altered).write(to: URL(fileURLWithPath: path("bad.guest")))
            let result = try bench.vitrine("restore", path("bad.guest"), "--detach")
            #expect(result.status == status && result.errors.contains(words), "\(result.status) \(result.errors)")
            #expect(bench.processes().isEmpty)
        }
        try refused(Array(bytes.prefix(10)), 2, "cut short")
        try refused(Array(bytes.prefix(bytes.count / 2)), 2, "cut short")
        try refused(Array(bytes.dropLast()), 2, "cut short")
        try refused(bytes + [0], 2, "follows the end")
        try refused(Array("no guest at all, but long enough to be one".utf8), 2, "no saved guest")
        var altered = bytes
        altered[bytes.count / 2] ^= 1
        try refused(altered, 2, "was altered")
        altered = bytes
        altered[8] = 2
        try refused(altered, 2, "altered")
        let none = try bench.vitrine("restore", path("none.guest"))
        #expect(none.status == 2 && none.errors.contains("none.guest"), "\(none.errors)")
        let folder = try bench.vitrine("restore", bench.runtime.path)
        #expect(folder.status != 0 && !folder.errors.isEmpty)
        // The same name twice.
        #expect(try bench.vitrine("restore", path("a.guest"), "--detach").status == 0)
        let taken = try bench.vitrine("restore", path("a.guest"), "--detach")
        #expect(taken.status == 2 && taken.errors.contains("'a'"), "\(taken.errors)")
    }

    @Test func aFullDiskLeavesTheGuestAndNoFile() throws {
        try bench.start("a", ["--memory", "64M"])
        let full = try bench.vitrine("save", "a", "/dev/full")
        #expect(full.status == 4 && full.errors.contains("No space left"), "\(full.errors)")
        #expect(try bench.vitrine("exec", "a", "stage").output == "stage=R\n")
        let nowhere = try bench.vitrine("save", "a", path("no/such/folder/a.guest"))
        #expect(nowhere.status == 4)
        #expect(try bench.vitrine("save", "nobody", path("x.guest")).status == 3)
        #expect(try bench.vitrine("dump", "nobody", path("x.core")).status == 3)
        let left = try FileManager.default.contentsOfDirectory(atPath: bench.runtime.path)
        #expect(!left.contains { $0.hasSuffix(".guest") || $0.contains(".guest.") || $0.contains("x.core") }, "\(left)")
        #expect(try bench.vitrine("exec", "a", "stage").output == "stage=R\n")
    }

    /// gdb sees each vCPU as a thread, with the registers that the guest has; a panic leaves a core by itself.
    @Test(.enabled(if: access("/usr/bin/gdb", X_OK) == 0, "needs gdb")) func coresAreReadByOthers() throws {
        try bench.start("a", ["--memory", "256M", "--cpus", "2", "--core-on-panic", path("panic.core")])
        #expect(try bench.vitrine("pause", "a").status == 0)
        let dumped = try bench.vitrine("dump", "a", path("a.core"), "--consistent")
        #expect(dumped.status == 0 && dumped.output.contains("2 vCPUs"), "\(dumped.errors)")
        var status = stat()
        #expect(stat(path("a.core"), &status) == 0)
        // Pages of zeros are holes.
        #expect(status.st_size > 256 << 20 && status.st_blocks * 512 < 16 << 20)
        let (live, file) = (
            try bench.vitrine("pages", "a").lines, try bench.vitrine("pages", "core:" + path("a.core")).lines
        )
        #expect(live.dropFirst().elementsEqual(file.dropFirst()) && live.count > 5)
        for vcpu in ["0", "1"] {
            let own = try bench.vitrine("pages", "a", "--vcpu", vcpu, "--view", "entries").lines
            let core = try bench.vitrine("pages", "core:" + path("a.core"), "--vcpu", vcpu, "--view", "entries").lines
            #expect(own.dropFirst().elementsEqual(core.dropFirst()))
        }
        let gdb = try command(
            "/usr/bin/gdb",
            ["-batch", "-nx", "-c", path("a.core"), "-ex", "info threads", "-ex", "thread 2", "-ex", "print/x $rip"])
        #expect(gdb.output.contains("LWP 1") && gdb.output.contains("LWP 2"), "\(gdb.output) \(gdb.errors)")
        #expect(!gdb.errors.contains("too small"), "\(gdb.errors)")
        #expect(gdb.lines.last?.hasPrefix("$1 = 0x") == true, "\(gdb.output)")
        let notes = try command("/usr/bin/readelf", ["-n", path("a.core")])
        #expect(notes.output.components(separatedBy: "NT_PRSTATUS").count == 3)
        #expect(notes.output.components(separatedBy: "QEMU").count == 3)
        #expect(try bench.vitrine("resume", "a").status == 0)
        _ = try bench.vitrine("exec", "a", "panic")
        try bench.wait("the core of the panic") { FileManager.default.fileExists(atPath: path("panic.core")) }
        let panicked = try bench.vitrine("pages", "core:" + path("panic.core"))
        #expect(panicked.status == 0 && panicked.lines.count > 5)
        let save = try bench.vitrine("save", "a", path("a.guest"))
        #expect(save.status == 4 && save.errors.contains("dump"), "\(save.errors)")
    }
}

// Programs: loaded, relocated, protected, started, and their ends reported; wrong ones refused by the kernel in words.

import Foundation
import GuestImages
import TestSupport
import Testing

/// The path of one of our guest programs.
func guestProgram(_ name: String) throws -> String {
    try #require(GuestImages.path(of: "programs/\(name).elf"), "programs/\(name).elf was not built")
}

extension Bench {
    /// A program from `Fixtures`, compiled as the header tells its authors to.
    func compile(_ fixture: String, _ options: [String]) throws -> String {
        let folder = Host.package.appending(path: "Tests/EndToEndTests/Fixtures")
        let output = runtime.appending(path: "\(fixture).elf").path
        let result = try command(
            "/usr/bin/gcc",
            ["-static-pie", "-nostdlib", "-O2", "-Wall", "-Wextra", "-Werror"] + options + [
                "-I", Host.package.appending(path: "Images/include").path,
                folder.appending(path: "\(fixture).c").path, "-o", output,
            ])
        try #require(result.status == 0, "gcc: \(result.errors)")
        return output
    }

    /// Starts a guest with programs; what they print goes to the file whose path is returned.
    func startPrograms(_ name: String, _ programs: [String], _ options: [String] = []) throws -> URL {
        let console = runtime.appending(path: "\(name).console")
        try start(
            name,
            ["--memory", "64M", "--console", "file:\(console.path)"] + programs.flatMap { ["--program", $0] } + options)
        return console
    }

    /// Looks again and again, for at most three minutes, until something is so: a program that uses up all memory takes half a
    /// minute where ring 0 is emulated and nothing else runs.
    func wait(_ what: String, until isSo: () throws -> Bool) throws {
        let deadline = Date().addingTimeInterval(180)
        while try !isSo() {
            try #require(Date() < deadline, "never came: \(what)")
            usleep(20_000)
        }
    }

    /// A program's line once it no longer runs.
    func ended(_ name: String, program: Int) throws -> [String: String] {
        var line: [String: String] = [:]
        try wait("the end of program \(program)") {
            line = try exec(name, "programs").first { $0["program"] == "\(program)" } ?? [:]
            return line["state"] != nil && line["state"] != "running"
        }
        return line
    }
}

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct Programs {
    let bench: Bench

    init() throws { bench = try Bench() }

    func text(_ file: URL) throws -> String { try String(decoding: Data(contentsOf: file), as: UTF8.self) }

    @Test func helloPrintsItsArgumentAndExits() throws {
        let console = try bench.startPrograms("a", [guestProgram("hello")], ["--append", "args=one two"])
        let end = try bench.ended("a", program: 0)
        #expect(end["name"] == "hello.elf" && end["base"] == "0x100000000000")
        #expect(end["state"] == "exited" && end["status"] == "0")
        #expect(try text(console).contains("hello: from ring 0, argument \"one two\""))
        // What the guest told on its port is what the monitor tells.
        let list = try bench.vitrine("list", "--format", "json").output
        #expect(list.contains("\"status\":0"), "\(list)")
    }

    @Test func helloInRing3() throws {
        let console = try bench.startPrograms("a", [guestProgram("hello")], ["--append", "ring=3 args=x"])
        #expect(try bench.ended("a", program: 0)["status"] == "0")
        #expect(try text(console).contains("hello: from ring 3, argument \"x\""))
    }

    @Test func allocatorReachesEveryArea() throws {
        let console = try bench.startPrograms("a", [guestProgram("allocator")])
        try bench.wait("a line of the allocator") { try text(console).contains("allocator: round 2 ") }
        let line = try #require(try text(console).split(separator: "\n").first { $0.hasPrefix("allocator: round 1 ") })
        let words = line.split(separator: " ").map(String.init)
        func after(_ word: String) throws -> UInt64 {
            let at = try #require(words.firstIndex(of: word))
            return try #require(UInt64(words[at + 1].dropFirst(2), radix: 16))
        }
        #expect(try after("small") >> 44 == 0xffffa)
        #expect(try after("page") >> 44 == 0xffff9)
        #expect(try after("large") >> 44 == 0xffff8)
        #expect(try after("mapped") >> 44 == 0x2)
        #expect(try bench.exec("a", "programs").first?["state"] == "running")
        #expect(try bench.vitrine("exec", "a", "stage").output.contains("stage=R"))
    }

    @Test func allocatorFindsWhatItWrote() throws {
        _ = try bench.startPrograms("a", [guestProgram("allocator")], ["--append", "args=20"])
        #expect(try bench.ended("a", program: 0)["status"] == "0")
    }

    @Test(arguments: [0, 3]) func aFaultEndsTheProgramAlone(ring: Int) throws {
        let console = try bench.startPrograms(
            "a", [guestProgram("fault"), guestProgram("allocator")], ["--append", "ring=\(ring)"])
        let end = try bench.ended("a", program: 0)
        #expect(end["state"] == "faulted" && end["status"] == "-1")
        let report = try text(console)
        let line = try #require(report.split(separator: "\n").first { $0.contains("read-only page 0x") })
        let page = try #require(line.split(separator: " ").last)
        #expect(report.contains("page fault") || report.contains("#PF"), "\(report)")
        #expect(report.components(separatedBy: page.dropFirst(2)).count > 2, "no CR2 = \(page) in: \(report)")
        #expect(try bench.exec("a", "stage") == [["stage": "R"]])
        #expect(try bench.exec("a", "programs").last?["state"] == "running")
        #expect(try bench.exec("a", "alloc 64").first?["area"] == "mempool")
    }

    @Test func touchRing3() throws {
        let console = try bench.startPrograms(
            "a", [guestProgram("touch-ring3")], ["--append", "ring=3 args=2048 5"])
        let end = try bench.ended("a", program: 0)
        #expect(end["state"] == "exited" && end["status"] == "0")
        #expect(try text(console).contains("touch-ring3: pass 4, 2048 pages"))
    }

    @Test func aProgramOfGCC() throws {
        let plain = try bench.compile("plain", ["-mgeneral-regs-only"])
        let console = try bench.startPrograms("a", [plain], ["--append", "args=yes"])
        let end = try bench.ended("a", program: 0)
        #expect(end["state"] == "exited" && end["status"] == "42")
        #expect(try text(console).contains("plain: relocated\nplain: allocated\n"))
    }

    @Test func vectorsInRing0() throws {
        let vector = try bench.compile("vector", [])
        let result = try bench.vitrine("run", "--name", "a", "--memory", "64M", "--program", vector, timeout: 10)
        #expect(result.output.contains("vector: multiplying"))
        // Where the processor itself runs ring 0 the program ends well and the guest goes on.
        if result.status == 124 { return }
        #expect(result.status == 5, "\(result.errors)")
        #expect(result.errors.contains("-mgeneral-regs-only"), "\(result.errors)")
        // movsd xmm, [rip + x]: the bytes of the instruction that could not be emulated.
        #expect(result.errors.lowercased().contains("f2 0f"), "\(result.errors)")
    }

    @Test func segmentsAreProtected() throws {
        let plain = try bench.compile("plain", ["-mgeneral-regs-only"])
        _ = try bench.startPrograms("a", [plain, guestProgram("hello")])
        let own = try bench.exec("a", "vmas").filter { $0["kind"] == "program" }
        #expect(Set(own.compactMap { $0["perm"] }) == ["r", "rx", "rw"])
        for base in ["0x100000000000", "0x100400000000"] {
            #expect(own.contains { $0["vma"]?.hasPrefix(base + "-") == true }, "nothing at \(base)")
        }
        // gcc's first segment is read-only, its second is code.
        for address in ["0x100000000000", "0x100000001000"] {
            let written = try bench.vitrine("exec", "a", "touch", address, "1")
            #expect(written.status != 0 && written.errors.contains("fault="), "\(written.output)\(written.errors)")
        }
        let text = try bench.vitrine("translate", "a", "0x100000001000", "0x100000002000", "--format", "json").output
        #expect(text.contains("0x100000001000"))
    }

    @Test func namespacesAndTheRefusalPastTheLast() throws {
        _ = try bench.startPrograms("a", [guestProgram("hello")])
        #expect(try bench.vitrine("exec", "a", "load 1").errors.contains("no module 1"))
        #expect(try bench.vitrine("exec", "a", "load 0 0").errors.contains("reserved"))
        #expect(try bench.vitrine("exec", "a", "load 0 32").errors.contains("1 to 31"))
        #expect(try bench.exec("a", "load 0 7").first?["base"] == "0x101000000000")
        #expect(try bench.vitrine("exec", "a", "load 0 7").errors.contains("taken"))
        for slot in 1...31 where slot != 7 {
            let base = 0x1000_0000_0000 + (UInt64(slot) + 1) << 33
            let line = try bench.exec("a", "load 0").first
            #expect(line?["base"] == "0x" + String(base, radix: 16))
            _ = try bench.ended("a", program: try #require(line?["program"].flatMap { Int($0) }))
        }
        let last = try bench.vitrine("exec", "a", "load 0")
        #expect(last.status != 0 && last.errors.contains("no namespace is left"), "\(last.output)\(last.errors)")
        #expect(try bench.exec("a", "programs").count == 32)
    }

    @Test func oneProgramTooMany() throws {
        let hello = try guestProgram("hello")
        let console = try bench.startPrograms("a", Array(repeating: hello, count: 33))
        let last = try bench.ended("a", program: 32)
        #expect(last["state"] == "refused")
        #expect(try text(console).contains("no namespace is left"))
        #expect(try bench.ended("a", program: 31)["status"] == "0")
    }

    /// A file that the kernel has to refuse, and what it has to say.
    struct BadProgram: CustomTestStringConvertible, Sendable {
        let name: String
        let words: String
        let change: @Sendable (inout Data) -> Void
        var testDescription: String { name }

        static let all = [
            BadProgram(name: "text", words: "not an ELF file") { $0 = Data("#!/bin/sh\n".utf8) },
            BadProgram(name: "truncated", words: "lies outside the file") { $0 = $0.prefix(0x900) },
            BadProgram(name: "32-bit", words: "not a 64-bit ELF file") { $0[4] = 1 },
            BadProgram(name: "AArch64", words: "machine 183") { $0[18] = 183 },
            BadProgram(name: "executable", words: "build it with -static-pie") { $0[16] = 2 },
            BadProgram(name: "no headers", words: "no segment to load") { $0[56] = 0 },
            BadProgram(name: "entry", words: "in no executable segment") { $0[24..<26] = Data([0xff, 0x0f]) },
            BadProgram(name: "too large", words: "larger than 8 GiB") { data in
                // The writable segment's size in memory.
                for header in stride(from: 64, to: 64 + 9 * 56, by: 56) where data[header] == 1 && data[header + 4] == 6
                {
                    data[header + 40 + 4] = 2
                }
            },
            BadProgram(name: "relocation", words: "unknown relocation type 37") { data in
                // The type of R_X86_64_RELATIVE entries.
                for at in stride(from: 0x200, to: 0x400, by: 8)
                where data[at] == 8 && data[at + 4..<at + 8].allSatisfy({ $0 == 0 }) {
                    data[at] = 37
                }
            },
        ]
    }

    @Test(arguments: BadProgram.all) func aWrongProgramIsRefused(bad: BadProgram) throws {
        let good = try bench.compile("plain", ["-mgeneral-regs-only"])
        var data = try Data(contentsOf: URL(fileURLWithPath: good))
        bad.change(&data)
        let path = bench.runtime.appending(path: "bad.elf")
        try data.write(to: path)
        let console = try bench.startPrograms("a", [path.path, guestProgram("hello")])
        #expect(try bench.ended("a", program: 0)["state"] == "refused")
        let printed = try text(console)
        #expect(printed.contains(bad.words), "\(printed)")
        let again = try bench.vitrine("exec", "a", "load 0")
        #expect(again.status != 0 && again.errors.contains(bad.words), "\(again.output)\(again.errors)")
        let other = try bench.ended("a", program: 1)
        #expect(other["status"] == "0" && other["base"] == "0x100000000000")
    }
}

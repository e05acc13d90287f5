// Bad input gets a clear message and the right exit status, and nothing is left behind.

import Foundation
import TestSupport
import Testing

/// A kernel file that has to be refused, and a word that has to be in the message.
struct BadKernel: CustomTestStringConvertible, Sendable {
    let name: String
    let word: String
    let bytes: [UInt8]
    var testDescription: String { name }

    init(_ name: String, _ word: String, _ change: (inout TestELF) -> Void = { _ in }, cut: Int? = nil) {
        var elf = TestELF()
        change(&elf)
        self.name = name
        self.word = word
        bytes = Array(elf.bytes().prefix(cut ?? .max))
    }

    static let all = [
        BadKernel("text", "ELF", { $0.magic = Array("#!/b".utf8) }),
        BadKernel("empty", "ELF", cut: 0),
        BadKernel("header cut short", "truncated", cut: 40),
        BadKernel("program headers cut short", "truncated", cut: 100),
        BadKernel(
            "segment cut short", "truncated",
            {
                $0.segments[0].fileSize = 1 << 20; $0.segments[0].memorySize = 1 << 20
            }),
        BadKernel("program headers past the end", "truncated", { $0.headerOffset = 1 << 40 }),
        BadKernel("32-bit", "32-bit", { $0.elfClass = 1 }),
        BadKernel("AArch64", "machine", { $0.machine = 183 }),
        BadKernel("no program headers", "program headers", { $0.headerCount = 0 }),
        BadKernel("no entry note", "note", { $0.noteEntry = nil }),
        BadKernel("entry outside its segments", "entry", { $0.noteEntry = 0x100_0000 }),
        BadKernel(
            "segment above RAM", "RAM",
            {
                $0.segments[0].address = 1 << 40; $0.noteEntry = 1 << 40
            }),
        BadKernel(
            "segment overflows", "past the end of the address space",
            {
                $0.segments[0].address = UInt64.max - 1
                $0.segments[0].memorySize = 0x1000
            }),
        BadKernel("memory smaller than file", "segment", { $0.segments[0].memorySize = 1 }),
        BadKernel(
            "segments overlap", "overlap",
            { $0.segments.append(.init(address: 0x20_0001, bytes: [0x90, 0x90, 0x90, 0x90])) }),
    ]
}

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct BadInput {
    let bench: Bench

    init() throws { bench = try Bench() }

    func expectRefused(_ result: CommandResult, _ status: Int32 = 2, _ word: String) {
        #expect(result.status == status, "\(result.output)\(result.errors)")
        #expect(word.isEmpty || result.errors.lowercased().contains(word.lowercased()), "\(result.errors)")
        #expect(result.errors.hasPrefix("vitrine"), "\(result.errors)")
        #expect(bench.processes().isEmpty)
        let left = (try? FileManager.default.contentsOfDirectory(atPath: bench.runtime.path + "/vitrine")) ?? []
        #expect(left.isEmpty, "left behind: \(left)")
    }

    @Test(arguments: BadKernel.all) func kernelIsRefused(kernel: BadKernel) throws {
        let path = bench.runtime.appending(path: "kernel.elf")
        try Data(kernel.bytes).write(to: path)
        expectRefused(
            try bench.vitrine("run", "--name", "bad", "--kernel", path.path, "--memory", "64M", "--detach"), kernel.word
        )
        expectRefused(
            try bench.vitrine("run", "--name", "bad", "--kernel", path.path, "--memory", "64M", "--console", "none"),
            kernel.word)
    }

    func expectRefused(_ result: CommandResult, _ word: String) { expectRefused(result, 2, word) }

    @Test func filesThatCannotBeRead() throws {
        expectRefused(try bench.vitrine("run", "--kernel", "/nowhere/kernel", "--detach"), "/nowhere/kernel")
        expectRefused(try bench.vitrine("run", "--kernel", "/tmp", "--detach"), "/tmp")
        expectRefused(try bench.vitrine("run", "--program", "/nowhere/program", "--detach"), "/nowhere/program")
        expectRefused(try bench.vitrine("run", "--kernel", "/dev/zero", "--detach"), "/dev/zero")
    }

    @Test(arguments: [
        ["--memory", "0"], ["--memory", "1M"], ["--memory", "8E"], ["--memory", "16777215T"], ["--memory", "lots"],
        ["--memory", "-1"], ["--memory", "100001"], ["--cpus", "0"], ["--cpus", "100000"], ["--cpus", "two"],
        ["--layout", "nonesuch"], ["--name", "a/b"], ["--name", ".."], ["--name", ""],
        ["--name", String(repeating: "n", count: 200)], ["--stop-at", "Q"], ["--console", "nowhere"], ["--nonesuch"],
        ["--memory"], ["--append", String(repeating: "x", count: 5000)], ["surplus"],
    ])
    func optionIsRefused(words: [String]) throws {
        let result = try command(
            Host.binaries.appending(path: "vitrine").path, ["run", "--detach"] + words, environment: bench.environment)
        expectRefused(result, words[0] == "--memory" && words.count > 1 ? "memory" : "")
    }

    @Test func unknownVerbNamesTheNearest() throws {
        expectRefused(try bench.vitrine("trnslate", "x"), "translate")
        expectRefused(try bench.vitrine("pages"), "target")
    }

    @Test(arguments: [
        "pages", "translate", "aliases", "map", "audit", "stop", "kill", "pause", "resume", "reset", "exec",
    ])
    func noSuchTarget(verb: String) throws {
        let rest = ["translate": ["0x1000"], "aliases": ["pa:0x1000"], "exec": ["stage"]][verb] ?? []
        let result = try command(
            Host.binaries.appending(path: "vitrine").path, [verb, "nobody"] + rest, environment: bench.environment)
        expectRefused(result, 3, "nobody")
    }

    @Test func namesAreTakenOnce() throws {
        try bench.start("one", ["--memory", "64M"])
        let second = try bench.vitrine("run", "--name", "one", "--memory", "64M", "--detach")
        #expect(second.status == 2)
        #expect(second.errors.contains("one"))
        #expect(try bench.vitrine("exec", "one", "stage").status == 0)
    }

    @Test(.enabled(if: getuid() == 0, "needs root")) func withoutTheRightToUseKVM() throws {
        // The executable may lie where another user cannot reach it: it is copied to where he can.
        let folder = URL(fileURLWithPath: "/tmp/vt-bin-\(UInt32.random(in: 0...UInt32.max))")
        try FileManager.default.createDirectory(
            at: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o755])
        defer { try? FileManager.default.removeItem(at: folder) }
        for name in ["vitrine", "vitrine-vmm"] {
            try FileManager.default.copyItem(at: Host.binaries.appending(path: name), to: folder.appending(path: name))
        }
        let kernel = try TestELF().write(in: folder)
        let runtime = folder.appending(path: "run")
        try FileManager.default.createDirectory(
            at: runtime, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        #expect(chown(runtime.path, 65534, 65534) == 0)
        let result = try command(
            "/usr/bin/setpriv",
            [
                "--reuid", "65534", "--regid", "65534", "--clear-groups", folder.path + "/vitrine", "run", "--kernel",
                kernel, "--memory", "64M", "--detach",
            ],
            environment: ["XDG_RUNTIME_DIR": runtime.path])
        expectRefused(result, 4, "/dev/kvm")
        #expect(result.errors.contains("group") || result.errors.contains("permission"), "\(result.errors)")
    }

    @Test(.enabled(if: getuid() == 0, "needs root")) func withoutKVM() throws {
        let script = """
            mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 &&
            exec "$0" run --memory 64M --detach
            """
        let result = try command(
            "/usr/bin/unshare", ["-m", "/bin/sh", "-c", script, Host.binaries.appending(path: "vitrine").path],
            environment: bench.environment)
        expectRefused(result, 4, "/dev/kvm")
    }
}

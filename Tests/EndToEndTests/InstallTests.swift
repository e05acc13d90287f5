import Foundation
import TestSupport
import Testing

/// What an installation has besides the programs: manual pages and completions, made of the tables of verbs.
@Suite struct InstallTests {
    let bench: Bench

    init() throws { bench = try Bench() }

    private static func isInstalled(_ program: String) -> Bool { access("/usr/bin/" + program, X_OK) == 0 }

    /// Every verb and option that help shows is in the page, and those who read pages for a living have nothing to say.
    @Test func manualPages() throws {
        let folder = try TemporaryFolder()
        for program in ["vitrine", "vitrine-vmm", "vitrine-qemu", "vitrine-libvirt"] {
            let page = try bench.vitrine("manual-page", program)
            #expect(page.status == 0 && page.errors.isEmpty)
            let path = try folder.file(program + ".1", Data(page.output.utf8)).path
            if Self.isInstalled("mandoc") {
                let lint = try command("/usr/bin/mandoc", ["-T", "lint", "-W", "warning", path])
                #expect(lint.status == 0 && lint.output.isEmpty, "\(program): \(lint.output)")
                let text = try command("/usr/bin/mandoc", ["-T", "ascii", path]).output.replacing(/.\u{8}/, with: "")
                #expect(text.contains("     \(program) "), "\(text.prefix(300))")
                if program == "vitrine" { try compareWithHelp(text) }
            }
            if Self.isInstalled("man") {
                let man = try command(
                    "/usr/bin/man", ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path],
                    environment: ["LC_ALL": "C.UTF-8"])
                #expect(man.status == 0 && man.errors.isEmpty, "\(program): \(man.errors)")
            }
        }
        #expect(try bench.vitrine("manual-page", "vitrine-qmeu").status == 2)
    }

    private func compareWithHelp(_ page: String) throws {
        let list = try bench.vitrine("--help").output
        let verbs = list.components(separatedBy: "Verbs:\n")[1].components(separatedBy: "\n\n")[0]
            .split(separator: "\n").compactMap { $0.split(separator: " ").first.map(String.init) }
        #expect(verbs.count > 25 && !verbs.contains("complete") && !verbs.contains("manual-page"))
        // A verb's name stands three columns to the right, everything that belongs to it farther.
        var sections: [String: String] = [:]
        var current = ""
        for line in page.split(separator: "\n") {
            if line.hasPrefix("   "), !line.hasPrefix("    ") { current = String(line.dropFirst(3)) }
            sections[current, default: ""] += line + "\n"
        }
        for verb in verbs {
            let section = sections[verb] ?? ""
            #expect(section.contains("vitrine \(verb)"), "\(verb) is not in the page")
            for line in try bench.vitrine(verb, "--help").lines where line.hasPrefix("  --") {
                let name = line.split(separator: " ")[0]
                #expect(section.contains("     \(name)"), "\(verb) \(name) is not in the page")
            }
        }
    }

    /// A shell at a terminal, keys typed as a person types them: behind each beginning the key Tab, and what then stands there is printed.
    private static let typist = #"""
        import json, os, pty, select, sys, time
        words, begin, out, keys = json.loads(sys.argv[1])
        pid, terminal = pty.fork()
        if pid == 0: os.execvp(words[0], words)
        seen = b''
        def read(seconds):
            global seen
            if select.select([terminal], [], [], seconds)[0]:
                try: piece = os.read(terminal, 65536)
                except OSError: piece = b''
                # A terminal that says what it is, to a shell that asks.
                if b'\x1b[c' in piece: os.write(terminal, b'\x1b[?62;22c')
                seen += piece
        def wait(what):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not what(): read(0.1)
        os.write(terminal, begin.encode() + b'\n')
        wait(lambda: b'AT-THE-PROMPT' in seen)
        done = 0
        for typed in keys:
            done += 1
            os.write(terminal, typed.encode() + b'\t\x01echo \x05 >>' + out.encode() + b'\r')
            wait(lambda: os.path.exists(out) and open(out, 'rb').read().count(b'\n') == done)
        os.kill(pid, 9)
        sys.stdout.write(open(out).read() if os.path.exists(out) else repr(seen))
        """#

    @Test(arguments: ["bash", "zsh", "fish"]) func completions(shell: String) throws {
        guard Self.isInstalled(shell) else {
            print("\(shell) is not installed: its completion is not tried")
            return
        }
        let folder = try TemporaryFolder()
        try folder.file("saved.guest")
        try folder.file("other.core")
        let script = try bench.vitrine("completions", shell)
        #expect(script.status == 0)
        let name = shell == "zsh" ? "_vitrine" : "vitrine.\(shell)"
        try folder.file(name, Data(script.output.utf8))
        try bench.start("long-name", ["--memory", "64M"], ready: false)
        let path = folder.path
        let begin =
            switch shell {
            case "bash": "PS1='AT-THE''-PROMPT '; source \(path)/vitrine.bash"
            case "zsh":
                "fpath=(\(path) $fpath); autoload -U compinit; compinit -u -D; bindkey -e; PS1='AT-THE''-PROMPT '"
            default: "function fish_prompt; echo -n AT-THE'-'PROMPT; end; source \(path)/vitrine.fish"
            }
        let words =
            switch shell {
            case "bash": ["bash", "--norc", "--noprofile", "-i"]
            case "zsh": ["zsh", "-f", "-i"]
            default: ["fish", "--no-config", "-i"]
            }
        let cases = [
            ("vitrine trans", "vitrine translate"), ("vitrine pages long-name --vi", "vitrine pages long-name --view"),
            ("vitrine pages --view tre", "vitrine pages --view tree"),
            ("vitrine pages --format=js", "vitrine pages --format=json"), ("vitrine stop lo", "vitrine stop long-name"),
            ("vitrine audit cor", "vitrine audit core:"),
            ("vitrine pages core:\(path)/oth", "vitrine pages core:\(path)/other.core"),
            ("vitrine restore \(path)/sa", "vitrine restore \(path)/saved.guest"),
            ("vitrine layouts lin", "vitrine layouts linux"),
            ("vitrine run --console fi", "vitrine run --console file:"),
            ("vitrine help dom", "vitrine help domain-xml"), ("vitrine completions fi", "vitrine completions fish"),
            // Not a verb of people's, and nothing begins so.
            ("vitrine comple", "vitrine completions"), ("vitrine pages --zzz", "vitrine pages --zzz"),
        ]
        let request = try JSONSerialization.data(
            withJSONObject: [words, begin, path + "/out", cases.map(\.0)] as [Any])
        let search = Host.binaries.path + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")
        let result = try command(
            "/usr/bin/python3", ["-c", Self.typist, String(decoding: request, as: UTF8.self)],
            environment: bench.environment.merging(["PATH": search, "HOME": path, "TERM": "xterm"]) { $1 },
            timeout: 240)
        #expect(result.lines == cases.map(\.1), "\(shell): \(result)")
    }

    @Test func badShell() throws {
        let result = try bench.vitrine("completions", "fisch")
        #expect(result.status == 2 && result.errors.contains("did you mean 'fish'"), "\(result)")
        #expect(try bench.vitrine("completions").status == 2)
    }
}

// `vitrine run`: starts a guest, here or on its own.

import Glibc
import GuestImages
import GuestFolders
import JSON
import Monitor
import Options
import SystemCalls
import Targets

extension LifecycleVerbs {
    static let run = Verb(
        name: "run",
        summary: "start a guest",
        usage: "[options]",
        details: """
            In the foreground the console is this terminal, and the command ends with the guest: status 0 when the guest
            powers off, 5 when its kernel panics, triple-faults, or halts for ever (its registers are printed; --keep keeps
            it for inspection). Ctrl-C and SIGTERM end the guest.

            With --detach the guest runs on its own until it powers off, or until stop or kill. One that crashed stays, so
            that it can be inspected. --wait-ready returns when the guest has reached stage ready, or the one of --stop-at;
            if it does not in time, the command says which stage was reached, ends with status 4, and lets the guest run.
            """,
        options: RunOptions.descriptions,
        examples: [
            ("vitrine run --memory 64M", "boots the osv guest on this terminal"),
            (
                "vitrine run --name a --memory 256M --cpus 2 --program hello.elf --detach --wait-ready 10",
                "starts a guest that runs on its own, with a program; returns when its kernel is ready"
            ),
            ("vitrine run --name b --stop-at B --detach --wait-ready 10", "holds the guest at boot stage B"),
        ]
    ) { arguments, output in
        // The words as they were are handed on; here they are only checked.
        let words = Array(CommandLine.arguments.dropFirst(2))
        return try start(words, RunOptions(&arguments), output)
    }

    /// Starts the process of a guest, in place of this one or on its own.
    ///
    /// - Parameter words: the options as they were given.
    static func start(_ words: [String], _ options: RunOptions, _ output: Output) throws -> ExitStatus {
        let program = try monitorProgram()
        guard options.isDetached else {
            if let address = options.gdb { try startStub(address, for: options.name) }
            throw CommandError(
                .unable, ChildProcess.become(path: program, arguments: ["vitrine-vmm"] + words).description)
        }
        try startDetached(program, words, options)
        if let address = options.gdb { try startStub(address, for: options.name) }
        if let seconds = options.waitReady { try waitUntilReady(options, seconds) }
        if options.console == .pty { try tellTerminal(options.name, output) }
        return .success
    }

    /// vitrine-vmm: beside this program, or in PATH.
    private static func monitorProgram() throws -> String {
        var folders: [String] = []
        if let own = GuestImages.executableFolder() { folders.append(own) }
        let search = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin"
        folders += search.split(separator: ":").map(String.init)
        for folder in folders where access(folder + "/vitrine-vmm", X_OK) == 0 { return folder + "/vitrine-vmm" }
        throw CommandError(.unable, "vitrine-vmm is neither beside vitrine nor in PATH; install both in one folder")
    }

    /// Starts the guest's process and waits until it says how the start went.
    private static func startDetached(_ program: String, _ words: [String], _ options: RunOptions) throws {
        let child: ChildProcess
        let answer: String
        do {
            let pipe = try Pipe()
            let arguments =
                ["vitrine-vmm", "--ready-fd", "\(pipe.writing.rawValue)"] + words
                + (options.wasNamed ? [] : ["--name", options.name])
            child = try ChildProcess(path: program, arguments: arguments, keeping: pipe.writing)
            answer = try readAll(pipe)
        }
        if answer == "ok\n" { return }
        let end = try child.wait()
        let parts = answer.split(separator: " ", maxSplits: 1)
        if parts.count == 2, let code = Int32(parts[0]), let status = ExitStatus(rawValue: code) {
            throw CommandError(status, String(parts[1].dropLast()))
        }
        let how = end.signal.map { "signal \($0)" } ?? "status \(end.status ?? -1)"
        throw CommandError(.unable, "the guest's process ended at its start, with \(how)")
    }

    /// Closes the writing end, and reads what the other holder of it writes until it closes it as well.
    static func readAll(_ pipe: consuming Pipe) throws -> String {
        let reading = pipe.takeReading()
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while bytes.count < 65536 {
            let count = try buffer.withUnsafeMutableBytes { try reading.read(into: $0) }
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Waits for stage ready, or the one of --stop-at.
    private static func waitUntilReady(_ options: RunOptions, _ seconds: Double) throws {
        let wanted = options.stopStage ?? "ready"
        let deadline = monotonicNanoseconds() &+ UInt64(seconds * 1e9)
        let gone = CommandError(.noTarget, "the guest '\(options.name)' ended before stage \(wanted)")
        do {
            let client = try Targets.connect(options.name)
            while true {
                let info = try client.execute("x-vitrine-info").value
                let stage = info["stage"]?.text
                if options.stopStage == nil ? stage == wanted : info["held-at"]?.text == wanted { return }
                if let crash = info["crash"]?.elements, !crash.isEmpty {
                    let lines = crash.compactMap(\.text).joined(separator: "\n")
                    throw CommandError(.guestCrashed, "before stage \(wanted): \(lines)")
                }
                if info["halted"]?.boolean == true {
                    throw CommandError(
                        .guestCrashed,
                        "before stage \(wanted): the guest halts with interrupts off on every vCPU; "
                            + "it stays for inspection (vitrine kill \(options.name) ends it)")
                }
                let now = monotonicNanoseconds()
                let left = deadline > now ? Double(deadline - now) / 1e9 : 0
                guard try client.nextEvent(timeout: left) != nil else {
                    throw CommandError(
                        .unable,
                        "stage \(wanted) was not reached within \(options.waitText) s; the guest is at "
                            + "\(stage.map { "stage \($0)" } ?? "no stage yet"), and runs on")
                }
            }
        } catch let error as TargetError {
            switch error {
            case .noSuchTarget, .wentAway: throw gone
            default: throw error
            }
        }
    }

    private static func tellTerminal(_ name: String, _ output: Output) throws {
        if let path = try Targets.connect(name).execute("x-vitrine-info").value["console"]?.text {
            try output.line(path)
        }
    }
}

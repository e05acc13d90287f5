// The verbs that steer and end guests.

import Glibc
import GuestFolders
import JSON
import Options
import SystemCalls
import Targets

/// The verbs that start, steer and end guests, in the order of the help.
enum LifecycleVerbs {
    static let all: [Verb] = [run, list, stop, kill, pause, resume, reset, console, exec, save, restore, gdb, sandbox]

    static let pause = Verb(
        name: "pause", summary: "stop a guest's vCPUs where they are", usage: "TARGET",
        examples: [("vitrine pause a", "parks the vCPUs of guest a; vitrine resume a lets them go on")]
    ) { arguments, _ in
        let client = try connect(&arguments)
        try client.execute("stop")
        return .success
    }

    static let resume = Verb(
        name: "resume", summary: "let a paused guest go on", usage: "TARGET",
        details: "Also lets a guest go on that --stop-at holds at a boot stage.",
        examples: [("vitrine resume a", "guest a runs again")]
    ) { arguments, _ in
        let client = try connect(&arguments)
        try client.execute("cont")
        return .success
    }

    static let reset = Verb(
        name: "reset", summary: "start a guest again from its first instruction", usage: "TARGET",
        details: "As by the reset button: RAM is zeroed and the images are loaded anew.",
        examples: [("vitrine reset a", "guest a boots again")]
    ) { arguments, _ in
        let client = try connect(&arguments)
        try client.execute("system_reset")
        return .success
    }

    static let stop = Verb(
        name: "stop", summary: "ask a guest to power off, and wait until it has", usage: "TARGET [--timeout SECONDS]",
        details: "As by the power button: the kernel decides. A guest that has crashed, or halts for ever, is ended.",
        options: [OptionDescription("timeout", "SECONDS", "how long to wait, 10 if not given")],
        examples: [
            ("vitrine stop a", "guest a powers off"),
            ("vitrine stop a --timeout 60", "gives it a minute; if it is still there, says what to do (status 4)"),
        ]
    ) { arguments, _ in
        let seconds = try arguments.seconds("timeout") ?? 10
        let name = arguments.operands.first ?? ""
        let client = try connect(&arguments)
        let info = try client.execute("x-vitrine-info").value
        let isOver = ["guest-panicked", "internal-error", "shutdown"].contains(info["state"]?.text)
        do {
            if isOver || info["halted"]?.boolean == true {
                try client.execute("quit")
            } else if info["state"]?.text == "running" {
                try client.execute("system_powerdown")
            } else {
                throw CommandError(
                    .unable,
                    "'\(name)' is paused, so it cannot power itself off: vitrine resume \(name), or vitrine kill \(name)"
                )
            }
            if try waitForEnd(client, name: name, seconds: seconds) { return .success }
        } catch TargetError.wentAway {
            _ = try waitForEnd(nil, name: name, seconds: 1)
            return .success
        }
        throw CommandError(
            .unable,
            "'\(name)' has not powered off within the time; vitrine kill \(name) ends it, --timeout waits longer")
    }

    static let kill = Verb(
        name: "kill", summary: "end a guest at once", usage: "TARGET",
        details: "The guest is not asked. If its process does not answer, it is killed (SIGKILL).",
        examples: [("vitrine kill a", "guest a is gone")]
    ) { arguments, _ in
        let name = try target(&arguments)
        let guest = try RuntimeFolder.ofThisUser().guest(name)
        let pid = guest.pid()
        do {
            let client = try Targets.connect(name)
            try client.execute("quit", timeout: 2)
            if try waitForEnd(client, name: name, seconds: 2) { return .success }
        } catch TargetError.wentAway {
            if try waitForEnd(nil, name: name, seconds: 2) { return .success }
        } catch TargetError.noAnswer {
        } catch let error as TargetError {
            // A leftover of a killed process has no socket to connect to, or nobody behind it.
            guard case .noSuchTarget = error, guest.removeIfLeftover() == .runs else { throw error }
        }
        // The lock tells that the process is still the guest's: it is held, so the number is not another's by now.
        guard let pid, guest.removeIfLeftover() == .runs else { return .success }
        _ = try ChildProcess.signal(pid, SIGKILL)
        guard try waitForEnd(nil, name: name, seconds: 5) else {
            throw CommandError(.unable, "process \(pid) does not end, even by SIGKILL")
        }
        return .success
    }

    static let exec = Verb(
        name: "exec", summary: "run a command of the guest kernel's own monitor", usage: "[options] TARGET COMMAND...",
        details: """
            The kernel's answer is printed as it is, lines of key=value; `vitrine exec TARGET help` lists its commands.
            Options come before TARGET. Status 1: the kernel answered with an error.
            """,
        options: [OptionDescription("timeout", "SECONDS", "how long the kernel has to answer, 10 if not given")],
        formats: [.text, .json],
        literalAfter: 1,
        examples: [
            ("vitrine exec a help", "the kernel's commands"),
            ("vitrine exec a alloc 65536", "allocates in the guest: prints VA, PA and area"),
            ("vitrine exec --timeout 2 a stats", "gives the kernel two seconds"),
        ]
    ) { arguments, output in
        let format = try arguments.format([.text, .json])
        let seconds = try arguments.seconds("timeout") ?? 10
        let name = try arguments.operand("TARGET")
        let words = arguments.remainingOperands()
        guard !words.isEmpty else { throw UsageError("COMMAND is missing (see --help)") }
        return try runExec(Targets.connect(name), words.joined(separator: " "), seconds, format, output)
    }

    /// Takes the operand TARGET, the only one.
    static func target(_ arguments: inout Arguments) throws -> String {
        let name = try arguments.operand("TARGET")
        try arguments.end()
        return name
    }

    /// Takes the operand TARGET, the only one, and connects to it.
    static func connect(_ arguments: inout Arguments) throws -> QMPClient {
        try Targets.connect(target(&arguments))
    }

    /// Waits until the guest's process has ended and its name is free; false if the time is over first.
    static func waitForEnd(_ client: QMPClient?, name: String, seconds: Double) throws -> Bool {
        let deadline = monotonicNanoseconds() &+ UInt64(seconds * 1e9)
        if let client {
            do {
                while try client.nextEvent(timeout: left(deadline)) != nil {}
                return false
            } catch TargetError.wentAway {}
        }
        // The connection closes a moment before the folder goes.
        let guest = try RuntimeFolder.ofThisUser().guest(name)
        while guest.removeIfLeftover() == .runs {
            guard monotonicNanoseconds() < deadline &+ 500_000_000 else { return false }
            usleep(500)
        }
        return true
    }

    private static func left(_ deadline: UInt64) -> Double {
        let now = monotonicNanoseconds()
        return deadline > now ? Double(deadline - now) / 1e9 : 0
    }
}

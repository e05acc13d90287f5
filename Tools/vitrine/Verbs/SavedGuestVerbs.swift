// vitrine save, restore

import Glibc
import JSON
import Monitor
import Options
import SystemCalls
import Targets

extension LifecycleVerbs {
    static let save = Verb(
        name: "save", summary: "write a whole guest to a file, and end it", usage: "TARGET FILE [options]",
        details: """
            The guest stands still while it is written: registers, devices, and the pages of RAM that are not zero. Then it
            is ended; vitrine restore FILE lets it go on exactly there. FILE is there only when it is whole; if it cannot
            be written, the guest goes on.
            """,
        options: [OptionDescription("keep-running", nil, "let the guest go on instead of ending it")],
        examples: [
            ("vitrine save a a.guest", "guest a is in a.guest, and ended"),
            ("vitrine save a a.guest --keep-running", "a copy of this moment; guest a goes on"),
        ]
    ) { arguments, output in
        let name = try arguments.operand("TARGET")
        let path = try arguments.operand("FILE")
        try arguments.end()
        let keeps = arguments.flag("keep-running")
        let client = try Targets.connect(name)
        let info = try client.execute("x-vitrine-info").value
        // What a guest knows is its owner's business.
        let file = try ReplacedFile(path, mode: 0o600)
        try client.execute(
            "getfd", [JSONMember("fdname", "vitrine-save")], descriptors: [file.descriptor.rawValue])
        try client.execute("migrate", [JSONMember("uri", "fd:vitrine-save")])
        output.progress = Progress("vitrine save \(name)")
        try waitForTransfer(client, name: name)
        do throws(Errno) {
            try file.descriptor.synchronize()
            try file.commit()
        } catch {
            if info["state"]?.text == "running" { _ = try? client.execute("cont") }
            throw error
        }
        output.progress?.end()
        if !keeps {
            try client.execute("quit")
            _ = try waitForEnd(client, name: name, seconds: 10)
        } else if info["state"]?.text == "running" {
            try client.execute("cont")
        }
        return .success
    }

    /// Waits until the guest was saved.
    private static func waitForTransfer(_ client: QMPClient, name: String) throws {
        while true {
            let status = try client.execute("query-migrate").value
            switch status["status"]?.text {
            case "completed": return
            case "failed":
                throw CommandError(
                    .unable, "'\(name)' was not saved: \(status["error-desc"]?.text ?? "the reason is not known")")
            case "cancelled": throw CommandError(.unable, "'\(name)' was not saved: somebody cancelled it")
            default: _ = try client.nextEvent(timeout: 0.5)
            }
        }
    }

    static let restore = Verb(
        name: "restore", summary: "let a guest go on that was saved", usage: "FILE [options]",
        details: """
            The guest goes on where it was saved, under its own name if none is given, with the memory, vCPUs and devices
            that it had; if it was paused then, it is paused now. A file that was cut short or altered, or that a newer
            Vitrine wrote, is refused before anything of it runs (status 2), and so is a host that lacks a feature of the
            processor that the guest was told of (status 4). FILE is not changed.

            The kernel and the programs are in the guest's memory; their files are only needed for a later reset.
            """,
        options: restoreOptions,
        examples: [
            ("vitrine restore a.guest --detach", "guest a goes on, on its own"),
            ("vitrine restore a.guest --name b --paused --detach", "a second one, as guest b, standing still"),
        ]
    ) { arguments, output in
        let path = try arguments.operand("FILE")
        try arguments.end()
        var words = ["--restore", path]
        for option in restoreOptions {
            guard let value = arguments.value(option.name) else { continue }
            words.append("--\(option.name)")
            if option.value != nil { words.append(value) }
        }
        return try start(words, RunOptions(words: words), output)
    }

    private static let restoreOptions: [OptionDescription] =
        RunOptions.descriptions.filter {
            ["name", "console", "detach", "keep", "core-on-panic", "sandbox"].contains($0.name)
        }
        + [OptionDescription("paused", nil, "do not let it run yet (vitrine resume does)")]
}

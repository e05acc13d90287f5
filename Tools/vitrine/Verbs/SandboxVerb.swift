// vitrine sandbox

import CallLists
import Inspection
import JSON
import Options
import Sandbox
import SystemCalls
import Targets

extension LifecycleVerbs {
    static let sandbox = Verb(
        name: "sandbox", summary: "what a guest's process may still do", usage: "[NAME] [options]",
        details: """
            Without NAME: the system calls that each kind of thread may make once a guest runs, each with its reason. With NAME:
            how that guest's threads are confined, as the kernel says (/proc/PID/task).
            """,
        formats: [.text, .json],
        examples: [
            ("vitrine sandbox", "the lists, by kind of thread"),
            ("vitrine sandbox a", "what is in force for guest a; status 1 if a thread of it is not confined"),
        ]
    ) { arguments, output in
        let format = try arguments.format([.text, .json])
        let name = arguments.optionalOperand()
        try arguments.end()
        guard let name else {
            try showLists(format, output)
            return .success
        }
        let info = try Targets.connect(name).execute("x-vitrine-info").value
        guard let pid = info["pid"]?.int.flatMap({ Int32(exactly: $0) }) else {
            throw CommandError(.noTarget, "'\(name)' does not say which process it is")
        }
        // What the kernel makes for a VM runs nothing of the monitor's (a kernel before 6.13 shows no such thread here).
        let threads = try Confinement.threads(of: pid).filter { !$0.confinement.thread.hasPrefix("kvm-") }
        let sandbox = info["sandbox"] ?? .null
        switch format {
        case .json: try writeThreads(name, sandbox, threads, output)
        default: try showThreads(sandbox, threads, output)
        }
        if sandbox["mode"]?.text == "off" { return .success }
        return threads.allSatisfy(\.confinement.isConfined) ? .success : .fault
    }

    private static func showLists(_ format: OutputFormat, _ output: Output) throws {
        let lists = ThreadRole.allCases.map { ($0, AllowedCall.list(of: $0)) }
        guard format == .json else {
            for (role, calls) in lists {
                try output.line(output.styled("\(role.rawValue): \(calls.count) system calls", .heading))
                let width = calls.map(\.name.count).max() ?? 0
                for call in calls.sorted(by: { $0.name < $1.name }) {
                    let rare = call.rare.map { " (\($0))" } ?? ""
                    try output.line("  \(call.name)\(padding(width - call.name.count))  \(call.reason)\(rare)")
                    try show(call.arguments, indent: width + 4, output)
                }
            }
            return
        }
        var writer = JSONWriter()
        writer.object {
            $0.member("schema", "vitrine.sandbox/1")
            $0.key("roles")
            $0.array {
                for (role, calls) in lists {
                    $0.object {
                        $0.member("role", role.rawValue)
                        $0.key("calls")
                        $0.array { for call in calls { write(call, &$0) } }
                    }
                }
            }
        }
        writer.endLine()
        try output.write(bytes: writer.bytes)
    }

    /// The arguments that are allowed, in lines of at most 120 columns.
    private static func show(_ arguments: String, indent: Int, _ output: Output) throws {
        var line = ""
        for word in arguments.split(separator: " ") {
            if indent + line.count + word.count + 1 > 120 {
                try output.line(padding(indent) + line)
                line = ""
            }
            line += (line.isEmpty ? "" : " ") + word
        }
        if !line.isEmpty { try output.line(padding(indent) + line) }
    }

    private static func write(_ call: AllowedCall, _ writer: inout JSONWriter) {
        writer.object {
            $0.member("name", call.name)
            $0.member("arguments", call.arguments.isEmpty ? nil : call.arguments)
            $0.member("reason", call.reason)
            $0.member("rare", call.rare)
        }
    }

    private static func showThreads(
        _ sandbox: JSON, _ threads: [(id: Int32, confinement: Confinement)], _ output: Output
    ) throws {
        let landlock = sandbox["landlock-abi"]?.int ?? 0
        try output.line(
            "mode \(sandbox["mode"]?.text ?? "not known"), "
                + (landlock > 0 ? "Landlock \(landlock)" : "no Landlock"))
        for (id, one) in threads {
            let filters = one.filters.map { "\($0) filter\($0 == 1 ? "" : "s")" } ?? "filters"
            let calls = one.seccomp == 2 ? filters : "any system call"
            let rights = "capabilities 0x\(String(one.capabilities, radix: 16))"
            try output.line(
                "  \(id)  \(one.thread)\(padding(15 - one.thread.count))  \(calls), "
                    + (one.hasNoNewPrivileges ? "no new privileges, " : "") + rights)
        }
    }

    private static func writeThreads(
        _ name: String, _ sandbox: JSON, _ threads: [(id: Int32, confinement: Confinement)], _ output: Output
    ) throws {
        var writer = JSONWriter()
        writer.object {
            $0.member("schema", "vitrine.sandbox/1")
            $0.member("target", name)
            $0.key("sandbox")
            $0.value(sandbox)
            $0.key("threads")
            $0.array {
                for (id, one) in threads {
                    $0.value([
                        "id": JSON(id), "thread": .string(one.thread),
                        "no-new-privileges": .bool(one.hasNoNewPrivileges),
                        "seccomp": one.seccomp.map { JSON($0) } ?? .null,
                        "filters": one.filters.map { JSON($0) } ?? .null, "capabilities": .hex(one.capabilities),
                        "capability-bounding-set": .hex(one.boundingSet),
                    ])
                }
            }
        }
        writer.endLine()
        try output.write(bytes: writer.bytes)
    }
}

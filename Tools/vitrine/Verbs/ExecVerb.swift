// The answer of the guest kernel's monitor.

import JSON
import Options
import Targets

extension LifecycleVerbs {
    /// Runs a command and prints the answer.
    static func runExec(
        _ client: QMPClient, _ command: String, _ seconds: Double, _ format: OutputFormat, _ output: Output
    ) throws -> ExitStatus {
        let reply = try client.execute(
            "x-vitrine-exec",
            [JSONMember("command-line", .string(command)), JSONMember("timeout", .real(seconds))],
            timeout: seconds + 5
        ).value
        let lines = reply["lines"]?.elements?.compactMap(\.text) ?? []
        let error = reply["error"]?.text
        switch format {
        case .json:
            var writer = JSONWriter()
            writer.object {
                $0.member("schema", "vitrine.exec/1")
                $0.member("target", client.name)
                $0.member("command", command)
                $0.key("lines")
                $0.array { for line in lines { $0.value(line) } }
                $0.member("error", error)
            }
            writer.endLine()
            try output.write(bytes: writer.bytes)
        default:
            for line in lines { try output.line(line) }
        }
        if let error {
            try output.flush()
            throw CommandError(.fault, error)
        }
        return .success
    }
}

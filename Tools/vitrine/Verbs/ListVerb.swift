// `vitrine list`: the guests of this user.

import Addresses
import GuestFolders
import JSON
import Options
import SystemCalls
import Targets

extension LifecycleVerbs {
    static let list = Verb(
        name: "list", summary: "the guests of this user", usage: "[--format text|json]",
        details: "What a killed guest left behind is removed on the way.",
        formats: [.text, .json],
        examples: [
            ("vitrine list", "name, process, state, layout, memory, vCPUs, stage and uptime of every guest"),
            ("vitrine list --json", "the same and more, for programs: stages, programs, counters"),
        ]
    ) { arguments, output in
        let format = try arguments.format([.text, .json])
        try arguments.end()
        let now = wallMicroseconds() / 1_000_000
        var guests: [JSON] = []
        for guest in try RuntimeFolder.ofThisUser().guests() {
            guests.append(look(guest, now: now))
        }
        switch format {
        case .json:
            var writer = JSONWriter()
            writer.object {
                $0.member("schema", "vitrine.list/1")
                $0.key("guests")
                $0.array { for guest in guests { $0.value(guest) } }
            }
            writer.endLine()
            try output.write(bytes: writer.bytes)
        default: try table(guests, now: now, output)
        }
        return .success
    }

    /// What a guest says of itself; one that does not answer within a second is listed as such.
    private static func look(_ guest: GuestPaths, now: UInt64) -> JSON {
        do {
            let client = try QMPClient(path: guest.socket, name: guest.name)
            return try client.execute("x-vitrine-info", timeout: 1).value
        } catch {
            return [
                "name": .string(guest.name), "pid": guest.pid().map { JSON($0) } ?? .null, "state": "not-answering",
            ]
        }
    }

    private static func table(_ guests: [JSON], now: UInt64, _ output: Output) throws {
        guard !guests.isEmpty else {
            try output.line("no guests (vitrine run starts one)")
            return
        }
        var rows = [["NAME", "PID", "STATE", "LAYOUT", "MEMORY", "VCPUS", "STAGE", "UPTIME"]]
        for guest in guests {
            var state = guest["state"]?.text ?? "?"
            if guest["halted"]?.boolean == true && state == "running" { state = "halted" }
            rows.append([
                guest["name"]?.text ?? "?", guest["pid"]?.int.map { "\($0)" } ?? "-", state,
                guest["layout"]?.text ?? "-", guest["memory"]?.uint64.map { formatSize($0) } ?? "-",
                guest["vcpus"]?.int.map { "\($0)" } ?? "-", guest["stage"]?.text ?? "-",
                guest["started"]?.uint64.map { uptime(now > $0 ? now - $0 : 0) } ?? "-",
            ])
        }
        let rightAligned: Set<Int> = [1, 4, 5]
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        for (number, row) in rows.enumerated() {
            var line = ""
            for (column, text) in row.enumerated() {
                let gap = padding(widths[column] - text.count)
                if column > 0 { line += "  " }
                line += rightAligned.contains(column) ? gap + text : column == row.count - 1 ? text : text + gap
            }
            try output.line(number == 0 ? output.styled(line, .bold) : line)
        }
    }

    /// `42s`, `3m07s`, `5h12m`, `8d03h`.
    private static func uptime(_ seconds: UInt64) -> String {
        func two(_ number: UInt64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        switch seconds {
        case 0..<60: return "\(seconds)s"
        case 60..<3600: return "\(seconds / 60)m\(two(seconds % 60))s"
        case 3600..<86400: return "\(seconds / 3600)h\(two(seconds / 60 % 60))m"
        default: return "\(seconds / 86400)d\(two(seconds / 3600 % 24))h"
        }
    }
}

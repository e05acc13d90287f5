// `vitrine list`: the guests of this user.

import Addresses
import GuestFolders
import Inspection
import JSON
import Options
import SystemCalls
import Targets

extension LifecycleVerbs {
    static let list = Verb(
        name: "list", summary: "the guests of this user", usage: "[--libvirt [URI]] [options]",
        details: """
            What a killed guest left behind is removed on the way. --libvirt shows libvirt's domains besides; URI is the libvirt to
            ask, libvirt's own default if it is not given.
            """,
        options: [OptionDescription("libvirt", nil, "libvirt's domains as well; a URI may follow")],
        formats: [.text, .json, .csv],
        examples: [
            ("vitrine list", "name, process, state, layout, memory, vCPUs, stage and uptime of every guest"),
            (
                "vitrine list --libvirt qemu:///system",
                "guests and domains; libvirt:NAME is a target for every domain that runs"
            ),
            ("vitrine list --json", "the same and more, for programs: stages, programs, counters"),
        ]
    ) { arguments, output in
        let format = try arguments.format([.text, .json, .csv])
        let uri = arguments.flag("libvirt") ? arguments.optionalOperand() ?? "" : nil
        try arguments.end()
        let domains = try uri.map { try Libvirt.domains(uri: $0) }
        guard domains == nil || format != .csv else {
            throw UsageError("--libvirt and --format csv: a table has rows of one kind; --format json has both")
        }
        let now = wallMicroseconds() / 1_000_000
        var guests: [JSON] = []
        let running = try RuntimeFolder.ofThisUser().guests { name, words in
            let last = words.map { "; the last it said: \($0)" } ?? ""
            complain("guest '\(name)' was killed\(last)")
        }
        for guest in running { guests.append(look(guest, now: now)) }
        switch format {
        case .json:
            var writer = JSONWriter()
            writer.object {
                $0.member("schema", "vitrine.list/1")
                $0.key("guests")
                $0.array { for guest in guests { $0.value(guest) } }
                if let domains {
                    $0.key("domains")
                    $0.array { for domain in domains { $0.value(json(domain)) } }
                }
            }
            writer.endLine()
            try output.write(bytes: writer.bytes)
        case .csv: try output.write(bytes: columns.csv(guests))
        default:
            try table(guests, now: now, output)
            if let domains { try table(domains, output) }
        }
        return .success
    }

    /// The fields of a guest in CSV: those of the JSON that are single values.
    private static let columns: Columns<JSON> = {
        func text(_ name: String) -> Column<JSON> { Column(name) { FieldValue($0[name]?.text) } }
        func number(_ name: String) -> Column<JSON> {
            Column(name) { guest in guest[name]?.uint64.map { .unsigned($0) } ?? .null }
        }
        return Columns(
            text("name"), number("pid"), text("state"),
            Column("halted") { guest in guest["halted"]?.boolean.map { .flag($0) } ?? .null }, text("layout"),
            number("memory"), number("vcpus"), text("stage"), text("held-at"), number("started"), text("kernel"),
            text("command-line"), text("console"))
    }()

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
        try table(rows, rightAligned: [1, 4, 5], output)
    }

    private static func table(_ domains: [Libvirt.Domain], _ output: Output) throws {
        guard !domains.isEmpty else {
            try output.line("no domains")
            return
        }
        var rows = [["DOMAIN", "ID", "STATE", "MEMORY", "VCPUS"]]
        for domain in domains {
            rows.append([
                domain.name, domain.id.map { "\($0)" } ?? "-", domain.state, formatSize(domain.memory),
                "\(domain.vcpus)",
            ])
        }
        try table(rows, rightAligned: [1, 3, 4], output)
    }

    private static func json(_ domain: Libvirt.Domain) -> JSON {
        [
            "name": .string(domain.name), "id": domain.id.map { JSON($0) } ?? .null, "state": .string(domain.state),
            "memory": JSON(domain.memory), "vcpus": JSON(domain.vcpus),
        ]
    }

    private static func table(_ rows: [[String]], rightAligned: Set<Int>, _ output: Output) throws {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        for (number, row) in rows.enumerated() {
            var line = ""
            for (column, text) in row.enumerated() {
                let gap = padding(widths[column] - text.count)
                if column > 0 { line += "  " }
                line += rightAligned.contains(column) ? gap + text : column == row.count - 1 ? text : text + gap
            }
            try output.line(number == 0 ? output.styled(line, .heading) : line)
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

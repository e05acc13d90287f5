// `vitrine doctor`: what this host offers, and what to do about what is missing.

import Addresses
import Glibc
import JSON
import SecondStage
import SystemCalls

/// One thing looked at.
public struct DoctorItem: Sendable {
    /// How it stands.
    public enum Status: String, Sendable {
        /// There.
        case ok
        /// There in part, or slower than it could be.
        case limited
        /// Not there.
        case missing

        /// How it looks on a terminal.
        var style: TextStyle {
            switch self {
            case .ok: return .good
            case .limited: return .warning
            case .missing: return .bad
            }
        }
    }

    /// What was looked at.
    public let name: String
    /// How it stands.
    public let status: Status
    /// What was seen.
    public let detail: String
    /// What to do; nil if nothing.
    public let advice: String?
    /// Whether vitrine can start no guest without it.
    public let isNeeded: Bool

    /// An item.
    public init(_ name: String, _ status: Status, _ detail: String, advice: String? = nil, needed: Bool = false) {
        self.name = name
        self.status = status
        self.detail = detail
        self.advice = advice
        isNeeded = needed
    }
}

/// Everything looked at.
public struct DoctorReport: Sendable {
    /// The items, in order.
    public let items: [DoctorItem]

    /// A report.
    public init(_ items: [DoctorItem]) { self.items = items }

    /// Whether guests can run on this host.
    public var canRunGuests: Bool { items.allSatisfy { !$0.isNeeded || $0.status != .missing } }

    /// The report for people.
    public var text: String { text(isColoured: false) }

    /// The report for people.
    public func text(isColoured: Bool) -> String {
        var buffer = TextBuffer(isColoured: isColoured)
        for item in items {
            buffer.add(item.status.rawValue, item.status.style)
            buffer.tab(to: 9)
            buffer.add(item.name)
            buffer.tab(to: 25)
            buffer.line(item.detail)
            if let advice = item.advice {
                buffer.add("")
                buffer.tab(to: 25)
                buffer.line("-> \(advice)")
            }
        }
        if canRunGuests {
            buffer.line("guests can run here")
        } else {
            buffer.line("no guest can run here: see what is missing above", .bad)
        }
        return String(decoding: buffer.take(), as: UTF8.self)
    }

    /// The report for programs, schema vitrine.doctor/1.
    public var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("schema", "vitrine.doctor/1")
            writer.member("canRunGuests", canRunGuests)
            writer.key("items")
            writer.array { writer in
                for item in items { DoctorReport.columns.write(item, into: &writer) }
            }
        }
        writer.newline()
        return writer.bytes
    }

    /// The report as CSV, a line an item.
    public var csv: [UInt8] { DoctorReport.columns.csv(items) }

    /// The fields of an item.
    private static let columns = Columns<DoctorItem>(
        Column("name") { .text($0.name) },
        Column("status") { .text($0.status.rawValue) },
        Column("detail") { .text($0.detail) },
        Column("advice") { FieldValue($0.advice) },
        Column("needed") { .flag($0.isNeeded) })
}

/// What can be told without KVM.
public enum HostChecks {
    /// Every item but KVM's and the runtime folder's.
    public static func all() -> [DoctorItem] { [memoryFiles(), hugePages()] + secondStage() + [qemu(), libvirt()] }

    /// memfd, sealed: what guest memory is made of.
    static func memoryFiles() -> DoctorItem {
        do throws(Errno) {
            let file = try FileDescriptor.memoryFile(named: "vitrine-doctor", size: 4096)
            return try file.cannotShrink()
                ? DoctorItem("memory files", .ok, "memfd with seals", needed: true)
                : DoctorItem(
                    "memory files", .missing, "memfd cannot be sealed", advice: "a kernel from 3.17 on is needed",
                    needed: true)
        } catch {
            return DoctorItem(
                "memory files", .missing, "\(error)", advice: "a kernel from 3.17 on with memfd_create is needed",
                needed: true)
        }
    }

    static func hugePages() -> DoctorItem {
        let folder = "/sys/kernel/mm/hugepages"
        var pools: [String] = []
        var free: UInt64 = 0
        for (name, size) in [("hugepages-2048kB", "2M"), ("hugepages-1048576kB", "1G")] {
            guard let count = number("\(folder)/\(name)/free_hugepages") else { continue }
            pools.append("\(count) free of \(size)")
            free += count
        }
        guard !pools.isEmpty else {
            return DoctorItem(
                "huge pages", .missing, "the kernel has none", advice: "run --huge-pages will not work here")
        }
        let detail = pools.joined(separator: ", ")
        return free > 0
            ? DoctorItem("huge pages", .ok, detail)
            : DoctorItem(
                "huge pages", .limited, detail,
                advice: "for run --huge-pages 2M: echo 512 > \(folder)/hugepages-2048kB/nr_hugepages")
    }

    /// What looking at host physical addresses and at KVM's own tables needs.
    static func secondStage() -> [DoctorItem] {
        SecondStageAbilities.all().map { ability in
            DoctorItem(ability.name, ability.isThere ? .ok : .limited, ability.detail, advice: ability.advice)
        }
    }

    static func qemu() -> DoctorItem {
        guard let path = executable("qemu-system-x86_64") else {
            return DoctorItem(
                "QEMU", .missing, "no qemu-system-x86_64 in PATH",
                advice: "only comparisons need it: apt-get install qemu-system-x86")
        }
        return DoctorItem("QEMU", .ok, path)
    }

    static func libvirt() -> DoctorItem {
        let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib/x86_64-linux-gnu"]
        let library = folders.map { $0 + "/libvirt.so.0" }.first(where: exists)
        guard let library else {
            return DoctorItem(
                "libvirt", .missing, "no libvirt.so.0", advice: "only libvirt domains need it: apt-get install libvirt0"
            )
        }
        let socket = "/run/libvirt/libvirt-sock"
        return exists(socket)
            ? DoctorItem("libvirt", .ok, "\(library), \(socket)")
            : DoctorItem("libvirt", .limited, "\(library), no daemon at \(socket)", advice: "systemctl start libvirtd")
    }

    // MARK: Helpers

    /// Whether a path names anything.
    public static func exists(_ path: String) -> Bool { (try? Files.status(of: path)) != nil }

    private static func number(_ path: String) -> UInt64? {
        guard let bytes = try? Files.contents(of: path) else { return nil }
        return UInt64(String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self))
    }

    private static func executable(_ name: String) -> String? {
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        return path.split(separator: ":").map { "\($0)/\(name)" }.first(where: exists)
    }
}

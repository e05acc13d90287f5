// vitrine pages

import Inspection
import Options
import PageTables
import SystemCalls
import Targets

extension InspectionVerbs {
    static let pages = Verb(
        name: "pages", summary: "guest page tables: merged ranges by default",
        usage: "TARGET [options]",
        details: """
            Reads the page tables of a guest while it runs, and says whether they changed meanwhile. --consistent pauses the
            vCPUs for as long as the tables are read, and says how long that was.
            Ranges are runs of leaves that follow each other virtually and physically with the same permissions.
            --filter takes conditions, combined by and, or, not and parentheses; tables that are there again are shown as such:
            """ + "\n" + RangeFilter.help,
        options: tableOptions + [
            OptionDescription(
                "view", "ranges|entries|tree|tables", "merged ranges, every leaf, every entry, every table"),
            OptionDescription("range", "A-B", "virtual addresses from A to B only"),
            OptionDescription("filter", "EXPR", "only what meets a condition, as 'user and not wx'; see below"),
            OptionDescription("layout", "NAME", "region names of this layout, not of the guest's own"),
            OptionDescription("consistent", nil, "pause the vCPUs while the tables are read"),
            OptionDescription("explain", nil, "say first where the names of regions come from"),
        ],
        formats: [.text, .json],
        examples: [
            ("vitrine pages a", "every mapped range with its permissions, backing and region"),
            ("vitrine pages a --stage B", "the tables as they were at boot stage B"),
            ("vitrine pages a --view tree --range 0-0x3fffff", "every entry that the first 4 MiB use"),
            (
                "vitrine pages a --filter 'wx and user or page=2M'",
                "pages that ring 3 may write and execute, and 2 MiB pages"
            ),
            ("vitrine pages a --consistent --json", "a consistent dump for a program"),
            ("vitrine pages qmp:/run/vm.sock --explain", "a Linux guest of QEMU, and how its regions were found"),
        ],
        run: { arguments, output in
            var options = PagesOptions()
            options.form = try form(arguments)
            options.explains = arguments.flag("explain")
            if let text = arguments.value("view") {
                guard let view = PagesView(rawValue: text) else {
                    throw UsageError(
                        unknownName(text, among: PagesView.allCases.map(\.rawValue), what: "view")
                            + " (ranges, entries, tree or tables)")
                }
                options.view = view
            }
            if let text = arguments.value("range") { options.range = try range(text) }
            if let text = arguments.value("filter") {
                do throws(FilterError) {
                    options.filter = try RangeFilter(parsing: text)
                } catch {
                    throw UsageError(error.description)
                }
            }
            let name = try arguments.operand("TARGET")
            try arguments.end()
            let isConsistent = arguments.flag("consistent")
            if isConsistent && arguments.value("stage") != nil {
                throw UsageError("--stage tables stand still anyway; --consistent is for live ones")
            }
            let target = try Targets.open(name)
            if options.filter != nil, target.vcpuCount > 0, let pat = try target.registers(vcpu: 0)["pat"] {
                options.memoryTypes = PageAttributeTable(rawValue: pat)
            }
            guard isConsistent else {
                let subject = try subject(arguments, target: target)
                try writePages(subject, options: options) { try output.write(bytes: $0) }
                try target.checkReads()
                return .success
            }
            let pause = try Pause(target)
            defer { pause.end() }
            let subject = try subject(arguments, target: target, moment: "consistent")
            try writePages(subject, options: options, holdsOutput: true, afterWalk: { pause.end() }) {
                try output.write(bytes: $0)
            }
            try target.checkReads()
            return .success
        })
}

/// A pause of a target's vCPUs, which ends when asked to and at the latest with this value.
final class Pause {
    private let target: any Target
    private let wasRunning: Bool
    private let start: UInt64
    private var microseconds: UInt64?

    /// Parks the vCPUs.
    init(_ target: any Target) throws(TargetError) {
        self.target = target
        wasRunning = try target.pause()
        start = monotonicNanoseconds()
    }

    /// Lets them go on if they ran before.
    ///
    /// - Returns: for how long they stood still, in microseconds.
    @discardableResult
    func end() -> UInt64 {
        if let microseconds { return microseconds }
        if wasRunning { try? target.resume() }
        let elapsed = (monotonicNanoseconds() - start) / 1000
        microseconds = elapsed
        return elapsed
    }

    deinit { end() }
}

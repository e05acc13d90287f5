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
        formats: forms + [.svg, .html],
        examples: [
            ("vitrine pages a", "every mapped range with its permissions, backing and region"),
            ("vitrine pages a --stage B", "the tables as they were at boot stage B"),
            ("vitrine pages a --view tree --range 0-0x3fffff", "every entry that the first 4 MiB use"),
            (
                "vitrine pages a --filter 'wx and user or page=2M'",
                "pages that ring 3 may write and execute, and 2 MiB pages"
            ),
            ("vitrine pages a --consistent --json", "a consistent dump for a program"),
            ("vitrine pages a --format html --output a.html", "a page to look around in with a browser"),
            ("vitrine pages qmp:/run/vm.sock --explain", "a Linux guest of QEMU, and how its regions were found"),
        ],
        run: { arguments, output in
            var options = PagesOptions()
            let format = try arguments.format(forms + [.svg, .html])
            options.form = ReportForm(rawValue: format.rawValue) ?? .text
            options.isColoured = output.isColoured
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
            options.filter = try filter(arguments)
            let name = try arguments.operand("TARGET")
            try arguments.end()
            let isConsistent = arguments.flag("consistent")
            if isConsistent && arguments.value("stage") != nil {
                throw UsageError("--stage tables stand still anyway; --consistent is for live ones")
            }
            let target = try Targets.open(name)
            if options.filter != nil { options.memoryTypes = try memoryTypes(of: target) }
            let pause = isConsistent ? try Pause(target) : nil
            defer { pause?.end() }
            let subject = try subject(arguments, target: target, moment: isConsistent ? "consistent" : "live")
            if format == .svg || format == .html {
                try drawing(of: subject, target: target, options: options, pause: pause, as: format, output)
                return .success
            }
            let warnings = try writePages(
                subject, options: options, holdsOutput: isConsistent, afterWalk: { pause?.end() }
            ) { try output.write(bytes: $0) }
            try target.checkReads()
            if format == .csv { for warning in warnings { complain(warning) } }
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

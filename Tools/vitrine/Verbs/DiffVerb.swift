// vitrine diff

import Addresses
import Glibc
import Inspection
import Layouts
import Options
import PageTables
import SystemCalls
import Targets

extension InspectionVerbs {
    static let diff = Verb(
        name: "diff", summary: "what two targets, or two moments of one, map differently",
        usage: "A B [options], or A --after SECONDS [options]",
        details: """
            A and B are targets of any kind, saved dumps included. NAME@A, NAME@B, NAME@C and NAME@ready are the tables of a
            guest as they were at a boot stage. With --after the same target is read again after some time.
            Lines begin with + (mapped in B only), - (mapped in A only) or ~ (mapped otherwise: from -> to, where only what is
            not the same is said again). What is cut into other ranges but mapped the same is no difference, nor are accessed
            and dirty bits unless --accessed is given. Tables of different modes are compared by their virtual addresses.
            --root, --vcpu and --paging are for both; --to-root, --to-vcpu and --to-paging for B.
            The exit status is 0 if nothing differs, 1 if something does.
            """,
        options: tableOptions.filter { $0.name != "stage" } + [
            OptionDescription("to-vcpu", "N", "of B, the tables that this vCPU uses"),
            OptionDescription("to-root", "PA", "of B, the tables with this root"),
            OptionDescription("to-paging", "32-bit|pae|4-level|5-level|arm", "of B, read them so"),
            OptionDescription("after", "SECONDS", "compare A with itself, that much later"),
            OptionDescription("range", "A-B", "virtual addresses from A to B only"),
            OptionDescription("filter", "EXPR", "only where what was or what is meets a condition (see vitrine pages)"),
            OptionDescription("layout", "NAME", "region names of this layout, not of the guests' own"),
            OptionDescription("accessed", nil, "accessed and dirty bits count"),
            OptionDescription("consistent", nil, "pause the vCPUs while tables are read"),
        ],
        formats: forms,
        examples: [
            ("vitrine diff a@B a@C", "what the guest mapped and unmapped between two boot stages"),
            ("vitrine diff core:before.core a", "what changed since a dump of save-tables"),
            ("vitrine diff a --after 5", "what changes within five seconds"),
            ("vitrine diff a a --root 0x1800000 --to-root 0x1900000", "two address spaces of one guest"),
            ("vitrine diff a b --filter 'wx or user' --json", "where two guests differ in what ring 3 may do"),
        ],
        run: { arguments, output in
            var options = DiffOptions()
            options.form = try form(arguments)
            options.countsAccessed = arguments.flag("accessed")
            if let text = arguments.value("range") { options.range = try range(text) }
            options.filter = try filter(arguments)
            let names = arguments.remainingOperands()
            let seconds = try arguments.seconds("after")
            guard names.count == (seconds == nil ? 2 : 1) else {
                throw UsageError(
                    seconds == nil
                        ? "two targets are needed: vitrine diff A B (or vitrine diff A --after SECONDS)"
                        : "--after is for one target, which is compared with itself")
            }
            let first = try DiffSide(names[0])
            let second = try names.count > 1 ? DiffSide(names[1], sharing: first) : first
            if options.filter != nil { options.memoryTypes = try memoryTypes(of: second.target) }
            // What counts as a mapping must be the same on both sides, also where only one knows its layout.
            let mask =
                try (layout(arguments, of: first.target) ?? layout(arguments, of: second.target))?.absentMask ?? 0
            let before = try first.moment(arguments, prefix: "", options, absentMask: mask)
            if let seconds { try sleep(seconds) }
            let after = try second.moment(
                arguments, prefix: names.count > 1 ? "to-" : "", options, absentMask: mask)
            let (isEqual, warnings) = try writeDiff(before, after, options: options) { try output.write(bytes: $0) }
            if options.form == .csv { for warning in warnings { complain(warning) } }
            return isEqual ? .success : .fault
        })

    private static func sleep(_ seconds: Double) throws {
        let end = monotonicNanoseconds() &+ UInt64(seconds * 1e9)
        while true {
            let now = monotonicNanoseconds()
            guard now < end else { return }
            var none: [pollfd] = []
            try waitForEvents(&none, milliseconds: Int32(clamping: (end - now) / 1_000_000 + 1))
        }
    }
}

/// One side of a comparison: a target, and perhaps a boot stage of it.
private struct DiffSide {
    let target: any Target
    let stage: String?
    let name: String

    /// Opens `NAME` or `NAME@STAGE`; a target that the other side has open is not opened again.
    init(_ text: String, sharing other: DiffSide? = nil) throws {
        var name = text
        var stage: String?
        // Names of guests have no @; paths of other targets may.
        let isGuest = !["qmp:", "core:", "pid:", "libvirt:"].contains { text.hasPrefix($0) }
        if isGuest, let at = text.lastIndex(of: "@") {
            name = String(text[..<at])
            stage = String(text[text.index(after: at)...])
        }
        self.name = name
        self.stage = stage
        if let other, other.name == name { target = other.target } else { target = try Targets.open(name) }
    }

    /// Reads the mappings.
    ///
    /// - Parameter prefix: of the options that are this side's, if they are given.
    func moment(
        _ arguments: Arguments, prefix: String, _ options: DiffOptions, absentMask: UInt64
    ) throws -> MappingMoment {
        var words: [String] = []
        for name in ["vcpu", "root", "paging"] {
            if let value = arguments.value(prefix + name) ?? arguments.value(name) { words += ["--\(name)", value] }
        }
        if let layout = arguments.value("layout") { words += ["--layout", layout] }
        if let stage { words += ["--stage", stage] }
        let own = try Arguments(
            words, known: InspectionVerbs.tableOptions + [OptionDescription("layout", "NAME", "")])
        let isPaused = arguments.flag("consistent") && stage == nil && target.isLive
        let pause = try isPaused ? Pause(target) : nil
        let subject = try InspectionVerbs.subject(own, target: target, moment: isPaused ? "consistent" : "live")
        let moment = MappingMoment(subject, range: options.range, absentMask: absentMask)
        pause?.end()
        try target.checkReads()
        return moment
    }
}

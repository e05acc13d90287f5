// vitrine watch

import Addresses
import Glibc
import GuestMemory
import Inspection
import Options
import PageTables
import SystemCalls
import Targets

extension InspectionVerbs {
    static let watch = Verb(
        name: "watch", summary: "changes to the page tables as they happen",
        usage: "TARGET [options]",
        details: """
            Prints a line for each range that was mapped (+), unmapped (-) or mapped otherwise (~, from -> to), with the time,
            until Ctrl-C, or as long as --count and --for say.
            Of a guest of vitrine run the monitor says which tables were written (KVM's dirty log of the page-table arena,
            kept only while somebody watches): it costs what changes, and a change is shown within 10 ms. Tables outside the
            arena, and those of other targets, are read again at an interval, which grows so that reading takes at most 2 % of
            a processor; --interval sets it.
            A vCPU that uses other tables is followed; with --root the tables stay the same.
            The exit status is 3 if the guest ends meanwhile.
            """,
        options: tableOptions.filter { $0.name != "stage" } + [
            OptionDescription("range", "A-B", "virtual addresses from A to B only"),
            OptionDescription("filter", "EXPR", "only where what was or what is meets a condition (see vitrine pages)"),
            OptionDescription("layout", "NAME", "region names of this layout, not of the guest's own"),
            OptionDescription("accessed", nil, "accessed and dirty bits count"),
            OptionDescription("count", "N", "end after N changes"),
            OptionDescription("for", "SECONDS", "end after that time"),
            OptionDescription("interval", "MS", "how often to read what nobody tells of, in milliseconds"),
            OptionDescription(
                "time", "since|utc", "seconds since the beginning, or the time of day; since if not given"),
        ],
        formats: forms,
        examples: [
            ("vitrine watch a", "every change, until Ctrl-C"),
            ("vitrine watch a --count 1 --filter wx", "wait for a page that may be written and executed"),
            ("vitrine watch qmp:/tmp/qmp.sock --for 10 --json", "ten seconds of a QEMU, a JSON object a line"),
        ],
        run: { arguments, output in
            let loop = try WatchLoop(&arguments, output)
            return try loop.run()
        })
}

/// Waits for changes and prints them.
private final class WatchLoop {
    private let target: any Target
    private let output: Output
    private let watcher: TableWatcher
    private var printer: WatchPrinter
    private let signals: SignalReader
    private let started = monotonicNanoseconds()
    private let end: UInt64?
    private let countLimit: Int
    /// As given; nil: by what reading costs.
    private let interval: UInt64?
    private let followsRoot: Bool
    /// What the monitor tells of, if it does.
    private let arena: ClosedRange<GPA>?
    private var nextReading: UInt64 = .max
    private var lastReadingTook: UInt64 = 0

    init(_ arguments: inout Arguments, _ output: Output) throws {
        var options = WatchOptions()
        let form = try InspectionVerbs.form(arguments)
        options.countsAccessed = arguments.flag("accessed")
        if let text = arguments.value("range") { options.range = try InspectionVerbs.range(text) }
        options.filter = try InspectionVerbs.filter(arguments)
        let seconds = try arguments.seconds("for")
        countLimit = try arguments.number("count", in: 1...Int(Int32.max)) ?? .max
        interval = try arguments.number("interval", in: 1...3_600_000).map { UInt64($0) * 1_000_000 }
        let clock: WatchClock
        if let text = arguments.value("time") {
            guard let known = WatchClock(rawValue: text) else {
                throw UsageError("--time \(text): the times are since and utc")
            }
            clock = known
        } else {
            clock = .since
        }
        let name = try arguments.operand("TARGET")
        try arguments.end()
        self.output = output
        // Before anything is watched: Ctrl-C then ends it as it should.
        signals = try SignalReader([SIGINT, SIGTERM, SIGHUP])
        end = seconds.map { [started] in started &+ UInt64($0 * 1e9) }
        target = try Targets.open(name)
        guard target.isLive else {
            throw CommandError(.unable, "'\(name)' does not change; vitrine diff compares it with another target")
        }
        followsRoot = arguments.value("root") == nil
        let vcpu = try arguments.number("vcpu", in: 0...max(0, target.vcpuCount - 1)) ?? 0
        if followsRoot { options.followedVCPU = vcpu }
        if options.filter != nil { options.memoryTypes = try InspectionVerbs.memoryTypes(of: target, vcpu: vcpu) }
        // First the log, then the first look: nothing falls between.
        arena = try (target as? OwnGuest)?.watchTables(vcpu: followsRoot ? vcpu : nil)
        let subject = try InspectionVerbs.subject(arguments, target: target)
        let begun = monotonicNanoseconds()
        watcher = try TableWatcher(subject, of: target, options: options)
        if arena == nil { lastReadingTook = monotonicNanoseconds() - begun }
        try target.checkReads()
        printer = WatchPrinter(form: form, clock: clock, showsAccessed: options.countsAccessed)
        planReading()
        printer.begin(watcher, method: method, at: moment)
        try output.write(bytes: printer.take())
        try output.flush()
    }

    private var moment: WatchMoment {
        WatchMoment(
            microseconds: (monotonicNanoseconds() - started) / 1000, wallMicroseconds: wallMicroseconds())
    }

    /// How changes are noticed.
    private var method: String {
        let read = pagesToRead.count
        guard arena != nil else { return "read again every \(intervalNow / 1_000_000) ms" }
        if read == 0 { return "by the dirty log of the page-table arena" }
        return "by the dirty log of the page-table arena; \(read) outside it are read again every "
            + "\(intervalNow / 1_000_000) ms"
    }

    // MARK: Reading what nobody tells of

    private var pagesToRead: [GPA] {
        guard let arena else { return watcher.pages }
        return watcher.pages.filter { !arena.contains($0) }
    }

    /// In nanoseconds. Reading takes at most a fiftieth of the time.
    private var intervalNow: UInt64 {
        interval ?? max(arena == nil ? 100_000_000 : 5_000_000, lastReadingTook &* 50)
    }

    private func planReading() {
        nextReading =
            arena != nil && pagesToRead.isEmpty ? .max : monotonicNanoseconds() &+ intervalNow
    }

    private func readAgain() throws {
        let begun = monotonicNanoseconds()
        let now = moment
        if arena == nil { try watcher.lookAtRoot { note($0, now) } }
        try watcher.look(at: pagesToRead) { note($0, now) }
        lastReadingTook = monotonicNanoseconds() - begun
    }

    private var isFull: Bool { printer.count >= countLimit }

    /// Notes a finding of a look that began at `time`: what is found together has one time.
    private func note(_ finding: WatchFinding, _ time: WatchMoment) {
        if !isFull { printer.add(finding, at: time) }
    }

    // MARK: The loop

    func run() throws -> ExitStatus {
        do {
            while true {
                if isFull { return try finish("count") }
                if let end, monotonicNanoseconds() >= end { return try finish("time") }
                if try wait() { return try finish("interrupted") }
                if let reason = try takeNotices() {
                    _ = try finish(reason)
                    throw CommandError(.noTarget, "'\(target.name)' ended while it was watched (\(reason))")
                }
                if monotonicNanoseconds() >= nextReading {
                    try readAgain()
                    planReading()
                }
                // What was read of a target that went away in the middle is not printed.
                try target.checkReads()
                try output.write(bytes: printer.take())
                try output.flush()
            }
        } catch let error as TargetError {
            _ = printer.take()
            _ = try finish("it went away")
            throw error
        }
    }

    private func finish(_ reason: String) throws -> ExitStatus {
        printer.end(reason: reason, at: moment)
        try output.write(bytes: printer.take())
        try output.flush()
        return .success
    }

    /// Sleeps until there is something to do; true if a signal asks for the end.
    private func wait() throws -> Bool {
        var list = [
            pollfd(fd: signals.descriptor.rawValue, events: Int16(POLLIN), revents: 0),
            // A reader of ours that goes away ends the command.
            pollfd(fd: STDOUT_FILENO, events: 0, revents: 0),
        ]
        if let guest = target as? OwnGuest {
            list.append(pollfd(fd: guest.client.descriptor, events: Int16(POLLIN), revents: 0))
        }
        var timeout: Int32 = -1
        let deadline = min(nextReading, end ?? .max)
        if deadline != .max {
            let now = monotonicNanoseconds()
            timeout = deadline <= now ? 0 : Int32(clamping: (deadline - now + 999_999) / 1_000_000)
        }
        try waitForEvents(&list, milliseconds: timeout)
        if list[1].revents & Int16(POLLERR | POLLNVAL) != 0 { throw ClosedPipe() }
        return list[0].revents != 0 && signals.next() != nil
    }

    /// Looks at what the monitor told.
    ///
    /// - Returns: why the guest ended, if it did.
    private func takeNotices() throws -> String? {
        guard let guest = target as? OwnGuest else { return nil }
        var written: [GPA] = []
        var isAll = false
        var isRoot = false
        var ended: String?
        for notice in try guest.tableNotices() {
            switch notice {
            case .written(let pages): written += pages
            case .rootChanged: isRoot = true
            case .everything: isAll = true
            case .ended(let reason): ended = reason
            }
        }
        let now = moment
        if ended == nil, isRoot || isAll { try watcher.lookAtRoot { note($0, now) } }
        if isAll { written = watcher.pages }
        if !written.isEmpty { try watcher.look(at: written) { note($0, now) } }
        if !written.isEmpty || isRoot { planReadingIfNeeded() }
        return ended
    }

    /// Tables may have come outside the arena, or the last of those may have gone.
    private func planReadingIfNeeded() {
        let isNeeded = arena == nil || !pagesToRead.isEmpty
        if isNeeded != (nextReading != .max) { planReading() }
    }
}

// What `vitrine watch` prints: a line for each change, as text, JSON or CSV.

import Addresses
import JSON
import Layouts
import PageTables

/// How the time of a change is written.
public enum WatchClock: String, Sendable, CaseIterable {
    /// Seconds since the watch began.
    case since
    /// The time of day in UTC, RFC 3339.
    case utc
}

/// A moment of a watch.
public struct WatchMoment: Sendable {
    /// Microseconds since it began.
    public let microseconds: UInt64
    /// Microseconds since 1970.
    public let wallMicroseconds: UInt64

    /// A moment.
    public init(microseconds: UInt64, wallMicroseconds: UInt64) {
        self.microseconds = microseconds
        self.wallMicroseconds = wallMicroseconds
    }
}

/// Writes what a watch finds.
public struct WatchPrinter {
    private let form: ReportForm
    private let clock: WatchClock
    private let change: ChangeForm
    private var counts = ChangeCounts()
    private var buffer = TextBuffer()
    private var writer = JSONWriter()
    private var records = CSVWriter(header: ["microseconds", "utc", "event"] + ChangeForm.fieldNames)

    /// A printer; `showsAccessed` if accessed and dirty bits count.
    public init(form: ReportForm, clock: WatchClock, showsAccessed: Bool) {
        self.form = form
        self.clock = clock
        change = ChangeForm(showsAccessed: showsAccessed)
    }

    /// Changes written so far.
    public var count: Int { counts.total }

    /// What was written since the last time.
    public mutating func take() -> [UInt8] {
        switch form {
        case .text: return buffer.take()
        case .json: return writer.take()
        case .csv: return records.take()
        }
    }

    /// The first lines.
    ///
    /// - Parameter method: how changes are noticed, in a few words.
    public mutating func begin(_ watcher: TableWatcher, method: String, at moment: WatchMoment) {
        let leaves = watcher.leafCount
        if form == .csv { return }
        guard form == .text else {
            let subject = watcher.watched
            object("start", at: moment) { writer in
                writer.member("target", subject.name)
                writer.member("layout", subject.layout?.name)
                writer.member("root", hex: subject.root.rawValue)
                writer.member("mode", subject.format.name)
                writer.member("leaves", leaves)
                writer.member("tables", watcher.tableCount)
                writer.member("method", method)
            }
            return
        }
        buffer.line(watcher.heading)
        buffer.line("\(counted(leaves, "leaf", "leaves")) in \(counted(watcher.tableCount, "table")), \(method)")
        buffer.add(clock == .utc ? "time (UTC)" : "     time")
        buffer.tab(to: timeWidth)
        buffer.line(ChangeForm.heading)
    }

    private var timeWidth: Int { clock == .utc ? 28 : 12 }

    private mutating func time(_ moment: WatchMoment) {
        switch clock {
        case .since:
            let seconds = String(moment.microseconds / 1_000_000)
            let rest = String(moment.microseconds % 1_000_000)
            buffer.right("\(seconds).\(String(repeating: "0", count: 6 - rest.count))\(rest)", to: timeWidth - 2)
        case .utc: buffer.add(utcText(moment.wallMicroseconds))
        }
        buffer.tab(to: timeWidth)
    }

    private mutating func object(
        _ event: String, at moment: WatchMoment, _ body: (inout JSONWriter) -> Void
    ) {
        writer.object { writer in
            writer.member("schema", "vitrine.watch/1")
            writer.member("event", event)
            writer.member("microseconds", moment.microseconds)
            writer.member("utc", utcText(moment.wallMicroseconds))
            body(&writer)
        }
        writer.endLine()
    }

    /// A line about what was found.
    public mutating func add(_ finding: WatchFinding, at moment: WatchMoment) {
        if case .change(let found) = finding { counts.add(found) }
        switch form {
        case .text: line(finding, at: moment)
        case .json: object(finding, at: moment)
        case .csv: record(finding, at: moment)
        }
    }

    private mutating func line(_ finding: WatchFinding, at moment: WatchMoment) {
        time(moment)
        switch finding {
        case .change(let found): change.line(found, into: &buffer)
        case .root(let from, let to):
            func text(_ root: TableRoot?) -> String {
                root.map { "\($0.root.hex), \($0.format.name)" } ?? "none, paging is off"
            }
            buffer.line("root \(text(from)) -> \(text(to))")
        case .incomplete: buffer.line("incomplete: there was more than can be compared")
        }
    }

    private mutating func object(_ finding: WatchFinding, at moment: WatchMoment) {
        switch finding {
        case .change(let found):
            let change = change
            object("change", at: moment) { change.members(found, into: &$0) }
        case .root(let from, let to):
            object("root", at: moment) { writer in
                for (name, root) in [("from", from), ("to", to)] {
                    writer.key(name)
                    guard let root else {
                        writer.null()
                        continue
                    }
                    writer.object {
                        $0.member("root", hex: root.root.rawValue)
                        $0.member("mode", root.format.name)
                    }
                }
            }
        case .incomplete: object("incomplete", at: moment) { _ in }
        }
    }

    /// Of other tables, their roots stand where a change has its physical addresses.
    private mutating func record(_ finding: WatchFinding, at moment: WatchMoment) {
        records.field(moment.microseconds)
        records.field(utcText(moment.wallMicroseconds))
        switch finding {
        case .change(let found):
            records.field("change")
            change.fields(found, into: &records)
        case .root(let from, let to):
            records.field("root")
            for name in ChangeForm.fieldNames {
                let root = name == "from.gpa" ? from : name == "to.gpa" ? to : nil
                records.field(FieldValue(address: root?.root.rawValue))
            }
        case .incomplete:
            records.field("incomplete")
            for _ in ChangeForm.fieldNames { records.emptyField() }
        }
        records.endRecord()
    }

    /// The last line.
    ///
    /// - Parameter reason: `count`, `time`, `interrupted`, or why the guest is gone.
    public mutating func end(reason: String, at moment: WatchMoment) {
        switch form {
        case .text:
            time(moment)
            buffer.line("end (\(reason)): \(counts.text)")
        case .json:
            let counts = counts
            object("end", at: moment) { writer in
                writer.member("reason", reason)
                counts.members(into: &writer)
            }
        case .csv: break
        }
    }
}

/// `2026-11-21T12:08:03.123456Z`: microseconds since 1970 as RFC 3339 has them.
func utcText(_ microseconds: UInt64) -> String {
    func digits(_ number: UInt64, _ count: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, count - text.count)) + text
    }
    let seconds = microseconds / 1_000_000
    let day = seconds / 86400
    // The calendar repeats every 400 years, which are 146,097 days; years begin in March, so that the leap day is the last.
    let shifted = day + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let march = (5 * dayOfYear + 2) / 153
    let month = march < 10 ? march + 3 : march - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    let time = seconds % 86400
    return "\(digits(year, 4))-\(digits(month, 2))-\(digits(dayOfYear - (153 * march + 2) / 5 + 1, 2))T"
        + "\(digits(time / 3600, 2)):\(digits(time / 60 % 60, 2)):\(digits(time % 60, 2))."
        + "\(digits(microseconds % 1_000_000, 6))Z"
}

// vitrine map

import Glibc
import GuestMemory
import Inspection
import Options
import SecondStage
import SystemCalls
import Targets

extension InspectionVerbs {
    static let map = Verb(
        name: "map", summary: "the picture: VA, PA, host VA and host PA rows with the arrows between them",
        usage: "TARGET [options]",
        details: """
            Draws the double mapping of a live guest in rows: the regions of its layout with what is mapped there, the
            physical addresses behind, the memory slots in the process that runs it, and the host's memory behind those.
            Boxes are not to scale in text. svg draws ranges to scale, and html is a page to zoom, search and filter in;
            both are one file that needs nothing else.
            """,
        options: tableOptions + [
            OptionDescription("layout", "NAME", "regions of this layout, not of the guest's own"),
            OptionDescription("ascii", nil, "only ASCII characters"),
        ],
        formats: forms + [.svg, .html],
        examples: [
            ("vitrine map a", "the picture of the guest as it is now"),
            ("vitrine map a --stage B", "as it was at boot stage B"),
        ],
        run: { arguments, output in
            let format = try arguments.format(forms + [.svg, .html])
            let name = try arguments.operand("TARGET")
            try arguments.end()
            let target = try Targets.open(name)
            let subject = try subject(arguments, target: target)
            if format == .svg || format == .html {
                try drawing(of: subject, target: target, options: PagesOptions(), as: format, output)
                return .success
            }
            // Without the right to see it the picture has three rows.
            let backing = backing(of: target)
            switch format {
            case .json: try output.write(bytes: mapJSON(subject, pid: target.pid, backing: backing))
            case .csv: try output.write(bytes: mapCSV(subject, backing: backing))
            default:
                try output.write(
                    mapText(
                        subject, pid: target.pid, ascii: arguments.flag("ascii"), backing: backing,
                        isColoured: output.isColoured))
            }
            return .success
        })

    /// What the host has behind the slots; nil without the right to see it, or where there is no process.
    static func backing(of target: any Target) -> BackingPages? {
        guard target.pid > 0, let reader = try? BackingReader(process: target.pid) else { return nil }
        return try? reader.read(target.slots.slots)
    }

    /// Writes the picture of tables as SVG or HTML.
    ///
    /// - Parameter pause: of the target's vCPUs, which ends when everything is read.
    static func drawing(
        of subject: Subject, target: any Target, options: PagesOptions, pause: Pause? = nil, as format: OutputFormat,
        _ output: Output
    ) throws {
        var drawing = Drawing(subject, options: options, pid: target.pid, backing: backing(of: target))
        drawing.pausedMicroseconds = pause?.end()
        drawing.made = utcTime()
        try target.checkReads()
        try output.write(bytes: format == .svg ? drawing.svg() : drawing.html())
    }

    /// The time as people write it: `2026-11-21 12:00:00 UTC`.
    private static func utcTime() -> String {
        var seconds = time_t(wallMicroseconds() / 1_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) UTC"
    }
}

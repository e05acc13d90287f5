// vitrine aliases

import Addresses
import Inspection
import Options
import PageTables
import Targets

extension InspectionVerbs {
    static let aliases = Verb(
        name: "aliases", summary: "every VA that reaches the same physical page",
        usage: "TARGET pa:PA|va:VA [options]",
        details: """
            pa:PA is a guest physical address, va:VA the physical address behind a virtual one; its page of 4 KiB is looked for.
            pa:A-B is a range of physical addresses, va:A-B what is behind a range of virtual ones.
            Addresses that differ in one digit, or that follow each other at equal distances, are one line:
            0xffff[89a]000_0020_0000 stands for three, 0x10000+n*0x1000, n<512 for 512.
            """,
        options: tableOptions + [
            OptionDescription("layout", "NAME", "region names of this layout"),
            OptionDescription("limit", "N", "JSON lists at most N addresses one by one, 10000 if not given"),
        ],
        formats: [.text, .json],
        examples: [
            ("vitrine aliases a pa:0x200000", "where the kernel's first page can be seen"),
            ("vitrine aliases a va:0xffff900000200000", "the other names of that address"),
            ("vitrine aliases a pa:0x200000-0x2fffff --json", "the same of a MiB, for a program"),
        ],
        run: { arguments, output in
            let form = try form(arguments)
            let limit = try arguments.number("limit", in: 0...10_000_000) ?? 10_000
            let name = try arguments.operand("TARGET")
            let what = try arguments.operand("pa:PA or va:VA")
            try arguments.end()
            let target = try Targets.open(name)
            let subject = try subject(arguments, target: target)
            let report = aliasesReport(
                of: try physicalRanges(what, subject: subject), subject: subject, form: form, limit: limit)
            try target.checkReads()
            try output.write(bytes: report.text)
            return report.count == 0 ? .fault : .success
        })

    /// More pieces behind a range of virtual addresses than anyone looks at.
    private static let rangeLimit = 1 << 16

    /// `pa:PA`, `pa:A-B`, `va:VA` or `va:A-B`, as physical ranges.
    private static func physicalRanges(_ text: String, subject: Subject) throws -> [ClosedRange<GPA>] {
        let isVirtual = text.hasPrefix("va:")
        guard isVirtual || text.hasPrefix("pa:") else {
            throw UsageError("'\(text)': pa:PA or va:VA is needed, as pa:0x200000")
        }
        let parts = text.dropFirst(3).split(separator: "-", omittingEmptySubsequences: false)
        let addresses = parts.compactMap { parseHexadecimal($0) }
        guard addresses.count == parts.count, parts.count == 1 || parts.count == 2, let first = addresses.first,
            let last = addresses.last
        else {
            throw UsageError(
                "'\(text)': \(text.prefix(3))A or \(text.prefix(3))A-B with hexadecimal addresses is needed")
        }
        guard parts.count == 1 || first <= last else {
            throw UsageError("'\(text)': the first address is above the last")
        }
        if !isVirtual { return parts.count == 2 ? [GPA(first)...GPA(last)] : [page(GPA(first))] }
        if parts.count == 1 {
            let way = AddressWay(GVA(first), in: subject, pageMap: nil)
            guard let gpa = way.mapping?.gpa else {
                let problem = way.problem(format: subject.format) ?? "not mapped"
                throw CommandError(way.status == "non-canonical" ? .usage : .fault, "\(GVA(first).hex): \(problem)")
            }
            return [page(gpa)]
        }
        let ranges = subject.physicalRanges(behind: GVA(first)...GVA(last))
        guard !ranges.isEmpty else { throw CommandError(.fault, "\(text): nothing is mapped there") }
        guard ranges.count <= rangeLimit else {
            throw UsageError("\(text): \(ranges.count) physical ranges are behind it; a smaller range is needed")
        }
        return ranges
    }

    private static func page(_ gpa: GPA) -> ClosedRange<GPA> {
        let page = gpa.alignedDown(to: 4096)
        return page...(page &+ 4095)
    }
}

// vitrine search

import Inspection
import Options
import PageTables
import SystemCalls
import Targets

extension InspectionVerbs {
    static let search = Verb(
        name: "search", summary: "bytes, text or integers in the memory behind the mappings",
        usage: "TARGET PATTERN [options]",
        details: """
            Looks through the RAM behind the mappings that --range and --filter choose; a page that is mapped several times is
            read once. What the guest never wrote is left out. A pattern that crosses from one page into the next one is found
            where the two follow each other virtually. Status 1 if nothing matches.

            PATTERN:
            """ + "\n" + SearchPattern.help + "\n\nFilters are those of 'vitrine pages':\n" + RangeFilter.help,
        options: tableOptions + [
            OptionDescription("range", "A-B", "virtual addresses from A to B only"),
            OptionDescription("filter", "EXPR", "only behind mappings that meet a condition, as 'user and writable'"),
            OptionDescription("ignore-case", nil, "text matches in upper and lower case"),
            OptionDescription("align", "N", "only at physical addresses that are multiples of N"),
            OptionDescription("limit", "N", "show at most N matches, 1000 if not given; all are counted"),
            OptionDescription("layout", "NAME", "region names of this layout, not of the guest's own"),
        ],
        formats: forms,
        examples: [
            ("vitrine search a 'string: layout, '", "where a text is, and at how many virtual addresses"),
            ("vitrine search a u64:0xffff800000200000", "pointers to an address, wherever they are kept"),
            ("vitrine search a bytes:7f454c46 --filter 'not executable'", "ELF headers in data"),
            ("vitrine search core:dump.elf password --ignore-case --json", "the same in a dump, for a program"),
        ],
        run: { arguments, output in
            let form = try form(arguments)
            let bounds = try arguments.value("range").map { try range($0) }
            let filter = try filter(arguments)
            let limit = try arguments.number("limit", in: 1...10_000_000) ?? 1000
            let alignment = try arguments.number("align", in: 1...1 << 30)
            if let alignment, alignment & (alignment - 1) != 0 {
                throw UsageError("--align \(alignment): an alignment is a power of two")
            }
            let name = try arguments.operand("TARGET")
            let wanted = try arguments.operand("PATTERN")
            let pattern: SearchPattern
            do throws(PatternError) {
                pattern = try SearchPattern(parsing: wanted, ignoresCase: arguments.flag("ignore-case"))
            } catch {
                throw UsageError(error.description)
            }
            try arguments.end()
            let target = try Targets.open(name)
            let subject = try subject(arguments, target: target)
            let types = try filter == nil ? PageAttributeTable.atReset : memoryTypes(of: target)
            let start = monotonicNanoseconds()
            let result = searchMemory(
                of: subject, for: pattern, in: bounds, filter: filter, types: types,
                alignment: alignment.map(UInt64.init) ?? pattern.alignment, limit: limit, memory: target.memory)
            let seconds = Double(monotonicNanoseconds() - start) / 1e9
            try target.checkReads()
            switch form {
            case .text:
                try output.write(
                    bytes: searchText(result, subject: subject, seconds: seconds, isColoured: output.isColoured))
            case .json: try output.write(bytes: searchJSON(result, subject: subject, pattern: pattern))
            case .csv:
                try output.write(bytes: searchCSV(result))
                if UInt64(result.matches.count) < result.count {
                    complain("\(result.matches.count) of \(result.count) matches are shown: --limit N")
                }
            }
            return result.count > 0 ? .success : .fault
        })
}

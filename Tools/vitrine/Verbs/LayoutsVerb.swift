// vitrine layouts

import Inspection
import Layouts
import Options

extension InspectionVerbs {
    static let layouts = Verb(
        name: "layouts", summary: "the memory layouts themselves, as tables",
        usage: "[LAYOUT] [options]",
        options: [
            OptionDescription(
                "check", nil, "the arithmetic of the tables, and the rows of the source documents that were wrong")
        ],
        formats: forms,
        examples: [
            ("vitrine layouts", "the names of all layouts"),
            ("vitrine layouts osv", "its regions, software bits and numbers"),
            ("vitrine layouts --check", "every table checked, and what the documents had wrong"),
        ],
        run: { arguments, output in
            let form = try form(arguments)
            let name = arguments.optionalOperand()
            try arguments.end()
            var chosen = Layout.all
            if let name {
                guard let layout = Layout.named(name) else {
                    let names = Layout.all.map(\.name)
                    throw UsageError(
                        unknownName(name, among: names, what: "layout")
                            + " (there are: \(names.joined(separator: ", ")))")
                }
                chosen = [layout]
            }
            if arguments.flag("check") {
                switch form {
                case .text:
                    let (text, passed) = layoutsCheckText(chosen)
                    try output.write(text)
                    return passed ? .success : .fault
                case .json:
                    let (bytes, passed) = layoutsCheckJSON(chosen)
                    try output.write(bytes: bytes)
                    return passed ? .success : .fault
                case .csv:
                    let (bytes, passed) = layoutsCheckCSV(chosen)
                    try output.write(bytes: bytes)
                    return passed ? .success : .fault
                }
            }
            switch form {
            case .text: try output.write(layoutsText(chosen, inFull: name != nil, isColoured: output.isColoured))
            case .json: try output.write(bytes: layoutsJSON(chosen))
            case .csv: try output.write(bytes: layoutsCSV(chosen))
            }
            return .success
        })
}

// vitrine save-tables

import Cores
import Inspection
import Options
import SystemCalls
import Targets

extension InspectionVerbs {
    static let saveTables = Verb(
        name: "save-tables", summary: "a dump of the page tables that other verbs read back as core:FILE",
        usage: "TARGET FILE [options]",
        details: """
            Writes an ELF core with the page tables of every vCPU, the places of RAM, and the registers; no other memory.
            """,
        options: tableOptions.filter { $0.name != "stage" && $0.name != "vcpu" } + [
            OptionDescription("consistent", nil, "pause the vCPUs while the tables are read")
        ],
        formats: [.text],
        examples: [
            ("vitrine save-tables a before.core", "the tables as they are now"),
            ("vitrine pages core:before.core", "what they said"),
        ],
        run: { arguments, output in
            let name = try arguments.operand("TARGET")
            let path = try arguments.operand("FILE")
            try arguments.end()
            let target = try Targets.open(name)
            let pause = try arguments.flag("consistent") ? Pause(target) : nil
            var further: Subject?
            if arguments.value("root") != nil { further = try subject(arguments, target: target) }
            let dump = try CoreWriter(tablesOf: target, further: further.map { (format: $0.format, root: $0.root) })
            _ = pause?.end()
            let file = try ReplacedFile(path)
            try dump.write { (bytes) throws(Errno) in try file.descriptor.writeAll(bytes) }
            try file.commit()
            try output.write("\(path): \(dump.pages.count) pages of tables\n")
            return .success
        })
}

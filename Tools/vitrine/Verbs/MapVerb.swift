// vitrine map

import GuestMemory
import Inspection
import Options
import SecondStage
import Targets

extension InspectionVerbs {
    static let map = Verb(
        name: "map", summary: "the picture: VA, PA, host VA and host PA rows with the arrows between them",
        usage: "TARGET [options]",
        details: """
            Draws the double mapping of a live guest in rows: the regions of its layout with what is mapped there, the
            physical addresses behind, the memory slots in the process that runs it, and the host's memory behind those.
            Boxes are not to scale.
            """,
        options: tableOptions + [
            OptionDescription("layout", "NAME", "regions of this layout, not of the guest's own"),
            OptionDescription("ascii", nil, "only ASCII characters"),
        ],
        formats: [.text, .json],
        examples: [
            ("vitrine map a", "the picture of the guest as it is now"),
            ("vitrine map a --stage B", "as it was at boot stage B"),
        ],
        run: { arguments, output in
            let form = try form(arguments)
            let name = try arguments.operand("TARGET")
            try arguments.end()
            let target = try Targets.open(name)
            let subject = try subject(arguments, target: target)
            // Without the right to see it the picture has three rows.
            var backing: BackingPages?
            if target.pid > 0, var reader = try? BackingReader(process: target.pid) {
                backing = try? reader.read(target.slots.slots)
            }
            switch form {
            case .text:
                try output.write(
                    mapText(subject, pid: target.pid, ascii: arguments.flag("ascii"), backing: backing))
            case .json: try output.write(bytes: mapJSON(subject, pid: target.pid, backing: backing))
            }
            return .success
        })
}

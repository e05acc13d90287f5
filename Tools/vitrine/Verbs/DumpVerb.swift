// vitrine dump

import Addresses
import Cores
import Inspection
import Options
import SystemCalls
import Targets

extension InspectionVerbs {
    static let dump = Verb(
        name: "dump", summary: "a core of the whole memory that gdb and other verbs read",
        usage: "TARGET FILE [options]",
        details: """
            Writes an ELF core with all of RAM and the registers of every vCPU, in the form of QEMU's dump-guest-memory: gdb
            shows each vCPU as a thread, and every verb here reads it back as core:FILE. Pages of zeros are holes in FILE. The
            guest runs on meanwhile; with --consistent it stands still.
            """,
        options: [OptionDescription("consistent", nil, "pause the vCPUs while the memory is written")],
        formats: [.text],
        examples: [
            ("vitrine dump a a.core --consistent", "the memory of guest a as it was at one moment"),
            ("vitrine pages core:a.core", "its mappings then"),
            ("gdb vmlinux a.core", "a kernel with symbols, as it stood"),
        ],
        run: { arguments, output in
            let name = try arguments.operand("TARGET")
            let path = try arguments.operand("FILE")
            try arguments.end()
            let target = try Targets.open(name)
            if let core = target as? CoreTarget, !core.file.emptyRanges.isEmpty {
                throw CommandError(.unable, "'\(name)' has page tables only; a core of it is vitrine save-tables")
            }
            // What a guest's memory holds is its owner's business.
            let file = try ReplacedFile(path, mode: 0o600)
            let pause = try arguments.flag("consistent") ? Pause(target) : nil
            let (memory, size) = try MemoryCore.write(to: file.descriptor, target)
            _ = pause?.end()
            try file.commit()
            let shares = "\(formatSize(memory)) of memory that are not zeros, \(formatSize(size)) in all"
            try output.write("\(path): \(target.vcpuCount) vCPUs, \(shares)\n")
            return .success
        })
}

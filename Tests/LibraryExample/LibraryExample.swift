import Addresses
import PageTables
import Targets

/// Prints the page tables of a machine, and the way of its first mapped address.
@main struct LibraryExample {
    static func main() throws {
        guard CommandLine.arguments.count == 2 else { return print("library-example TARGET, as qmp:/run/vm.qmp") }
        // Whatever `vitrine` takes: a QEMU monitor, a core, a process with a VM, a guest of `vitrine run`.
        let target = try Targets.open(CommandLine.arguments[1])
        // The tables that vCPU 0 uses now; the machine runs on.
        let space = try target.addressSpace(vcpu: 0)
        print("\(space.format.name) tables, root \(space.root.hex), memory by \(target.memorySource)")
        let (runs, summary) = space.runs(in: target.memory)
        // Pages that could not be read are missing in the runs; this throws why, if there were any.
        try target.checkReads()
        for run in runs { print(run.va.hex, run.gpa.hex, run.size, run.repeatsPage, run.flags.letters) }
        print("\(summary.leaves) leaves in \(summary.tables.count) tables, \(summary.findings.count) findings")
        guard let first = runs.first else { return }
        for entry in space.translate(first.va, in: target.memory).entries {
            print("\(space.format.tableName(level: entry.level)) at \(entry.at.hex): \(GPA(entry.value).hex)")
        }
    }
}

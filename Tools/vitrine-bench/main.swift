// `vitrine-bench`: what Vitrine costs, each number beside its reference, measured by turns in one run.
//
// References: `vitrine-bench-floor`, a bare C program that makes the same system calls; QEMU's microvm with the same image.
// Release builds only; times are medians.
//
//   vitrine-bench [--quick] [GROUP]...       the groups of figures: see Benchmarks.groups

import Glibc

signal(SIGPIPE, SIG_IGN)
let words = CommandLine.arguments.dropFirst().filter { $0 != "--quick" }
if let unknown = words.first(where: { !Benchmarks.groups.contains($0) }) {
    explain(
        "vitrine-bench: \(unknown): the groups are \(Benchmarks.groups.joined(separator: ", ")); --quick measures less often"
    )
    exit(2)
}
var benchmarks = Benchmarks(quick: CommandLine.arguments.contains("--quick"), chosen: words)
benchmarks.measure()
exit(benchmarks.report() ? 0 : 1)

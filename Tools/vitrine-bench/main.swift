// `vitrine-bench`: what Vitrine costs, each number beside its reference, measured by turns in one run.
//
// References: `vitrine-bench-floor`, a bare C program that makes the same system calls; QEMU's microvm with the same image.
// Release builds only; times are medians.

import Glibc

signal(SIGPIPE, SIG_IGN)
var benchmarks = Benchmarks(quick: CommandLine.arguments.contains("--quick"))
benchmarks.measure()
exit(benchmarks.report() ? 0 : 1)

// `vitrine-qemu`: one process, one guest, as an emulator that libvirt manages through its QEMU driver (docs/libvirt.md).

import Glibc
import Monitor
import SystemCalls

signal(SIGPIPE, SIG_IGN)
if CommandLine.arguments.isEmpty {
    // Swift reads it from there; a guest without its options would be another guest.
    writeToStandardError("vitrine-qemu: the command line cannot be read (/proc/self/cmdline); is /proc mounted?\n")
    exit(1)
}
exit(QEMUProcess.run(Array(CommandLine.arguments.dropFirst())))

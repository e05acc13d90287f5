// `vitrine-qemu`: one process, one guest, as an emulator that libvirt manages through its QEMU driver (docs/libvirt.md).

import Glibc
import Monitor

signal(SIGPIPE, SIG_IGN)
exit(QEMUProcess.run(Array(CommandLine.arguments.dropFirst())))

// `vitrine-vmm`: one process, one guest. `vitrine run` starts it; its options are the same.

import Glibc
import Monitor
import SystemCalls

signal(SIGPIPE, SIG_IGN)

/// Tells whoever waits how the start went: `ok`, or an exit status and a message.
func tell(_ descriptor: Int32?, _ message: String) {
    guard let descriptor else { return }
    let file = FileDescriptor(owning: descriptor)
    try? file.writeAll(Array(message.utf8))
}

if CommandLine.arguments.isEmpty {
    // Swift reads it from there; a guest without its options would be another guest.
    writeToStandardError("vitrine: the command line cannot be read (/proc/self/cmdline); is /proc mounted?\n")
    exit(4)
}
let words = Array(CommandLine.arguments.dropFirst())
if words.contains("--help") || words.contains("--version") {
    print("vitrine-vmm 0.1.0: runs one guest. Its options are those of 'vitrine run' (see vitrine run --help).")
    exit(0)
}
let readyDescriptor = RunOptions.readyDescriptor(in: words)
do throws(MonitorError) {
    let options = try RunOptions(words: words)
    if options.isDetached { setsid() }
    let monitor = try GuestMonitor(options)
    tell(readyDescriptor, "ok\n")
    exit(monitor.run())
} catch {
    if readyDescriptor == nil { writeToStandardError("vitrine: \(error)\n") }
    tell(readyDescriptor, "\(error.exitStatus) \(error)\n")
    exit(error.exitStatus)
}

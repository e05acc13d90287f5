// Writes the filters of system calls of every kind of thread into a Swift file, when the project is built: to make them takes libseccomp
// most of a millisecond, which no guest has to wait for at its start.
//
//     MakeFilters FILE

import CallLists
import Glibc
import SystemCalls

let lists: [(name: String, calls: [AllowedCall])] = [
    ("vcpu", AllowedCall.list(of: .vcpu)), ("watch", AllowedCall.list(of: .watch)),
    ("control", AllowedCall.list(of: .control)), ("transfer", AllowedCall.list(of: .transfer, opensFiles: false)),
    ("transferOpeningFiles", AllowedCall.list(of: .transfer, opensFiles: true)),
]
do {
    var text = """
        // Made by MakeFilters from the lists in Hypervisor/CallLists.

        /// Instructions of classic BPF, each as the 8 bytes of a struct sock_filter.
        enum MadeFilters {

        """
    for (name, calls) in lists {
        let words = try Filter(calls).program.map { "0x" + String($0, radix: 16) }
        text += "    static let \(name): [UInt64] = [\(words.joined(separator: ", "))]\n"
    }
    text += "}\n"
    guard CommandLine.arguments.count == 2 else { throw Errno(EINVAL, "usage: MakeFilters FILE") }
    let file = try FileDescriptor(open: CommandLine.arguments[1], O_WRONLY | O_CREAT | O_TRUNC)
    try file.writeAll(Array(text.utf8))
} catch {
    writeToStandardError("MakeFilters: \(error)\n")
    exit(1)
}

// Runs a command that may do less than root.

import CSystem
import Glibc

/// Gives up capabilities for good (prctl(2), PR_CAPBSET_DROP) and becomes the command: root gets back by execve(2) only what is in
/// the bounding set.
func runWithout(_ list: String, _ command: [String]) -> Never {
    for word in list.split(separator: ",") {
        guard let capability = UInt32(word), capability < 64 else { leave(2, usage) }
        guard csystem_drop_capability(capability) == 0 else {
            leave(4, "capability \(capability) cannot be given up")
        }
    }
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    arguments.append(nil)
    execvp(command[0], &arguments)
    leave(4, "\(command[0]) does not run")
}

// What a guest's process gives up, and what it keeps for what its options ask of it.

import Glibc
import GuestFolders
import JSON
import Machine
import Sandbox
import SystemCalls

extension GuestMonitor {
    /// Begins to confine the process, and makes the machine's threads with that.
    ///
    /// - Parameter reach: folders in which something remains to be done by name, besides what the options ask for.
    static func beginConfinement(
        _ options: RunOptions, _ reach: [Reach], _ folder: GuestPaths?, opensFiles: Bool, _ threads: MachineThreads
    ) throws(MonitorError) -> Sandbox {
        let all = reach + GuestMonitor.reach(options, folder)
        do throws(Errno) {
            return try Sandbox(options.sandbox, opensFiles: opensFiles, reach: all, transfer: threads.transfer) {
                role throws(Errno) in try threads.prepare(role)
            }
        } catch { throw GuestMonitor.unconfined(error) }
    }

    /// Confines this thread, the last one, before the guest's first instruction.
    static func enter(_ sandbox: Sandbox) throws(MonitorError) {
        warmUp()
        do throws(Errno) { try sandbox.enterControl() } catch { throw GuestMonitor.unconfined(error) }
    }

    private static func unconfined(_ error: Errno) -> MonitorError {
        .unable("the guest's process cannot be confined: \(error); --sandbox off runs it without")
    }

    /// Where something remains to be done by name: the guest's folder goes at the end, a console's socket as well, and a core
    /// may have to be written.
    static func reach(_ options: RunOptions, _ folder: GuestPaths?) -> [Reach] {
        var reach: [Reach] = []
        if let folder {
            reach.append(Reach(folder.folder, .removeFiles))
            reach.append(Reach(Reach.folder(of: folder.folder), .removeFolders))
        }
        if case .listen(let path) = options.console { reach.append(Reach(Reach.folder(of: path), .removeFiles)) }
        if let path = options.panicCore {
            let target = Files.resolved(path) ?? path
            reach.append(Reach(Reach.folder(of: target), .replaceFiles))
        }
        return reach
    }

    /// Lets libraries do what they do once, by opening files: seeds of hash tables, the time zone.
    private static func warmUp() {
        _ = try? JSON.parse(Array("{\"a\":1}".utf8))
        _ = 0.hashValue
        _ = ComplaintStyle.time(0)
    }

    /// The confinement as clients see it.
    var sandboxJSON: JSON {
        guard let sandbox else { return ["mode": "off"] }
        return [
            "mode": .string(sandbox.mode.rawValue), "landlock-abi": JSON(sandbox.landlock),
            "no-new-privileges": confinement.map { .bool($0.hasNoNewPrivileges) } ?? .null,
            "seccomp": confinement?.seccomp.map { JSON($0) } ?? .null,
            "capabilities": confinement.map { .hex($0.capabilities) } ?? .null,
            "capability-bounding-set": confinement.map { .hex($0.boundingSet) } ?? .null,
        ]
    }

    /// Does what needs a file to be opened, on the thread that may.
    func onTransferThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) throws(QMPError) -> Value {
        do throws(Errno) { return try machine.threads.transfer.run(body) } catch { throw .generic(error.description) }
    }
}

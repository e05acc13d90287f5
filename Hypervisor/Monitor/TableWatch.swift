// Who watches the page tables: the dirty log of the arena is kept while there is anybody, and each is told everything.

import Addresses
import GuestMemory
import JSON
import Machine
import SystemCalls

/// The connections that watch the guest's page tables. Lives on the control thread.
final class TableWatch {
    /// One of them.
    private struct Watcher {
        /// The vCPU whose root it follows, if any.
        let vcpu: Int?
        /// What it has not been told yet: pages of the arena, a bit each.
        var pages: [UInt64] = []
        var isRootChanged = false
        var failure: String?
    }

    private var watchers: [Int: Watcher] = [:]
    private var log: TableLog?

    /// Adds a connection, or changes whose root it follows.
    ///
    /// - Returns: the log's slot, or nil if the machine has no page-table arena.
    func add(
        _ connection: Int, vcpu: Int?, machine: Machine, notify: @escaping @Sendable () -> Void
    ) throws(MachineError) -> (gpa: GPA, size: UInt64)? {
        if log == nil { log = try machine.logTables(notify: notify) }
        guard let log else { return nil }
        watchers[connection] = Watcher(vcpu: vcpu)
        log.follow(vcpus: Set(watchers.values.compactMap(\.vcpu)))
        return (log.slot.guestPhysicalAddress, log.slot.size)
    }

    /// Tells each watcher what was found since it was last told. One that reads slowly is told later, and then everything.
    /// With the last watcher the log ends, however that one went away.
    func tell(_ server: QMPServer) {
        guard let log else { return }
        let findings = log.take()
        for (id, known) in watchers {
            guard let connection = server.connections.first(where: { $0.id == id }) else {
                watchers[id] = nil
                continue
            }
            var watcher = known
            if watcher.pages.isEmpty {
                watcher.pages = findings.pages
            } else {
                for (index, word) in findings.pages.enumerated() { watcher.pages[index] |= word }
            }
            if let vcpu = watcher.vcpu, findings.vcpus.contains(vcpu) { watcher.isRootChanged = true }
            if let failure = findings.failure { watcher.failure = failure }
            if !connection.hasOutput { tell(&watcher, connection, slot: log.slot.guestPhysicalAddress) }
            watchers[id] = watcher
        }
        if watchers.isEmpty { end() }
    }

    private func tell(_ watcher: inout Watcher, _ connection: QMPConnection, slot: GPA) {
        guard !watcher.pages.isEmpty || watcher.isRootChanged || watcher.failure != nil else { return }
        connection.send(
            line: QMPMessage.event(
                "X_VITRINE_TABLES",
                [
                    "written": .array(TableWatch.ranges(of: watcher.pages, from: slot)),
                    "root-changed": .bool(watcher.isRootChanged),
                    "failure": watcher.failure.map { .string($0) } ?? .null,
                ]))
        watcher.pages = []
        watcher.isRootChanged = false
        watcher.failure = nil
    }

    /// Runs of set bits as addresses and sizes.
    private static func ranges(of pages: [UInt64], from slot: GPA) -> [JSON] {
        var ranges: [JSON] = []
        var start: Int?
        for page in 0...pages.count * 64 {
            let isSet = page < pages.count * 64 && pages[page / 64] >> UInt64(page % 64) & 1 != 0
            if isSet, start == nil { start = page }
            if !isSet, let first = start {
                ranges.append([
                    "gpa": .hex((slot &+ UInt64(first) * 4096).rawValue), "size": JSON(UInt64(page - first) * 4096),
                ])
                start = nil
            }
        }
        return ranges
    }

    /// Ends the log.
    func end() {
        log?.stop()
        log = nil
        watchers = [:]
    }
}

extension GuestMonitor {
    /// Tells a connection from now on which page tables were written (event `X_VITRINE_TABLES`).
    func watchTables(vcpu: Int?, _ connection: QMPConnection) throws(QMPError) -> QMPResult {
        let queue = queue
        do throws(MachineError) {
            let arena = try tableWatch.add(connection.id, vcpu: vcpu, machine: machine) { queue.wake.signal() }
            return .value(["arena": arena.map { ["gpa": .hex($0.gpa.rawValue), "size": JSON($0.size)] } ?? .null])
        } catch {
            throw .generic("the guest's page tables cannot be watched: \(error)")
        }
    }
}

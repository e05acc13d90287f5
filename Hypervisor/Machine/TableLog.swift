// Which page tables the guest writes: the dirty log of the arena's slot, kept only while somebody watches.
//
//     no vCPU runs   the thread waits for one to be switched in: no timer, no cost
//     one runs       the log is fetched (KVM_GET_DIRTY_LOG) when it sleeps again, and every 7 ms until then
//
// The log is consumed by reading, so one thread reads it for all who watch. Where the kernel does not report switches
// it is fetched every 7 ms always.

import Addresses
import Glibc
import GuestMemory
import KVM
import Synchronization
import SystemCalls

/// The dirty log of the page-table arena.
public final class TableLog: Sendable {
    /// What was found and not yet taken.
    public struct Findings: Sendable {
        /// A bit a page of the slot, the lowest first; empty: no page was written.
        public var pages: [UInt64] = []
        /// The vCPUs whose paging registers changed.
        public var vcpus: Set<Int> = []
        /// Whether the log cannot be read any more, and why.
        public var failure: String?

        /// Whether there is nothing.
        public var isEmpty: Bool { pages.isEmpty && vcpus.isEmpty && failure == nil }
    }

    /// How long a write to a table stays unnoticed at most, in milliseconds.
    static let interval: Int32 = 7
    /// How often paging registers are looked at, in nanoseconds: that takes a kick of the vCPU.
    private static let registerInterval: UInt64 = 500_000_000

    /// The arena's slot.
    public let slot: MemorySlot
    private let machine: Machine
    private let notify: @Sendable () -> Void
    private let stopping: EventCounter
    private let findings = Mutex(Findings())
    private let followed = Mutex<[Int: [UInt64]]>([:])
    private let isRunning = Atomic(false)

    /// Begins to log. `notify` is called on a thread of the log's own when there is something to take.
    ///
    /// - Returns: nil if the machine has no page-table arena.
    init?(_ machine: Machine, notify: @escaping @Sendable () -> Void) throws(MachineError) {
        guard let slot = machine.slots.slots.first(where: { $0.name == "arena" }) else { return nil }
        self.slot = slot
        self.machine = machine
        self.notify = notify
        do throws(Errno) { stopping = try EventCounter() } catch { throw .call(error) }
        do throws(KVMError) {
            try machine.virtualMachine.setSlot(slot, logDirtyPages: true)
        } catch {
            throw .kvm(error)
        }
        do throws(Errno) {
            try machine.threads.tableLog.begin { [self] in run() }
            isRunning.store(true, ordering: .sequentiallyConsistent)
        } catch {
            try? machine.virtualMachine.setSlot(slot)
            throw .call(error)
        }
    }

    /// Takes what was found since the last time.
    public func take() -> Findings {
        findings.withLock { findings in
            defer { findings = Findings() }
            return findings
        }
    }

    /// Whose paging registers are looked at as well, now and then.
    public func follow(vcpus: Set<Int>) {
        followed.withLock { known in known = known.filter { vcpus.contains($0.key) } }
        for vcpu in vcpus where followed.withLock({ $0[vcpu] == nil }) {
            let registers = pagingRegisters(vcpu)
            followed.withLock { $0[vcpu] = registers }
        }
    }

    /// Ends logging; returns when the thread has ended.
    public func stop() {
        stopping.signal()
        guard isRunning.exchange(false, ordering: .sequentiallyConsistent) else { return }
        machine.threads.tableLog.wait()
        try? machine.virtualMachine.setSlot(slot)
    }

    private func pagingRegisters(_ vcpu: Int) -> [UInt64] {
        guard let registers = try? machine.registers(vcpu: vcpu) else { return [] }
        return [registers.cr0, registers.cr3, registers.cr4, registers.efer]
    }

    // MARK: The thread

    private func run() {
        let switches = watchThreads()
        let interval = UInt64(TableLog.interval) * 1_000_000
        var fetched = monotonicNanoseconds()
        var lookedAtRegisters = fetched
        // Where nothing is reported, vCPUs always count as running.
        var isRunning = true
        var hasRun = false
        while true {
            guard var rest = wait(for: switches, milliseconds: isRunning ? TableLog.interval : -1) else { return }
            let since = monotonicNanoseconds() &- fetched
            if since < interval {
                // Not more often, however often vCPUs are switched.
                guard wait(for: [], milliseconds: Int32((interval - since + 999_999) / 1_000_000)) != nil else {
                    return
                }
                rest = true
            }
            // First who ran, then what was written: a vCPU that is switched in from now on wakes this thread.
            let wasRunning = isRunning
            isRunning = switches.isEmpty
            var isReported = switches.isEmpty
            for one in switches {
                if one.update() { isReported = true }
                if one.isRunning { isRunning = true }
            }
            // One has just begun to run: what it does is fetched when it sleeps again, or after the interval.
            if isRunning && !wasRunning && !rest { continue }
            fetch()
            fetched = monotonicNanoseconds()
            // What the kicks of the last look brought about is no reason for the next.
            if isReported && fetched &- lookedAtRegisters > 2 * interval { hasRun = true }
            if hasRun, fetched &- lookedAtRegisters >= TableLog.registerInterval {
                lookAtRegisters()
                lookedAtRegisters = monotonicNanoseconds()
                hasRun = false
            }
        }
    }

    /// Waits until a thread is switched in or out.
    ///
    /// - Returns: whether the time is over without that; nil if the log is to end.
    private func wait(for switches: [ThreadSwitches], milliseconds: Int32) -> Bool? {
        var list = [pollfd(fd: stopping.descriptor.rawValue, events: Int16(POLLIN), revents: 0)]
        for one in switches {
            list.append(pollfd(fd: one.descriptor.rawValue, events: Int16(POLLIN), revents: 0))
        }
        do throws(Errno) {
            let ready = try waitForEvents(&list, milliseconds: milliseconds)
            return list[0].revents == 0 ? ready == 0 : nil
        } catch {
            fail(error.description)
            return nil
        }
    }

    /// Reports of all vCPU threads, or none if one of them cannot be had.
    private func watchThreads() -> [ThreadSwitches] {
        var switches: [ThreadSwitches] = []
        for thread in machine.threadIDs {
            guard thread != 0, let one = try? ThreadSwitches(thread: thread) else { return [] }
            switches.append(one)
        }
        // Of a vCPU that sleeps it is known when it has woken once.
        for thread in machine.threads.vcpus { thread.kick() }
        return switches
    }

    private func fetch() {
        do throws(KVMError) {
            let pages = try machine.virtualMachine.takeDirtyLog(slot)
            guard pages.contains(where: { $0 != 0 }) else { return }
            findings.withLock { findings in
                if findings.pages.isEmpty {
                    findings.pages = pages
                } else {
                    for (index, word) in pages.enumerated() { findings.pages[index] |= word }
                }
            }
            notify()
        } catch {
            fail(error.description)
        }
    }

    private func fail(_ reason: String) {
        findings.withLock { $0.failure = reason }
        notify()
    }

    private func lookAtRegisters() {
        let known = followed.withLock { $0 }
        for (vcpu, before) in known {
            let now = pagingRegisters(vcpu)
            guard !now.isEmpty, now != before else { continue }
            followed.withLock { if $0[vcpu] != nil { $0[vcpu] = now } }
            _ = findings.withLock { $0.vcpus.insert(vcpu) }
            notify()
        }
    }
}

extension Machine {
    /// Begins to log which page tables the guest writes; see `TableLog`. Nil if there is no page-table arena. `stop()` ends it.
    public func logTables(notify: @escaping @Sendable () -> Void) throws(MachineError) -> TableLog? {
        try TableLog(self, notify: notify)
    }
}

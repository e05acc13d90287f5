// A guest on its way: saved by `migrate`, or filled by `migrate-incoming`, on a thread of its own (`MachineThreads.transfer`).
//
//     control thread --start--> transfer's thread: Machine.save, Machine.fill
//                   <--wake---  (done)                              query-migrate asks how far it is

import GuestMemory
import JSON
import Machine
import SavedGuests
import Synchronization
import SystemCalls

/// A transfer and what became of the last one. Lives on the control thread.
final class Transfer {
    /// Which way.
    enum Direction { case outgoing, incoming }

    /// What both threads know.
    private struct Shared {
        var isDone = false
        var failure: SavedGuestError?
        var ram: UInt64 = 0
        /// What was read of an incoming guest.
        var incoming: (GuestDescription, Section)?
    }

    /// A transfer that runs, or ran last.
    private struct Run {
        let direction: Direction
        /// nil once it is over: whoever reads a pipe waits for its end.
        var stream: TransferStream?
        /// Bytes that went through it by then.
        var transferred: UInt64 = 0
        let started: UInt64
        let shared: Guarded<Shared>
        /// nil once its end was seen.
        var thread: TaskThread?
        var ended: UInt64?
        var outcome: String
        var failure: String?
    }

    private var run: Run?
    /// Bytes a second that the next transfer may move; 0: any.
    var bandwidth: UInt64 = 0 {
        didSet { run?.stream?.limit.store(bandwidth, ordering: .relaxed) }
    }

    /// Whether one is under way.
    var isActive: Bool { run?.thread != nil }
    /// Whether the guest was saved and did not go on since.
    var isSaved = false

    /// How a transfer ended.
    enum Outcome {
        case saved
        case filled(GuestDescription, Section)
        case failed(Direction, SavedGuestError)
    }

    /// Begins to save.
    func save(
        _ machine: Machine, to descriptor: SharedDescriptor, _ description: GuestDescription, monitor: FieldWriter,
        wake: @escaping @Sendable () -> Void
    ) throws(QMPError) {
        try begin(machine, .outgoing, descriptor, wake) { (stream, shared) throws(SavedGuestError) in
            let writer = try SectionWriter { (bytes) throws(SavedGuestError) in try stream.write(bytes) }
            try machine.save(to: writer, description, monitor: monitor) { count in
                shared.withLock { $0.ram = count }
            }
        }
    }

    /// Begins to fill the machine.
    func fill(
        _ machine: Machine, from descriptor: SharedDescriptor, wake: @escaping @Sendable () -> Void
    ) throws(QMPError) {
        try begin(machine, .incoming, descriptor, wake) { (stream, shared) throws(SavedGuestError) in
            let reader = try SectionReader { (buffer) throws(SavedGuestError) in try stream.read(buffer) }
            let description = try GuestDescription(try reader.next())
            let section = try machine.fill(from: reader, description) { count in shared.withLock { $0.ram = count } }
            shared.withLock { $0.incoming = (description, section) }
        }
    }

    private func begin(
        _ machine: Machine, _ direction: Direction, _ descriptor: SharedDescriptor,
        _ wake: @escaping @Sendable () -> Void,
        _ body: @escaping @Sendable (TransferStream, Guarded<Shared>) throws(SavedGuestError) -> Void
    ) throws(QMPError) {
        guard !isActive else { throw .generic("a guest is being transferred already (query-migrate, migrate_cancel)") }
        let stream = TransferStream(descriptor)
        stream.limit.store(bandwidth, ordering: .relaxed)
        let shared = Guarded(Shared())
        do throws(Errno) {
            let thread = machine.threads.transfer
            try thread.begin {
                var failure: SavedGuestError?
                do throws(SavedGuestError) { try body(stream, shared) } catch { failure = error }
                shared.withLock {
                    $0.failure = failure
                    $0.isDone = true
                }
                wake()
            }
            run = Run(
                direction: direction, stream: stream, started: monotonicNanoseconds(), shared: shared, thread: thread,
                outcome: "active")
        } catch {
            throw .generic(error.description)
        }
    }

    /// The end of a transfer, told once; nil while one is under way, and when there is none.
    func takeOutcome() -> Outcome? {
        guard let current = run, let thread = current.thread, current.shared.withLock({ $0.isDone }) else { return nil }
        thread.wait()
        run?.thread = nil
        run?.transferred = current.stream?.count ?? 0
        run?.stream = nil
        run?.ended = monotonicNanoseconds()
        let (failure, incoming) = current.shared.withLock { ($0.failure, $0.incoming) }
        if let failure {
            var isCancelled = false
            if case .cancelled = failure { isCancelled = true }
            run?.outcome = isCancelled ? "cancelled" : "failed"
            run?.failure = failure.description
            return .failed(current.direction, failure)
        }
        run?.outcome = "completed"
        if let (description, section) = incoming { return .filled(description, section) }
        isSaved = true
        return .saved
    }

    /// Calls a transfer off; its end is told as any other.
    func cancel() { run?.stream?.cancel() }

    /// Calls a transfer off and waits for its thread: for the end of the process.
    func end() {
        run?.stream?.cancel()
        run?.thread?.wait()
        run?.thread = nil
    }

    /// The answer to `query-migrate` (QEMU's MigrationInfo).
    ///
    /// - Parameter memory: the guest's RAM in bytes.
    func status(memory: UInt64) -> JSON {
        guard let run else { return .object([]) }
        let now = run.ended ?? monotonicNanoseconds()
        let milliseconds = (now &- run.started) / 1_000_000
        let ram = run.shared.withLock { $0.ram }
        let transferred = run.stream?.count ?? run.transferred
        var members = [
            JSONMember("status", .string(run.outcome)),
            JSONMember("total-time", JSON(milliseconds)),
            JSONMember(
                "ram",
                [
                    "transferred": JSON(transferred),
                    "remaining": JSON(run.outcome == "completed" ? 0 : memory - min(memory, ram)),
                    "total": JSON(memory), "duplicate": 0, "normal": JSON(ram / 4096), "normal-bytes": JSON(ram),
                    "mbps": .real(Double(transferred) * 8 / 1e3 / Double(max(1, milliseconds))),
                ]),
        ]
        // The guest stands from the first byte to the last.
        if run.direction == .outgoing, run.ended != nil { members.append(JSONMember("downtime", JSON(milliseconds))) }
        if let failure = run.failure, run.outcome == "failed" {
            members.append(JSONMember("error-desc", .string(failure)))
        }
        return .object(members)
    }
}

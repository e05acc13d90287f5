// The threads of a machine, which may be there before it.

import SystemCalls

/// All threads that a machine ever has. They are made when they are needed, or before, each by its role.
public final class MachineThreads: Sendable {
    /// Moves memory into files and out of them, for whoever asks.
    public let transfer = TaskThread(name: "transfer", role: .transfer, stackSize: 1 << 20)
    let vcpus: [TaskThread]
    let haltWatch = TaskThread(name: "halt watch", role: .watch, stackSize: 64 << 10)
    let tableLog = TaskThread(name: "table log", role: .watch, stackSize: 128 << 10)

    /// Threads for so many vCPUs; none is made yet.
    public init(vcpus: Int) {
        // 256 KiB of address space; what is not used is not resident.
        self.vcpus = (0..<max(0, vcpus)).map { TaskThread(name: "vcpu \($0)", role: .vcpu, stackSize: 256 << 10) }
    }

    /// Makes the threads of a role.
    ///
    /// - Returns: how many there are.
    public func prepare(_ role: ThreadRole) throws(Errno) -> Int {
        let threads: [TaskThread]
        switch role {
        case .vcpu: threads = vcpus
        case .watch: threads = [haltWatch, tableLog]
        case .transfer: threads = [transfer]
        // The thread that made the machine.
        case .control: threads = []
        }
        for thread in threads { try thread.prepare() }
        return threads.count
    }

    /// Ends all of them, after what they are at.
    func end() {
        for thread in vcpus + [haltWatch, tableLog, transfer] { thread.end() }
    }
}

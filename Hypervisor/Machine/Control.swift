// What control threads ask of a machine.

import Addresses
import GuestMemory
import KVM
import Layouts
import Synchronization
import SystemCalls

extension Machine {
    /// Starts the vCPUs. With `stopAt` entry they stay parked, and the event `stopped` is told here.
    public func start() throws(MachineError) {
        let held = configuration.stopAt == .entry || isIncoming
        let begin: Bool = control.withLock { _ in
            core.withLock { core in
                guard !core.started, !core.terminate else { return false }
                core.started = true
                core.hasThreads = true
                core.park = held
                core.state = held ? .prelaunch : .running
                core.startTime = monotonicNanoseconds()
                return true
            }
        }
        guard begin else { throw .state(state, "the guest cannot be started") }
        do throws(Errno) {
            for index in vcpus.indices { try threads.vcpus[index].begin { self.run(index) } }
            try threads.haltWatch.begin { self.watchForHalt() }
        } catch {
            terminate()
            throw .call(error)
        }
        if held, !isIncoming { events(.stopped(at: .entry)) }
    }

    /// Parks every vCPU; returns when all are.
    public func pause() {
        control.withLock { _ in
            core.update { core in
                core.park = true
                if core.state == .running { core.state = .paused }
            }
            waitUntilParked()
        }
    }

    /// Lets the vCPUs go on; nothing happens after the guest's end.
    public func resume() {
        control.withLock { _ in
            core.update { core in
                guard core.started, core.state == .paused || core.state == .prelaunch else { return }
                if core.state == .prelaunch { core.startTime = monotonicNanoseconds() }
                core.state = .running
                core.awaitingReset = false
                core.park = false
            }
        }
    }

    /// Starts again from the first instruction: RAM zeroed, images loaded, devices as at first. Runs on unless it was
    /// paused by `pause()` or held.
    ///
    /// - Parameter parked: leave it paused in any case.
    public func reset(parked: Bool = false) throws(MachineError) {
        let failure: MachineError? = control.withLock { _ in
            let before = core.update { core in
                let before = (state: core.state, awaiting: core.awaitingReset, started: core.started)
                core.park = true
                return before
            }
            guard before.started else { return nil }
            waitUntilParked()
            do throws(MachineError) { try restore() } catch {
                core.update { $0.state = .crashed }
                return error
            }
            let instructions = instructionCount() ?? 0
            let runs = !parked && (before.awaiting || (before.state != .paused && before.state != .prelaunch))
            let held = configuration.stopAt == .entry
            core.update { core in
                core.stages = []
                core.snapshots = []
                core.awaitingReset = false
                core.haltTold = false
                core.instructionBase = instructions
                core.startTime = monotonicNanoseconds()
                core.state = runs && !held ? .running : held ? .prelaunch : .paused
                core.park = !runs || held
            }
            return nil
        }
        if let failure { throw failure }
    }

    /// Memory, devices and vCPUs as they were made. Every vCPU is parked.
    private func restore() throws(MachineError) {
        let loader = try loader.get()
        do { try ram.discard() } catch { throw .call(error) }
        do {
            ports.reset()
            try virtualMachine.setChipState(initialChips)
            for (vcpu, state) in zip(vcpus, initialVCPUs) {
                // An exit may still wait for its completion; it must not write into the new state.
                vcpu.completePending()
                try vcpu.setState(state)
            }
        } catch { throw .kvm(error) }
        try loader.load(into: ram)
        try restoreBreakpoints()
    }

    /// Asks the guest to power off (request port, IRQ 9). The guest may not listen; a kernel that does not yet is told again
    /// when it reports that it is ready.
    public func requestPowerOff() { requests.post(Contract.requestPowerOff) }

    /// Ends the vCPUs and joins their threads. The memory stays until the machine is released.
    public func terminate() {
        control.withLock { _ in
            core.update { $0.terminate = true }
            kickAll()
            threads.end()
            core.update { $0.hasThreads = false }
        }
    }

    func waitUntilParked() {
        guard core.withLock({ $0.started }) else { return }
        kickAll()
        core.wait { $0.allParked && $0.workers.allSatisfy(\.jobs.isEmpty) ? () : nil }
    }

    /// Runs a closure on a vCPU's thread, between two instructions of the guest, and gives its result.
    func onVCPU<Value>(
        _ index: Int, _ body: @escaping @Sendable (VCPU) throws(KVMError) -> Value
    ) throws(MachineError) -> Value {
        guard vcpus.indices.contains(index) else {
            throw .input("there is no vCPU \(index): the guest has \(vcpus.count), numbered from 0")
        }
        let slot = Guarded<Result<Value, KVMError>?>(nil)
        let job: @Sendable (VCPU) -> Void = { vcpu in
            let result: Result<Value, KVMError>
            do throws(KVMError) { result = .success(try body(vcpu)) } catch { result = .failure(error) }
            let boxed = Transfer(result)
            slot.update { $0 = boxed.value }
        }
        let queued = core.update { core in
            guard core.started, !core.workers[index].ended, !core.terminate else { return false }
            core.workers[index].jobs.append(job)
            return true
        }
        if queued {
            kick(index)
            // A thread that ends serves its jobs first: every job that was queued is done.
            let result = slot.wait { $0.map { Transfer($0) } }.value
            do throws(KVMError) { return try result.get() } catch { throw .kvm(error) }
        }
        let threads = core.withLock { $0.started && !$0.workers[index].ended }
        guard !threads else { throw .state(state, "vCPU \(index) is ending") }
        do throws(KVMError) { return try body(vcpus[index]) } catch { throw .kvm(error) }
    }

    /// The registers of a vCPU, taken between two instructions.
    public func registers(vcpu: Int) throws(MachineError) -> VCPURegisters {
        var registers = try onVCPU(vcpu) { vcpu throws(KVMError) in try vcpu.registers() }
        registers.maxPhysicalAddressBits = maxPhysicalAddressBits
        return registers
    }

    /// KVM's own translation of a virtual address on a vCPU; nil if it says not mapped.
    public func translate(_ address: GVA, vcpu: Int) throws(MachineError) -> KVMTranslation? {
        try onVCPU(vcpu) { vcpu throws(KVMError) in try vcpu.translate(address.rawValue) }
    }

    /// KVM's statistics by name: of one vCPU, or of the VM.
    public func statistics(vcpu: Int?) throws(MachineError) -> [(name: String, values: [UInt64])] {
        guard let vcpu else {
            do { return try virtualMachine.statistics().all() } catch { throw .kvm(error) }
        }
        guard vcpus.indices.contains(vcpu) else {
            throw .input("there is no vCPU \(vcpu): the guest has \(vcpus.count), numbered from 0")
        }
        guard let statistics = vcpuStatistics[vcpu] else {
            throw .host("KVM on this host has no statistics by file descriptor (KVM_CAP_BINARY_STATS_FD)")
        }
        return statistics.all()
    }
}

/// Carries a value from the thread that made it to the one that waits for it; the first no longer touches it.
struct Transfer<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

// What a port write makes of the machine. On the vCPU's thread.

import KVM
import Layouts
import SystemCalls

extension Machine {
    /// Does what a device asks for; false if the vCPU is not to run on.
    func perform(_ effect: DeviceEffect, _ vcpu: VCPU) -> Bool {
        switch effect {
        case .none: return true
        case .reset:
            requestReset()
            return false
        case .powerOff:
            finish(.shutdown, .shutdown)
            return false
        case .panic(let code):
            finish(.panicked, .panicked(code: code))
            return false
        case .programEnded(let value):
            // 24 bits, signed.
            let status = Int32(bitPattern: value << 8) >> 8
            events(.programEnded(number: UInt8(truncatingIfNeeded: value >> 24), status: status))
            return true
        case .stage(let value): return report(value, vcpu)
        }
    }

    /// Ends the run: every vCPU parks. Only the first end counts.
    func finish(_ state: MachineState, _ event: MachineEvent) {
        let first = core.update { core in
            guard core.state == .running || core.state == .paused else { return false }
            core.state = state
            core.park = true
            return true
        }
        kickAll()
        if first { events(event) }
    }

    /// Parks the vCPUs until `reset()`.
    func requestReset() {
        let first = core.update { core in
            guard core.state == .running, !core.awaitingReset else { return false }
            core.awaitingReset = true
            core.state = .paused
            core.park = true
            return true
        }
        kickAll()
        if first { events(.resetRequested) }
    }

    /// The guest reports a stage.
    private func report(_ value: UInt32, _ vcpu: VCPU) -> Bool {
        let stage: Stage
        switch value {
        case 0x41: stage = .A
        case 0x42: stage = .B
        case 0x43: stage = .C
        case 0x52: stage = .ready
        default:
            core.update { $0.protocolErrors &+= 1 }
            return true
        }
        let now = monotonicNanoseconds()
        let instructions = instructionCount()
        // Copied before the stage counts: who sees the stage finds its tables.
        let expected = core.withLock { ($0.stages.last?.stage.order ?? 0) + 1 }
        guard stage.order == expected else {
            core.update { $0.protocolErrors &+= 1 }
            return true
        }
        let snapshot = StageSnapshot(stage, cr3: (try? vcpu.registers().cr3) ?? 0, ram)
        let stops = configuration.stopAt == stage
        let report: StageReport? = core.update { core in
            // Two vCPUs may report the same stage at once; one is first.
            guard (core.stages.last?.stage.order ?? 0) + 1 == stage.order else {
                core.protocolErrors &+= 1
                return nil
            }
            let report = StageReport(
                stage: stage, instructions: instructions.map { $0 &- core.instructionBase },
                nanoseconds: now &- core.startTime)
            core.stages.append(report)
            core.snapshots.append(snapshot)
            if stops && core.state == .running {
                core.state = .paused
                core.park = true
            }
            return report
        }
        guard let report else { return true }
        events(.stage(report))
        if stage == .ready { requests.remind() }
        guard stops else { return true }
        kickAll()
        events(.stopped(at: stage))
        return false
    }

    /// Gets every vCPU to look at what is asked of it.
    func kickAll() {
        for index in vcpus.indices { kick(index) }
    }

    /// Gets a vCPU to look at what is asked of it. The question must have been put before.
    func kick(_ index: Int) {
        vcpus[index].requestExit()
        if core.withLock({ $0.hasThreads && !$0.workers[index].parked }) { threads.vcpus[index].kick() }
    }

    /// Instructions that KVM has emulated, summed over the vCPUs; nil if KVM does not count them.
    func instructionCount() -> UInt64? {
        var sum: UInt64 = 0
        for index in vcpus.indices {
            guard let value = vcpuStatistics[index]?.value("insn_emulation") else { return nil }
            sum &+= value
        }
        return sum
    }
}

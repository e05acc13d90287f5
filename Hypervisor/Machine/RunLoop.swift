// A vCPU's thread: run the guest, answer its exits.

import KVM
import Synchronization
import SystemCalls

extension Machine {
    /// The thread's whole life.
    func run(_ index: Int) {
        let vcpu = vcpus[index]
        var alive = serve(index, vcpu)
        while alive {
            switch stepsInTurn.load(ordering: .relaxed) ? enterInTurn(vcpu) : vcpu.enter() {
            case .io(let access): port(access, vcpu)
            case .mmio(let access): unbacked(access)
            case .interrupted: alive = serve(index, vcpu)
            case let exit:
                if !rare(exit, vcpu) { alive = serve(index, vcpu) }
            }
        }
        core.update { $0.workers[index].ended = true }
    }

    /// Does what was asked of the vCPU and waits while it is to be parked; false if the thread is to end.
    private func serve(_ index: Int, _ vcpu: VCPU) -> Bool {
        // First the mark, then the look: who asks puts the question first and the mark after.
        vcpu.clearExitRequest()
        enum Next { case job(@Sendable (VCPU) -> Void), run, end }
        while true {
            let next: Next = core.wait { core in
                if !core.workers[index].jobs.isEmpty {
                    core.workers[index].parked = false
                    return .job(core.workers[index].jobs.removeFirst())
                }
                if core.terminate { return .end }
                guard core.park || core.workers[index].held else {
                    core.workers[index].parked = false
                    return .run
                }
                if !core.workers[index].parked {
                    core.workers[index].parked = true
                    self.core.notifyAll()
                }
                return nil
            }
            switch next {
            case .job(let job): job(vcpu)
            case .run: return true
            case .end: return false
            }
        }
    }

    // MARK: Ports

    @inline(__always)
    private func port(_ access: PortAccess, _ vcpu: VCPU) {
        if access.count == 1 {
            single(access, access.data, vcpu)
            return
        }
        // A string instruction: one access after the other, to the same port.
        for element in 0..<access.count {
            guard single(access, access.data + element * access.width, vcpu) else { return }
        }
    }

    /// One access; false if it stopped the vCPU.
    @inline(__always)
    @discardableResult
    private func single(_ access: PortAccess, _ data: UnsafeMutableRawPointer, _ vcpu: VCPU) -> Bool {
        if access.isWrite {
            let value: UInt32
            switch access.width {
            case 1: value = UInt32(data.load(as: UInt8.self))
            case 2: value = UInt32(data.loadUnaligned(as: UInt16.self))
            default: value = data.loadUnaligned(as: UInt32.self)
            }
            let effect = ports.write(access.port, width: access.width, value)
            return effect == .none || perform(effect, vcpu)
        }
        let value = ports.read(access.port, width: access.width)
        switch access.width {
        case 1: data.storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
        case 2: data.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
        default: data.storeBytes(of: value, as: UInt32.self)
        }
        return true
    }

    // MARK: Addresses without a slot

    /// Reads give ones, writes are lost.
    private func unbacked(_ access: MemoryAccess) {
        if access.isWrite {
            unbackedWrites.wrappingAdd(1, ordering: .relaxed)
        } else {
            unbackedReads.wrappingAdd(1, ordering: .relaxed)
            for index in 0..<access.width { access.data[index] = 0xff }
        }
    }

    // MARK: The rest

    /// Exits that end the guest, or that have no meaning here; true if the vCPU may run again.
    private func rare(_ exit: VCPUExit, _ vcpu: VCPU) -> Bool {
        let number = Int(vcpu.number)
        switch exit {
        case .shutdown:
            let report = crashReport("triple fault: the processor shut down", vcpu)
            finish(.crashed, .tripleFault(report))
        case .internalError(1):
            finish(.crashed, .emulationFailure(emulationReport(vcpu)))
        case .internalError(let suberror):
            let data = vcpu.internalErrorData.map { "0x" + String($0, radix: 16) }.joined(separator: " ")
            finish(.crashed, .failure("vCPU \(number): KVM internal error \(suberror), data \(data)"))
        case .failEntry(let reason, let cpu):
            finish(
                .crashed,
                .failure(
                    "vCPU \(number): the processor refused to enter the guest, reason 0x\(String(reason, radix: 16)), "
                        + "host CPU \(cpu)"))
        case .failed(let code):
            finish(.crashed, .failure("vCPU \(number): KVM_RUN: \(Errno.text(code))"))
        case .systemEvent(1): finish(.shutdown, .shutdown)
        case .systemEvent(2): requestReset()
        case .debug(let stop): return debugged(stop, vcpu)
        case .halt, .interrupted, .io, .mmio: return true
        case .systemEvent(let type):
            finish(.crashed, .failure("vCPU \(number): the guest raised the system event \(type)"))
        case .unknown(let reason):
            finish(.crashed, .failure("vCPU \(number): KVM returned for the unknown reason \(reason)"))
        }
        return false
    }
}

// What becomes of a stop, on the vCPU's own thread; and what steps leave behind that no step should.

import Addresses
import GuestMemory
import KVM
import SystemCalls

extension Machine {
    /// A vCPU stopped, on its thread; true if it goes on at once.
    func debugged(_ stop: DebugStop, _ vcpu: VCPU) -> Bool {
        let number = Int(vcpu.number)
        guard let debug = core.withLock({ $0.debug }) else {
            // Left over from a debugger that is gone.
            if stop.isStep { dropTrapFlag(vcpu) } else { try? vcpu.setGuestDebug() }
            return true
        }
        if stop.isStep { stepped(vcpu, to: stop.address, debug) }
        guard let reason = reason(of: stop, number, debug) else {
            guard stop.exception == 3 else {
                if stop.isStep && !debug.steps(debug.actions[number]) { dropTrapFlag(vcpu) }
                return true
            }
            // An INT3 of the guest's own.
            try? setGuestDebug(vcpu, debug.actions[number], debug, injectsBreakpoint: true)
            return true
        }
        let tells = core.update { core in
            guard core.state == .running else {
                if case .watch = reason { core.debug?.pending.append((number, reason)) }
                return false
            }
            core.state = .paused
            core.park = true
            return true
        }
        kickAll()
        if tells { events(.debugStop(vcpu: number, reason)) }
        return false
    }

    /// What a step leaves behind that no step should.
    private func stepped(_ vcpu: VCPU, to address: UInt64, _ debug: DebugState) {
        wakeIfWronglyHalted(vcpu, at: address)
        let number = Int(vcpu.number)
        guard let before = debug.places[number] else { return }
        if let program = before.program, let place = takeBackStep(vcpu, at: address, before.handlers, program) {
            // Setting registers has taken KVM's flag away.
            try? setGuestDebug(vcpu, debug.actions[number], debug)
            core.update { $0.debug?.places[number]?.address = place }
            return
        }
        hideTrapFlag(vcpu, from: before.address, to: address, before.handlers)
        core.update { $0.debug?.places[number]?.address = address }
    }

    /// The same for a vCPU that a kick has parked: of a step that was under way then, its stop never comes. The vCPU is parked.
    func settle(_ vcpu: VCPU) {
        guard let debug = core.withLock({ $0.debug }), let registers = try? vcpu.registers() else { return }
        if debug.places[Int(vcpu.number)] != nil {
            stepped(vcpu, to: registers.rip, debug)
        } else if registers.rflags & 0x200 == 0 {
            wakeIfWronglyHalted(vcpu, at: registers.rip)
        }
    }

    /// Where KVM emulates ring 0, a vCPU that is debugged and goes from the interrupt that ended its HLT to another thread may be left halted there:
    /// with interrupts off for ever. One that has not just executed HLT (0xf4) runs.
    private func wakeIfWronglyHalted(_ vcpu: VCPU, at address: UInt64) {
        guard (try? vcpu.activity()) == .halted, let place = try? vcpu.translate(address &- 1),
            let byte = bytes(at: GPA(place.gpa), 1), byte != [0xf4]
        else { return }
        try? vcpu.setActivity(.runnable)
    }

    /// The same for vCPUs that do not step, which nothing brings out of the kernel then. On the halt watch's thread.
    func wakeWronglyHalted() {
        guard core.withLock({ $0.state == .running }) else { return }
        for index in vcpus.indices where vcpuStatistics[index]?.value("blocking") != 0 {
            _ = try? onVCPU(index) { vcpu throws(KVMError) in
                let registers = try vcpu.registers()
                // Bit 9 of RFLAGS is IF: with interrupts on it will be woken.
                guard registers.rflags & 0x200 == 0 else { return }
                self.wakeIfWronglyHalted(vcpu, at: registers.rip)
            }
        }
    }

    /// What a stop means; nil if nobody asked for it.
    private func reason(of stop: DebugStop, _ vcpu: Int, _ debug: DebugState) -> DebugReason? {
        if stop.exception == 3 {
            let address = GVA(stop.address)
            return debug.software.contains { $0.address == address } ? .software(address) : nil
        }
        if let changed = debug.changes[vcpu] {
            core.update { $0.debug?.changes[vcpu] = nil }
            return .watch(changed)
        }
        for (index, register) in debug.registers.enumerated() where stop.dr6 >> UInt64(index) & 1 != 0 {
            let address = GVA(register.address)
            return register.access == .execute ? .hardware(address) : .watch(address)
        }
        return debug.actions[vcpu] == .step ? .step : nil
    }

    /// Runs a vCPU where places are compared: one at a time executes an instruction, so that it is known whose it was. One that does not run
    /// (it halts, or waits for SIPI) waits in the kernel, and keeps nobody.
    func enterInTurn(_ vcpu: VCPU) -> VCPUExit {
        guard (try? vcpu.activity()) == .runnable else { return vcpu.enter() }
        return stepTurn.withLock { _ in
            let exit = vcpu.enter()
            if case .debug = exit { noteChange(vcpu) }
            return exit
        }
    }

    /// Notes the first compared place that holds something else than before.
    private func noteChange(_ vcpu: VCPU) {
        guard let debug = core.withLock({ $0.debug }) else { return }
        for (index, place) in debug.compared.enumerated() {
            guard let now = bytes(at: place.gpa, place.length), now != place.value else { continue }
            core.update { core in
                guard core.debug?.compared.indices.contains(index) == true else { return }
                core.debug?.compared[index].value = now
                core.debug?.changes[Int(vcpu.number)] = place.address
            }
            return
        }
    }
}

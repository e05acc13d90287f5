// Finds guests that halted for good: with the interrupt controllers in the kernel, HLT never comes back from KVM_RUN.
//
// Once a second the statistic `blocking` of each vCPU is read, which costs no guest anything. Only if all of them block
// are they asked, one kick each, whether an interrupt could still wake them.

import KVM
import SystemCalls

extension Machine {
    /// The watch's thread.
    ///
    /// A HLT that was stepped over can halt its vCPU wrongly some instructions later, when the debugger has gone: a guest that was
    /// debugged once is looked at for ever, often for some seconds.
    func watchForHalt() {
        var isDebugged = false
        var often: UInt64 = 0
        while true {
            let known = isDebugged
            let isOften = known || monotonicNanoseconds() < often
            let look: Bool? = core.wait(nanoseconds: isOften ? 20_000_000 : 1_000_000_000) { core in
                core.terminate ? false : (core.debug != nil) != known ? true : nil
            }
            if look == false { return }
            let wasDebugged = core.withLock { core in
                isDebugged = core.debug != nil
                return core.wasDebugged
            }
            if isDebugged || known { often = monotonicNanoseconds() &+ 5_000_000_000 }
            if wasDebugged {
                wakeWronglyHalted()
                endTraps()
            }
            let running = core.withLock { $0.state == .running && !$0.haltTold && !$0.terminate }
            guard running, allBlocked(), allHaltedForever() else { continue }
            let tell = core.update { core in
                guard core.state == .running, !core.haltTold else { return false }
                core.haltTold = true
                return true
            }
            if tell { events(.haltedForever) }
        }
    }

    /// Whether every vCPU waits in the kernel; true as well where KVM does not say.
    private func allBlocked() -> Bool {
        vcpus.indices.allSatisfy { index in vcpuStatistics[index]?.value("blocking") != 0 }
    }

    /// Whether no vCPU can be woken: halted with interrupts off, or never started. At least one is halted.
    private func allHaltedForever() -> Bool {
        var halted = 0
        for index in vcpus.indices {
            let state = try? onVCPU(index) { vcpu throws(KVMError) in
                (activity: try vcpu.activity(), flags: try vcpu.registers().rflags)
            }
            guard let state else { return false }
            switch state.activity {
            // Bit 9 of RFLAGS is IF.
            case .halted where state.flags & 0x200 == 0: halted += 1
            case .uninitialized: break
            default: return false
            }
        }
        return halted > 0
    }
}

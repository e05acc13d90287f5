// What a debugger asks of a machine: to stop, to step, to stop at places.
//
//     debugAttach -> (all vCPUs parked) -> setBreakpoints -> debugGo -> event debugStop -> ... -> debugDetach
//
// All or none: while one vCPU is looked at every vCPU is parked. Everything here is called on control threads, while the vCPUs are parked.

import Addresses
import GuestMemory
import KVM
import Synchronization
import SystemCalls

extension Machine {
    /// Stops every vCPU for a debugger; there is one at a time.
    ///
    /// - Returns: whether the guest ran.
    public func debugAttach(_ abilities: DebugAbilities) throws(MachineError) -> Bool {
        guard core.withLock({ $0.debug == nil }) else { throw .input("a debugger is attached already") }
        let ran = state == .running
        pause()
        core.update { core in
            core.wasDebugged = true
            core.debug = DebugState(
                abilities: abilities, runsAfterwards: ran, actions: Array(repeating: .run, count: vcpus.count),
                places: Array(repeating: nil, count: vcpus.count), changes: Array(repeating: nil, count: vcpus.count),
                stepped: Array(repeating: false, count: vcpus.count))
        }
        return ran
    }

    /// Makes the guest what it was before `debugAttach`: no breakpoints, and running if it ran then, or if the debugger let it run from
    /// where it was held.
    public func debugDetach() {
        guard let debug = core.withLock({ $0.debug }) else { return }
        pause()
        control.withLock { _ in
            unpatch(debug.patches)
            for (vcpu, stepped) in zip(vcpus, debug.stepped) {
                settle(vcpu)
                try? vcpu.setGuestDebug(catchesTraps: stepped)
            }
            stepsInTurn.store(false, ordering: .relaxed)
            core.update { core in
                core.debug = nil
                core.catchesTrapsUntil = debug.stepped.contains(true) ? Machine.endOfTraps() : nil
                for index in core.workers.indices { core.workers[index].held = false }
            }
        }
        if debug.runsAfterwards { resume() }
    }

    /// Where to stop from now on; instead of what was asked for before. The vCPUs are parked.
    public func setBreakpoints(_ breakpoints: [DebugBreakpoint]) throws(MachineError) {
        guard let debug = core.withLock({ $0.debug }) else { throw .input("no debugger is attached") }
        guard state != .running else { throw .state(state, "breakpoints are set while the guest stands still") }
        let (registers, compared, patched) = try plan(breakpoints, debug.abilities)
        stepsInTurn.store(!compared.isEmpty, ordering: .relaxed)
        try control.withLock { _ throws(MachineError) in
            unpatch(debug.patches)
            core.update { core in
                core.debug?.software = breakpoints.filter { $0.kind == .software }
                core.debug?.registers = registers
                core.debug?.compared = compared
                core.debug?.changes = Array(repeating: nil, count: vcpus.count)
                core.debug?.patches = []
            }
            try patch(patched)
        }
    }

    /// What each breakpoint is made of on this host.
    private func plan(
        _ breakpoints: [DebugBreakpoint], _ abilities: DebugAbilities
    ) throws(MachineError) -> ([HardwareBreakpoint], [DebugState.Compared], [GPA]) {
        var registers: [HardwareBreakpoint] = []
        var compared: [DebugState.Compared] = []
        var patched: [GPA] = []
        for breakpoint in breakpoints {
            let address = breakpoint.address.rawValue
            switch breakpoint.kind {
            case .software where abilities.softwareBreakpoints: patched.append(breakpoint.gpa)
            case .software, .hardware: registers.append(HardwareBreakpoint(address))
            case .write where !abilities.watchpoints && abilities.steps:
                guard let value = bytes(at: breakpoint.gpa, breakpoint.length) else {
                    throw .input("the address \(breakpoint.gpa.hex) is not in the guest's memory")
                }
                compared.append(
                    DebugState.Compared(
                        address: breakpoint.address, gpa: breakpoint.gpa, length: breakpoint.length, value: value))
            case .write, .access:
                guard abilities.watchpoints else {
                    throw .input("this host's KVM does not tell when the guest reads; watch for writing instead")
                }
                guard [1, 2, 4, 8].contains(breakpoint.length), address % UInt64(breakpoint.length) == 0 else {
                    throw .input("a watchpoint covers 1, 2, 4 or 8 bytes at a multiple of that")
                }
                let access: HardwareBreakpoint.Access = breakpoint.kind == .write ? .write : .readWrite
                registers.append(HardwareBreakpoint(address, access, length: breakpoint.length))
            }
        }
        // The same place twice takes one register.
        registers = registers.enumerated().filter { registers.firstIndex(of: $1) == $0 }.map(\.element)
        guard registers.count <= 4 else {
            let reason =
                abilities.softwareBreakpoints
                ? "" : ", and this host's KVM does not stop at INT3, so that each breakpoint takes one"
            throw .input("the processor has four debug registers\(reason): delete a breakpoint or a watchpoint first")
        }
        if !registers.isEmpty && !abilities.hardwareBreakpoints {
            throw .input("this host's KVM stops neither at INT3 nor at debug registers; only stepping works here")
        }
        return (registers, compared, patched)
    }

    /// Lets a stopped machine go on, each vCPU in its way.
    ///
    /// - Returns: a watchpoint that was hit together with the last stop: then nothing runs, this is the next stop.
    public func debugGo(_ actions: [DebugAction]) throws(MachineError) -> (vcpu: Int, reason: DebugReason)? {
        guard actions.count == vcpus.count else { throw .input("an action for each of \(vcpus.count) vCPUs is needed") }
        return try control.withLock { _ throws(MachineError) in
            let before = core.update { core in
                let pending = core.debug?.pending.first
                if pending != nil { core.debug?.pending.removeFirst() }
                core.debug?.actions = actions
                if actions.contains(.run) { core.debug?.runsAfterwards = true }
                return (state: core.state, debug: core.debug, pending: pending)
            }
            guard let debug = before.debug else { throw .input("no debugger is attached") }
            guard before.state == .paused || before.state == .prelaunch else {
                throw .state(before.state, "the guest cannot go on")
            }
            if let pending = before.pending { return pending }
            do throws(KVMError) {
                for (index, action) in actions.enumerated() where action != .stay { try arm(index, action, debug) }
            } catch { throw .kvm(error) }
            core.update { core in
                for index in core.workers.indices { core.workers[index].held = actions[index] == .stay }
                if core.state == .prelaunch { core.startTime = monotonicNanoseconds() }
                core.state = .running
                core.awaitingReset = false
                core.park = false
            }
            return nil
        }
    }

    /// Has a vCPU stop where it is to. One that runs past places that are compared steps all the way.
    private func arm(_ index: Int, _ action: DebugAction, _ debug: DebugState) throws(KVMError) {
        let vcpu = vcpus[index]
        settle(vcpu)
        if debug.steps(action), let handlers = handlers(of: vcpu), let registers = try? vcpu.registers() {
            core.update { core in
                core.debug?.places[index] = (registers.rip, handlers, ProgramSegments(registers))
                core.debug?.stepped[index] = true
            }
        } else {
            core.update { $0.debug?.places[index] = nil }
        }
        try setGuestDebug(vcpu, action, debug)
    }

    func setGuestDebug(
        _ vcpu: VCPU, _ action: DebugAction, _ debug: DebugState, injectsBreakpoint: Bool = false
    ) throws(KVMError) {
        try vcpu.setGuestDebug(
            singleStep: debug.steps(action), softwareBreakpoints: !debug.patches.isEmpty, breakpoints: debug.registers,
            blocksInterrupts: action == .step && debug.abilities.blocksInterrupts,
            catchesTraps: debug.stepped[Int(vcpu.number)] && !debug.steps(action), injectsBreakpoint: injectsBreakpoint)
    }

    /// After a reset, whose image has none of it.
    func restoreBreakpoints() throws(MachineError) {
        guard let debug = core.withLock({ $0.debug }), !debug.patches.isEmpty else { return }
        core.update { $0.debug?.patches = [] }
        try patch(debug.patches.map(\.gpa))
    }

    private func patch(_ places: [GPA]) throws(MachineError) {
        var patches: [DebugState.Patch] = []
        for gpa in places {
            guard let original = bytes(at: gpa, 1), ram.write([0xcc], at: gpa) else {
                unpatch(patches)
                throw .input("the address \(gpa.hex) is not in the guest's memory")
            }
            patches.append(DebugState.Patch(gpa: gpa, original: original[0]))
        }
        let made = patches
        core.update { $0.debug?.patches = made }
    }

    private func unpatch(_ patches: [DebugState.Patch]) {
        // What the guest has written there meanwhile stays.
        for patch in patches where bytes(at: patch.gpa, 1) == [0xcc] { _ = ram.write([patch.original], at: patch.gpa) }
    }

    func bytes(at gpa: GPA, _ count: Int) -> [UInt8]? {
        ram.pieces(at: gpa, count: UInt64(count)).map { $0.flatMap { Array($0) } }
    }
}

// MARK: Registers and memory

extension Machine {
    /// Every register of a vCPU, in the order of `VCPU.registerNames`.
    public func namedRegisters(vcpu: Int) throws(MachineError) -> [[UInt8]] {
        try onVCPU(vcpu) { vcpu throws(KVMError) in try vcpu.namedRegisters() }
    }

    /// Whether a vCPU runs, halts or waits; nil for what x86 does not have.
    public func activity(vcpu: Int) throws(MachineError) -> ActivityState? {
        try onVCPU(vcpu) { vcpu throws(KVMError) in try vcpu.activity() }
    }

    /// Writes a register of a vCPU that stands still.
    public func setNamedRegister(_ name: String, _ bytes: [UInt8], vcpu: Int) throws(MachineError) {
        guard state != .running else { throw .state(state, "registers are written while the guest stands still") }
        let isSet = try onVCPU(vcpu) { vcpu throws(KVMError) in try vcpu.setNamedRegister(name, bytes) }
        guard isSet else { throw .input("the register \(name) cannot be written, or not with \(bytes.count) bytes") }
    }

    /// Writes guest memory, for a debugger. Breakpoints in it stay where they are.
    public func debugWrite(_ bytes: [UInt8], at gpa: GPA) throws(MachineError) {
        guard let debug = core.withLock({ $0.debug }) else { throw .input("no debugger is attached") }
        try control.withLock { _ throws(MachineError) in
            unpatch(debug.patches)
            let isWritten = ram.write(bytes, at: gpa)
            core.update { $0.debug?.patches = [] }
            try patch(debug.patches.map(\.gpa))
            guard isWritten else {
                throw .input("\(bytes.count) bytes at \(gpa.hex) are not all in the guest's memory")
            }
        }
    }
}

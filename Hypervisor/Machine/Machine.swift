// A virtual machine: memory, vCPUs, devices, and the threads that run them.
//
//     control threads                          vCPU threads, one each
//     start, pause, resume, reset, terminate   enter -> exit -> device, again and again
//                |                                |
//                +------ Core, behind a lock -----+
//
// Threads meet in `Core`. A control thread asks (park, run this, end) and kicks; a vCPU thread looks at what is asked
// only when KVM_RUN returns for a kick. Nothing is locked, allocated or looked up on the way from an exit to its device
// and back.

import Addresses
import GuestMemory
import KVM
import Layouts
import Synchronization
import SystemCalls

/// A virtual machine. Every method may be called from any thread but a vCPU's. `terminate` must be called in the end.
public final class Machine: Sendable {
    /// What it was made of.
    public let configuration: MachineConfiguration
    /// The memory slots, with their host addresses in this process.
    public let slots: SlotTable
    /// The guest's memory.
    public let ram: GuestRAM
    /// COM1, the console.
    public let console: SerialPort
    /// COM2, the kernel's monitor.
    public let monitorPort: SerialPort
    /// MAXPHYADDR as the guest sees it.
    public let maxPhysicalAddressBits: Int

    // Order matters at the end: vCPUs and VM go before the memory behind them.
    let vcpus: [VCPU]
    let virtualMachine: VirtualMachine
    let ports: PortBus
    let requests: RequestPort
    /// The images; a machine that is to be filled can do without, until it is reset.
    let loader: Result<Loader, MachineError>
    /// Whether it was made to be filled with a saved guest.
    let isIncoming: Bool
    /// What CPUID may answer on this host.
    let cpuid: CPUID
    let hasDeadlineTimer: Bool
    /// The model-specific registers that a saved guest has.
    let savedRegisters: [UInt32]
    let extendedStateSize: Int
    let initialChips: VirtualMachine.ChipState
    let initialVCPUs: [VCPUState]
    let events: @Sendable (MachineEvent) -> Void
    let core: Guarded<Core>
    /// One control operation at a time.
    let control = Mutex<Void>(())
    /// Whether vCPUs execute their instructions one after the other, because a debugger has places compared.
    let stepsInTurn = Atomic(false)
    /// Held by the vCPU that executes one.
    let stepTurn = Guarded(())
    /// Its threads.
    public let threads: MachineThreads
    /// Opened before the vCPUs run: opening waits for a vCPU, reading does not. nil where KVM has none.
    let vcpuStatistics: [Statistics?]
    let unbackedReads = Atomic<UInt64>(0)
    let unbackedWrites = Atomic<UInt64>(0)

    /// Makes a machine and loads its kernel; nothing runs yet.
    ///
    /// - Parameters:
    ///   - threads: its threads, for as many vCPUs as it has; nil: they are made when they are needed.
    ///   - incoming: it is to be filled with a saved guest (`fill`): no kernel is loaded, and it starts parked.
    ///   - events: called on vCPU threads; see `MachineEvent`.
    public init(
        _ configuration: MachineConfiguration, system: KVMSystem, threads: MachineThreads? = nil,
        incoming: Bool = false,
        events: @escaping @Sendable (MachineEvent) -> Void
    ) throws(MachineError) {
        isIncoming = incoming
        self.configuration = configuration
        self.events = events
        try Machine.check(configuration, system)
        self.threads = threads ?? MachineThreads(vcpus: configuration.vcpus)
        do {
            let cpuid = try system.supportedCPUID()
            self.cpuid = cpuid
            savedRegisters = try system.modelSpecificRegisters()
            extendedStateSize = system.extendedStateSize
            maxPhysicalAddressBits = cpuid.maxPhysicalAddressBits
            let plan = try MemoryPlan(
                layout: configuration.layout, memory: configuration.memory, addressBits: maxPhysicalAddressBits)
            loader = Machine.loader(configuration, plan)
            if !incoming { _ = try loader.get() }
            ram = try GuestRAM(plan.ranges, hugePageSize: configuration.hugePages?.rawValue)
            slots = ram.slots
            let vm = try VirtualMachine(system, slots: ram.slots.slots)
            virtualMachine = vm
            if !incoming { try loader.get().load(into: ram) }

            let deadline = system.value(of: .deadlineTimer) > 0
            hasDeadlineTimer = deadline
            var vcpus: [VCPU] = []
            for number in 0..<configuration.vcpus {
                let vcpu = try vm.makeVCPU(UInt32(number))
                try vcpu.setCPUID(
                    cpuid.forVCPU(UInt32(number), of: configuration.vcpus, deadlineTimer: deadline))
                vcpus.append(vcpu)
            }
            self.vcpus = vcpus
            if case .success(let loader) = loader {
                try Machine.enter(loader.entry, startInfo: plan.startInfo.lowerBound, vcpus[0])
            }
            initialChips = try vm.chipState()
            var states: [VCPUState] = []
            for vcpu in vcpus { states.append(try vcpu.state()) }
            initialVCPUs = states

            console = SerialPort { level in try? vm.setInterrupt(Contract.consoleIRQ, level) }
            monitorPort = SerialPort { level in try? vm.setInterrupt(Contract.monitorIRQ, level) }
            requests = RequestPort {
                try? vm.setInterrupt(Contract.requestIRQ, true)
                try? vm.setInterrupt(Contract.requestIRQ, false)
            }
            try HostThread.installKick()
        } catch let error as MachineError {
            throw error
        } catch let error as KVMError {
            throw .kvm(error)
        } catch let error as GuestMemoryError {
            if case .call(let errno) = error { throw .call(errno) }
            throw .host(error.description)
        } catch let error as Errno {
            throw .call(error)
        } catch {
            throw .host("\(error)")
        }
        ports = PortBus()
        ports.attach(console, at: Contract.consolePort, count: 8)
        ports.attach(monitorPort, at: Contract.monitorPort, count: 8)
        let vm = virtualMachine
        let timer = TimerPorts { control in
            // A host that refuses the timer now leaves the guest without ticks, as a broken PC would.
            try? vm.makeTimer(control: control)
        }
        ports.attach(timer, at: Contract.timerPort, count: 4)
        ports.attach(timer, at: Contract.speakerPort, count: 1)
        ports.attach(KeyboardReset(), at: Contract.keyboardPort, count: 1)
        ports.attach(ResetControl(), at: Contract.resetPort, count: 1)
        ports.attach(DebugExit(), at: Contract.debugExitPort, count: 1)
        ports.attach(PowerControl(), at: Contract.powerPort, count: 1)
        ports.attach(StagePort(), at: Contract.stagePort, count: 1)
        ports.attach(PanicPort(), at: Contract.panicPort, count: 1)
        ports.attach(ProgramPort(), at: Contract.programPort, count: 1)
        ports.attach(SignaturePort(), at: Contract.signaturePort, count: 1)
        ports.attach(requests, at: Contract.requestPort, count: 1)
        vcpuStatistics = vcpus.map { try? $0.statistics() }
        core = Guarded(Core(vcpus: configuration.vcpus))
    }

    /// Whether this host can have so many vCPUs.
    public static func check(_ configuration: MachineConfiguration, _ system: KVMSystem) throws(MachineError) {
        guard configuration.vcpus >= 1 else { throw .input("a guest needs at least 1 vCPU") }
        let most = system.maxVCPUs
        guard configuration.vcpus <= most else {
            throw .input("\(configuration.vcpus) vCPUs are more than KVM allows on this host: \(most)")
        }
    }

    private static func loader(
        _ configuration: MachineConfiguration, _ plan: MemoryPlan
    ) -> Result<Loader, MachineError> {
        do throws(MachineError) { return .success(try Loader(configuration, plan: plan)) } catch {
            return .failure(error)
        }
    }

    private static func enter(_ entry: KernelEntry, startInfo: UInt64, _ vcpu: VCPU) throws(KVMError) {
        let registers = entry.registers(from: try vcpu.registers(), startInfo: startInfo)
        try vcpu.setSystemRegisters(registers)
        try vcpu.setGeneralRegisters(registers)
    }

    /// The files behind the slots, in the order of `slots.slots`, reopened so that a writable map is refused.
    public func readOnlyDescriptors() throws(MachineError) -> [SlotBacking] {
        do { return try ram.readOnlyBackings() } catch { throw .call(error) }
    }

    /// Whether it runs.
    public var state: MachineState { core.withLock { $0.state } }
    /// The last stage reported since the start.
    public var stage: Stage? { core.withLock { $0.stages.last?.stage } }
    /// The stages reported since the start, in order.
    public var stages: [StageReport] { core.withLock { $0.stages } }
    /// Kernel thread ids of the vCPUs (gettid(2)), by number; empty before the start and after the end.
    public var threadIDs: [Int32] {
        guard core.withLock({ $0.hasThreads }) else { return [] }
        let threads = threads.vcpus
        return threads.indices.map { index in
            // A thread that was only just made says its id once it runs.
            while threads[index].id == 0, !core.withLock({ $0.workers[index].ended || $0.terminate }) {
                sleepThread(milliseconds: 1)
            }
            return threads[index].id
        }
    }
    /// The page tables as they were when a stage was reported.
    public func snapshot(of stage: Stage) -> StageSnapshot? {
        core.withLock { $0.snapshots.first { $0.stage == stage } }
    }

    /// What nobody answered.
    public var counters: MachineCounters {
        var counters = MachineCounters()
        counters.unknownPortReads = ports.unknownReads.load(ordering: .relaxed)
        counters.unknownPortWrites = ports.unknownWrites.load(ordering: .relaxed)
        counters.unbackedReads = unbackedReads.load(ordering: .relaxed)
        counters.unbackedWrites = unbackedWrites.load(ordering: .relaxed)
        counters.protocolErrors = core.withLock { $0.protocolErrors }
        counters.droppedSerialBytes = console.dropped &+ monitorPort.dropped
        return counters
    }
}

// A virtual machine: memory, vCPUs, devices, and the threads that run them.

import Addresses
import GuestMemory
import KVM

/// A virtual machine. Every method may be called from any thread but a vCPU's.
public final class Machine: Sendable {
    /// What it was made of.
    public let configuration: MachineConfiguration
    /// The memory slots, with their host addresses in this process.
    public let slots: SlotTable
    /// COM1, the console.
    public let console = SerialPort()
    /// COM2, the kernel's monitor.
    public let monitorPort = SerialPort()

    /// Makes a machine and loads its kernel; nothing runs yet.
    public init(
        _ configuration: MachineConfiguration, system: KVMSystem, events: @escaping @Sendable (MachineEvent) -> Void
    ) throws(MachineError) {
        self.configuration = configuration
        throw .host("not there yet")
    }

    /// The files behind the slots, in the order of `slots.slots`, reopened so that a writable map is refused.
    public func readOnlyDescriptors() throws(MachineError) -> [SlotBacking] { [] }

    /// Starts the vCPUs. With `stopAt` entry they stay parked.
    public func start() throws(MachineError) {}
    /// Parks every vCPU; returns when all are.
    public func pause() {}
    /// Lets the vCPUs go on.
    public func resume() {}
    /// Starts again from the first instruction: RAM zeroed, images loaded, devices as at first. Runs if it was running.
    public func reset() throws(MachineError) {}
    /// Asks the guest to power off (request port, IRQ 9). The guest may not listen.
    public func requestPowerOff() {}
    /// Ends the vCPUs and joins their threads. The memory stays until the machine is released.
    public func terminate() {}

    /// Whether it runs.
    public var state: MachineState { .prelaunch }
    /// The last stage reported since the start.
    public var stage: Stage? { nil }
    /// The stages reported since the start, in order.
    public var stages: [StageReport] { [] }
    /// What nobody answered.
    public var counters: MachineCounters { MachineCounters() }
    /// Kernel thread ids of the vCPUs (gettid(2)), by number; empty before the start.
    public var threadIDs: [Int32] { [] }

    /// The registers of a vCPU, taken between two instructions.
    public func registers(vcpu: Int) throws(MachineError) -> VCPURegisters { VCPURegisters() }
    /// KVM's own translation of a virtual address on a vCPU; nil if it says not mapped.
    public func translate(_ address: GVA, vcpu: Int) throws(MachineError) -> KVMTranslation? { nil }
    /// KVM's statistics by name: of one vCPU, or of the VM.
    public func statistics(vcpu: Int?) throws(MachineError) -> [(name: String, values: [UInt64])] { [] }
    /// The page tables as they were when a stage was reported.
    public func snapshot(of stage: Stage) -> StageSnapshot? { nil }
}

// Any process that holds a KVM VM: `pid:N`. Nothing is asked of the process.

import Addresses
import GuestMemory
import JSON
import PageTables
import SecondStage
import Synchronization
import SystemCalls

/// A VM that some process runs: QEMU, Firecracker, anything. Slots and registers come from the kernel, memory from the
/// process.
public final class ProcessTarget: Target {
    /// `pid:` and what followed.
    public let name: String
    /// The process.
    public let pid: Int32
    /// Which of the process's VMs.
    public let index: Int?
    /// The slots that are in force, by the kernel's list.
    public let slots: SlotTable
    /// How many vCPUs there are.
    public let vcpuCount: Int
    /// Not known.
    public var layout: String? { nil }
    /// The process's memory.
    public var memory: TargetMemory { .other(reader) }
    /// `process 1234`.
    public var memorySource: String { "process \(pid)" }
    private let reader: ProcessGuestMemory
    private let vm: Mutex<Held>

    /// The reader of the kernel's memory, used by one thread at a time.
    private struct Held: @unchecked Sendable {
        let vm: KernelVM
    }

    /// Finds the VM.
    ///
    /// - Parameter text: `1234`, or `1234#1` for the second of several VMs.
    public init(_ text: String) throws(TargetError) {
        name = "pid:" + text
        let parts = text.split(separator: "#", omittingEmptySubsequences: false)
        guard parts.count <= 2, let number = parts.first.flatMap({ Int32($0) }), number > 0 else {
            throw .input(
                "'pid:\(text)': the number of a process is needed, as pid:1234 (or pid:1234#1 for its second VM)")
        }
        var index: Int?
        if parts.count == 2 {
            guard let which = Int(parts[1]), which >= 0 else {
                throw .input("'pid:\(text)': after # comes which of the process's VMs is meant, from 0 on")
            }
            index = which
        }
        pid = number
        self.index = index
        do throws(SecondStageError) {
            let found = try KernelVM.open(process: number, index: index)
            slots = try found.slotTable(of: found.slots())
            vcpuCount = try found.vcpus().count
            reader = try ProcessGuestMemory(process: number, slots: slots)
            vm = Mutex(Held(vm: found))
        } catch {
            throw TargetError(error, name: "pid:" + text)
        }
    }

    /// A vCPU as the kernel has it now.
    private func kernelVCPU(_ vcpu: Int) throws(TargetError) -> KernelVCPU {
        let vcpus: [KernelVCPU]
        do throws(SecondStageError) {
            vcpus = try vm.withLock { (held) throws(SecondStageError) in try held.vm.vcpus() }
        } catch {
            throw TargetError(error, name: name)
        }
        guard vcpus.indices.contains(vcpu) else {
            throw .input("'\(name)' has \(vcpus.count) vCPUs, numbered from 0; there is no vCPU \(vcpu)")
        }
        return vcpus[vcpu]
    }

    /// What the kernel's CR3 of a vCPU is worth.
    public func registersMoment(vcpu: Int) throws(TargetError) -> String? {
        switch try kernelVCPU(vcpu).cr3Moment {
        case .now: return nil
        case .lastExit: return "the last exit"
        case .older: return "before the last exit"
        }
    }

    /// CR0, CR3, CR4 and EFER, as the kernel has them: of a running vCPU those of its last exit.
    public func registers(vcpu: Int) throws(TargetError) -> TargetRegisters {
        let paging = try kernelVCPU(vcpu).paging
        return TargetRegisters(
            values: [("cr0", paging.cr0), ("cr3", paging.cr3), ("cr4", paging.cr4), ("efer", paging.efer)],
            segments: [],
            maxPhysicalAddressBits: paging.maxPhysicalAddressBits)
    }

    /// Another process's vCPUs are not stopped.
    public func pause() throws(TargetError) -> Bool {
        throw .unable("'\(name)' is looked at without its help: its vCPUs cannot be stopped from here")
    }

    /// Another process's vCPUs are not steered.
    public func resume() throws(TargetError) {
        throw .unable("'\(name)' is looked at without its help: its vCPUs cannot be steered from here")
    }

    /// What is known.
    public func info() throws(TargetError) -> JSON {
        .object([
            JSONMember("name", .string(name)), JSONMember("pid", JSON(pid)), JSONMember("vcpus", JSON(vcpuCount)),
            JSONMember("memory", JSON(slots.slots.reduce(0) { $0 &+ $1.size })),
        ])
    }

    /// Whether the process was there all the time.
    public func checkReads() throws(TargetError) {
        if let failure = reader.firstFailure { throw TargetError(failure, name: name) }
    }
}

extension TargetError {
    /// What a failure to look at the second stage means for a target.
    public init(_ error: SecondStageError, name: String) {
        switch error {
        case .processGone, .vmGone: self = .noSuchTarget(error.description)
        case .noVM: self = .noSuchTarget(error.description)
        case .severalVMs: self = .input(error.description)
        case .call(let error): self = .call(error)
        default: self = .unable(error.description)
        }
    }
}

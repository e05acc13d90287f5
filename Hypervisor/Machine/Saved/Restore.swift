// A saved guest into a machine that was made to be one.

import Addresses
import GuestMemory
import KVM
import Layouts
import SavedGuests
import Synchronization
import SystemCalls

extension MachineConfiguration {
    /// The machine that a saved guest needs.
    public init(_ description: GuestDescription) throws(SavedGuestError) {
        self.init(
            layout: description.layout, memory: description.memory, vcpus: description.vcpus,
            kernel: description.kernel, initrd: description.initrd, programs: description.programs,
            commandLine: description.commandLine)
        guard description.hugePages != 0 else { return }
        guard let size = HugePageSize(rawValue: description.hugePages) else {
            throw .input("the saved guest has huge pages of \(description.hugePages) bytes: 2M and 1G are possible")
        }
        hugePages = size
    }
}

extension Machine {
    /// Fills the machine with a saved guest whose description was read; then it is paused where that one was.
    ///
    /// The machine was made with `incoming` and has started, and nothing of it has run. After an error it is neither one
    /// guest nor another, and must not run: it is `crashed`.
    ///
    /// - Returns: what the monitor wrote.
    public func fill(
        from reader: SectionReader, _ description: GuestDescription, progress: (UInt64) -> Void = { _ in }
    ) throws(SavedGuestError) -> Section {
        let result: Result<Section, SavedGuestError> = control.withLock { _ in
            do throws(SavedGuestError) {
                let section = try fillLocked(from: reader, description, progress)
                return .success(section)
            } catch {
                core.update { $0.state = .crashed }
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// Whether the machine is made of what the saved guest was made of.
    private func check(_ description: GuestDescription) throws(SavedGuestError) {
        let own = self.description(name: "", wasRunning: false)
        func differ(_ what: String, _ saved: String, _ here: String) -> SavedGuestError {
            .unsuitable("the saved guest has \(what) \(saved), this machine \(here)")
        }
        guard own.layout == description.layout else { throw differ("the layout", description.layout, own.layout) }
        guard own.memory == description.memory else {
            throw differ("memory of", formatSize(description.memory), formatSize(own.memory))
        }
        guard own.vcpus == description.vcpus else { throw differ("vCPUs:", "\(description.vcpus)", "\(own.vcpus)") }
        guard own.slots == description.slots else {
            func text(_ slots: [GuestDescription.Slot]) -> String {
                slots.map { "\($0.name) at \(GPA($0.address).hex), \(formatSize($0.size))" }.joined(separator: "; ")
            }
            throw differ("memory slots", text(description.slots), text(own.slots))
        }
    }

    private func fillLocked(
        from reader: SectionReader, _ description: GuestDescription, _ progress: (UInt64) -> Void
    ) throws(SavedGuestError) -> Section {
        let stands = core.withLock { $0.started && $0.park && $0.state == .prelaunch && !$0.terminate }
        guard isIncoming, stands else { throw .unsuitable("this machine was not made to be restored into") }
        waitUntilParked()
        try check(description)
        do throws(Errno) { try ram.discard() } catch { throw .call(error) }
        var filled: UInt64 = 0
        let saved = try SavedMachine.Whole(reader, description) { (address, pages) throws(SavedGuestError) in
            // The description's slots are this machine's.
            guard ram.write(pages, at: address) else {
                throw .unsuitable("there is no RAM at \(address.hex), \(pages.count) bytes")
            }
            filled += UInt64(pages.count)
            progress(filled)
        }
        try apply(saved.processor, saved.vcpus)
        // Before the controllers: what they remember of the lines is right then.
        console.restore(saved.devices.console)
        monitorPort.restore(saved.devices.monitorPort)
        requests.restore(saved.devices.request)
        do throws(KVMError) { try virtualMachine.restore(saved.chips) } catch {
            throw .unsuitable("this host's KVM does not take the saved interrupt controllers: \(error)")
        }
        for (vcpu, state) in zip(vcpus, saved.vcpus) {
            try vcpu.restore(state, extendedSize: extendedStateSize)
        }
        apply(saved.progress, saved.snapshots)
        return saved.monitor
    }

    private func apply(_ processor: CPUID, _ saved: [SavedVCPU]) throws(SavedGuestError) {
        let missing = processor.missing(on: cpuid)
        guard missing.isEmpty else {
            throw .unsuitable(
                "the saved guest was told of processor features that this host does not have: "
                    + missing.joined(separator: ", "))
        }
        for (number, vcpu) in vcpus.enumerated() {
            do throws(KVMError) {
                try vcpu.setCPUID(
                    processor.forVCPU(UInt32(number), of: vcpus.count, deadlineTimer: hasDeadlineTimer))
            } catch { throw .unsuitable("this host's KVM does not take the saved guest's CPUID: \(error)") }
        }
    }

    private func apply(_ progress: SavedProgress, _ snapshots: [StageSnapshot]) {
        let instructions = instructionCount()
        ports.unknownReads.store(progress.unknownReads, ordering: .relaxed)
        ports.unknownWrites.store(progress.unknownWrites, ordering: .relaxed)
        unbackedReads.store(progress.unbackedReads, ordering: .relaxed)
        unbackedWrites.store(progress.unbackedWrites, ordering: .relaxed)
        core.update { core in
            core.stages = progress.stages
            core.snapshots = snapshots
            core.protocolErrors = progress.protocolErrors
            core.haltTold = progress.haltTold
            core.startTime = monotonicNanoseconds() &- progress.nanoseconds
            core.instructionBase = (instructions ?? 0) &- (progress.instructions ?? 0)
            core.state = .paused
        }
    }
}

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
        var saved = SavedMachine()
        var next: UInt64 = 0
        var filled: UInt64 = 0
        while true {
            let section = try reader.next()
            if section.kind == .end { break }
            guard section.kind == .ram else {
                try saved.take(section, vcpus: description.vcpus)
                continue
            }
            try write(section, after: &next)
            filled += UInt64(section.bytes.count)
            progress(filled)
        }
        guard let processor = saved.processor, let chips = saved.chips, let devices = saved.devices,
            let progress = saved.progress, let monitor = saved.monitor, saved.vcpus.count == description.vcpus
        else {
            let found: [(String, Bool)] = [
                ("processor", saved.processor != nil), ("chips", saved.chips != nil),
                ("devices", saved.devices != nil), ("progress", saved.progress != nil),
                ("monitor", saved.monitor != nil), ("vCPU", saved.vcpus.count == description.vcpus),
            ]
            let missing = found.filter { !$0.1 }.map(\.0).joined(separator: ", ")
            throw .input("sections are missing before the end at byte \(reader.offset): \(missing)")
        }
        try apply(processor, saved.vcpus)
        // Before the controllers: what they remember of the lines is right then.
        console.restore(devices.console)
        monitorPort.restore(devices.monitorPort)
        requests.restore(devices.request)
        do throws(KVMError) { try virtualMachine.restore(chips) } catch {
            throw .unsuitable("this host's KVM does not take the saved interrupt controllers: \(error)")
        }
        for (vcpu, state) in zip(vcpus, saved.vcpus) {
            try vcpu.restore(state, extendedSize: extendedStateSize)
        }
        apply(progress, saved.snapshots)
        return monitor
    }

    private func write(_ section: Section, after next: inout UInt64) throws(SavedGuestError) {
        var fields = section.fields
        let address = try fields.u64("address")
        let pages = fields.rest
        let (end, overflow) = address.addingReportingOverflow(UInt64(pages.count))
        guard address & 4095 == 0, !pages.isEmpty, pages.count & 4095 == 0, address >= next, !overflow else {
            throw fields.wrong("address", "\(GPA(address).hex), \(pages.count) bytes, after \(GPA(next).hex)")
        }
        guard ram.write(pages, at: GPA(address)) else {
            throw fields.wrong("address", "\(GPA(address).hex), \(pages.count) bytes: there is no RAM")
        }
        next = end
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

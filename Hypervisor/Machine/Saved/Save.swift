// A whole guest into a stream of sections (docs/saved-guests.md).

import Addresses
import GuestMemory
import KVM
import SavedGuests
import Synchronization
import SystemCalls

extension Machine {
    /// What a saved guest says of the machine.
    ///
    /// - Parameters:
    ///   - name: the guest's.
    ///   - wasRunning: whether it is to run again once it is restored.
    public func description(name: String, wasRunning: Bool) -> GuestDescription {
        var description = GuestDescription()
        description.name = name
        description.layout = configuration.layout
        description.memory = configuration.memory
        description.vcpus = configuration.vcpus
        description.kernel = configuration.kernel
        description.initrd = configuration.initrd
        description.programs = configuration.programs
        description.commandLine = configuration.commandLine
        description.hugePages = configuration.hugePages?.rawValue ?? 0
        description.slots = slots.slots.map {
            GuestDescription.Slot(name: $0.name, address: $0.guestPhysicalAddress.rawValue, size: $0.size)
        }
        description.wasRunning = wasRunning
        return description
    }

    /// Writes the guest. It stands (paused or not started) and stays so; control operations wait meanwhile.
    ///
    /// - Parameters:
    ///   - description: `description(name:wasRunning:)`.
    ///   - monitor: what the monitor wants to find again.
    ///   - progress: called now and then with the bytes of RAM looked at.
    public func save(
        to writer: SectionWriter, _ description: GuestDescription, monitor: FieldWriter,
        progress: (UInt64) -> Void = { _ in }
    ) throws(SavedGuestError) {
        let failure: SavedGuestError? = control.withLock { _ in
            do throws(SavedGuestError) {
                try saveLocked(to: writer, description, monitor, progress)
                return nil
            } catch { return error }
        }
        if let failure { throw failure }
    }

    private func saveLocked(
        to writer: SectionWriter, _ description: GuestDescription, _ monitor: FieldWriter, _ progress: (UInt64) -> Void
    ) throws(SavedGuestError) {
        let stands = core.withLock { core in
            core.started && core.park && core.allParked && (core.state == .paused || core.state == .prelaunch)
                && !core.awaitingReset
        }
        guard stands else { throw .unsuitable("the guest cannot be saved now: it is \(state.rawValue)") }
        try writer.section(.description, description.fields)
        var fields = FieldWriter()
        cpuid.write(&fields)
        try writer.section(.processor, fields)
        // An exit that was answered is finished before the devices are looked at: nothing of it is lost.
        for vcpu in vcpus { vcpu.completePending() }
        for (number, vcpu) in vcpus.enumerated() {
            fields = FieldWriter()
            fields.u32(UInt32(number))
            do throws(KVMError) {
                try vcpu.saved(registers: savedRegisters, extendedSize: extendedStateSize).write(&fields)
            } catch { throw .unsuitable("vCPU \(number) cannot be saved: \(error)") }
            try writer.section(.vcpu, fields)
        }
        fields = FieldWriter()
        do throws(KVMError) { try virtualMachine.savedChips().write(&fields) } catch {
            throw .unsuitable("the interrupt controllers cannot be saved: \(error)")
        }
        try writer.section(.chips, fields)
        fields = FieldWriter()
        console.write(&fields)
        monitorPort.write(&fields)
        fields.u8(requests.waiting)
        try writer.section(.devices, fields)
        try writeProgress(writer)
        try writer.section(.monitor, monitor)
        try writeRAM(writer, progress)
        try writer.end()
    }

    private func writeRAM(_ writer: SectionWriter, _ progress: (UInt64) -> Void) throws(SavedGuestError) {
        // The address goes before the pages, so that they are copied once; a guest that stands does not change them.
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: 8 + SavedGuestFormat.ramChunk, alignment: 4096)
        defer { buffer.deallocate() }
        var done: UInt64 = 0
        try ram.nonzero(limit: SavedGuestFormat.ramChunk) { (address, bytes) throws(SavedGuestError) in
            buffer.storeBytes(of: address.rawValue.littleEndian, as: UInt64.self)
            UnsafeMutableRawBufferPointer(rebasing: buffer[8..<8 + bytes.count]).copyMemory(from: bytes)
            try writer.section(.ram, UnsafeRawBufferPointer(rebasing: buffer[..<(8 + bytes.count)]))
            done += UInt64(bytes.count)
            progress(done)
        }
    }

    private func writeProgress(_ writer: SectionWriter) throws(SavedGuestError) {
        let now = monotonicNanoseconds()
        let instructions = instructionCount()
        let (stages, snapshots, started, base, haltTold, errors) = core.withLock { core in
            (
                core.stages, core.snapshots, core.startTime, core.instructionBase, core.haltTold, core.protocolErrors
            )
        }
        var fields = FieldWriter()
        fields.u64(now &- started)
        fields.flag(instructions != nil)
        if let instructions { fields.u64(instructions &- base) }
        fields.flag(haltTold)
        fields.u32(UInt32(clamping: stages.count))
        for report in stages {
            fields.u8(UInt8(report.stage.order))
            fields.flag(report.instructions != nil)
            if let count = report.instructions { fields.u64(count) }
            fields.u64(report.nanoseconds)
        }
        let counters = counters
        for value in [
            counters.unknownPortReads, counters.unknownPortWrites, counters.unbackedReads, counters.unbackedWrites,
            errors,
        ] { fields.u64(value) }
        try writer.section(.progress, fields)
        for snapshot in snapshots {
            fields = FieldWriter()
            fields.u8(UInt8(snapshot.stage.order))
            fields.u64(snapshot.cr3)
            fields.flag(snapshot.truncated)
            fields.u32(UInt32(snapshot.pages.count))
            for page in snapshot.pages {
                fields.u64(page.address.rawValue)
                fields.raw(page.bytes)
            }
            try writer.section(.stageTables, fields)
        }
    }
}

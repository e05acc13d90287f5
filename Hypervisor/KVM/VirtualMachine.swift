// A VM: address space, interrupt controllers, timer.

import Addresses
import CSystem
import GuestMemory
import Synchronization
import SystemCalls

/// A virtual machine of KVM.
public final class VirtualMachine: Sendable {
    let descriptor: FileDescriptor
    private let runAreaSize: UInt64
    /// The timer's state after power-on; nil while there is no timer.
    private let timer = Mutex<TimerState?>(nil)

    /// A VM without vCPUs (KVM_CREATE_VM), with these memory slots and the kernel's interrupt controllers. See `makeTimer`.
    ///
    /// The order counts: a slot that is added after the interrupt controllers waits 4 to 10 ms for an SRCU grace period
    /// (measured on Linux 6.18), one that is added before them does not wait.
    ///
    /// The three pages that KVM needs on some Intel processors, and the page tables for their real mode, lie below 4 GiB,
    /// where there is never RAM.
    public init(_ system: KVMSystem, slots: [MemorySlot] = []) throws(KVMError) {
        runAreaSize = try system.runAreaSize()
        do {
            // A pending signal makes KVM_CREATE_VM return EINTR; systemCall tries again.
            let result = try system.device.control(csystem_KVM_CREATE_VM, 0, name: "KVM_CREATE_VM")
            descriptor = FileDescriptor(owning: Int32(truncatingIfNeeded: result))
            try descriptor.control(csystem_KVM_SET_TSS_ADDR, 0xfffb_d000, name: "KVM_SET_TSS_ADDR")
            var identityMap: UInt64 = 0xfffb_c000
            try descriptor.control(
                csystem_KVM_SET_IDENTITY_MAP_ADDR, &identityMap, name: "KVM_SET_IDENTITY_MAP_ADDR")
        } catch { throw .call(error) }
        for slot in slots { try setSlot(slot) }
        do {
            try descriptor.control(csystem_KVM_CREATE_IRQCHIP, name: "KVM_CREATE_IRQCHIP")
        } catch { throw .call(error) }
    }

    /// Makes the kernel's 8254 timer (KVM_CREATE_PIT2), ports 0x40-0x43 and 0x61; once it is there, nothing happens.
    ///
    /// It may come at any time, also while vCPUs run. A VM that has one takes 5 to 15 ms longer to end (Linux 6.18 waits
    /// for a grace period for each of its two port ranges), so it is made when a guest first asks for it.
    ///
    /// - Parameter control: what the guest wrote to the control port 0x43 before the timer was there; nil: nothing.
    public func makeTimer(control: UInt8? = nil) throws(KVMError) {
        do {
            try timer.withLock { (first) throws(Errno) in
                guard first == nil else { return }
                var pit = kvm_pit_config()
                // The speaker port 0x61 is the kernel's as well.
                pit.flags = UInt32(KVM_PIT_SPEAKER_DUMMY)
                try descriptor.control(csystem_KVM_CREATE_PIT2, &pit, name: "KVM_CREATE_PIT2")
                var state = kvm_pit_state2()
                try descriptor.control(csystem_KVM_GET_PIT2, &state, name: "KVM_GET_PIT2")
                first = TimerState(state)
                guard let control, VirtualMachine.apply(control, to: &state) else { return }
                try descriptor.control(csystem_KVM_SET_PIT2, &state, name: "KVM_SET_PIT2")
            }
        } catch { throw .call(error) }
    }

    /// Applies a control word: select a channel, its access mode, its mode, binary or BCD (Intel 8254 data sheet, "Control
    /// word format"). False for a latch or read-back command, which changes nothing that a guest could see here.
    private static func apply(_ control: UInt8, to state: inout kvm_pit_state2) -> Bool {
        let access = control >> 4 & 3
        guard control >> 6 != 3, access != 0 else { return false }
        func select(_ channel: inout kvm_pit_channel_state) {
            channel.rw_mode = access
            channel.read_state = access
            channel.write_state = access
            channel.mode = control >> 1 & 7
            channel.bcd = control & 1
        }
        switch control >> 6 {
        case 0: select(&state.channels.0)
        case 1: select(&state.channels.1)
        default: select(&state.channels.2)
        }
        return true
    }

    /// The timer's state; C's structure is only bytes.
    private struct TimerState: @unchecked Sendable {
        let value: kvm_pit_state2
        init(_ value: kvm_pit_state2) { self.value = value }
    }

    /// Puts memory behind guest physical addresses (KVM_SET_USER_MEMORY_REGION). The memory must outlive the VM.
    ///
    /// - Parameter logDirtyPages: keep a log of the pages that are written, for `takeDirtyLog`.
    public func setSlot(_ slot: MemorySlot, logDirtyPages: Bool = false) throws(KVMError) {
        var region = kvm_userspace_memory_region()
        region.slot = slot.id
        region.flags = logDirtyPages ? UInt32(KVM_MEM_LOG_DIRTY_PAGES) : 0
        region.guest_phys_addr = slot.guestPhysicalAddress.rawValue
        region.memory_size = slot.size
        region.userspace_addr = slot.userspaceAddress.rawValue
        do {
            try descriptor.control(
                csystem_KVM_SET_USER_MEMORY_REGION, &region,
                name: "KVM_SET_USER_MEMORY_REGION of slot \(slot.id) (\(slot.name)), \(slot.size) bytes")
        } catch { throw .call(error) }
    }

    /// Takes away what is behind a slot's addresses.
    public func removeSlot(_ id: UInt32) throws(KVMError) {
        var region = kvm_userspace_memory_region()
        region.slot = id
        do {
            try descriptor.control(
                csystem_KVM_SET_USER_MEMORY_REGION, &region, name: "KVM_SET_USER_MEMORY_REGION, removing slot \(id)")
        } catch { throw .call(error) }
    }

    /// The pages of a slot that were written since the last call (KVM_GET_DIRTY_LOG), a bit a page, the lowest first.
    public func takeDirtyLog(_ slot: MemorySlot) throws(KVMError) -> [UInt64] {
        // KVM writes whole 8-byte words.
        var bitmap = [UInt64](repeating: 0, count: Int((slot.size / 4096 + 63) / 64))
        let failure: Errno? = bitmap.withUnsafeMutableBytes { bytes in
            var log = kvm_dirty_log()
            log.slot = slot.id
            log.dirty_bitmap = bytes.baseAddress
            do throws(Errno) {
                try descriptor.control(
                    csystem_KVM_GET_DIRTY_LOG, &log, name: "KVM_GET_DIRTY_LOG of slot \(slot.id) (\(slot.name))")
                return nil
            } catch { return error }
        }
        if let failure { throw .call(failure) }
        return bitmap
    }

    /// Sets the level of an interrupt line of the 8259A pair and the I/O APIC (KVM_IRQ_LINE).
    public func setInterrupt(_ line: UInt32, _ level: Bool) throws(KVMError) {
        var request = kvm_irq_level()
        request.irq = line
        request.level = level ? 1 : 0
        do { try descriptor.control(csystem_KVM_IRQ_LINE, &request, name: "KVM_IRQ_LINE \(line)") } catch {
            throw .call(error)
        }
    }

    /// A new vCPU (KVM_CREATE_VCPU). It waits for INIT and SIPI unless its number is 0.
    public func makeVCPU(_ number: UInt32) throws(KVMError) -> VCPU {
        do {
            let result = try descriptor.control(
                csystem_KVM_CREATE_VCPU, UInt(number), name: "KVM_CREATE_VCPU \(number)")
            let file = FileDescriptor(owning: Int32(truncatingIfNeeded: result))
            let area = try MemoryMap(file, size: runAreaSize, writable: true)
            return VCPU(number: number, descriptor: file, area: area)
        } catch { throw .call(error) }
    }

    /// KVM's statistics of the VM.
    public func statistics() throws(KVMError) -> Statistics { try Statistics(of: descriptor) }

    /// The state of the interrupt controllers and the timer.
    public struct ChipState: @unchecked Sendable {
        var chips: [kvm_irqchip]
        /// Nil: there was no timer yet.
        var timer: kvm_pit_state2?
    }

    /// Reads the state of the 8259A pair, the I/O APIC and the timer.
    public func chipState() throws(KVMError) -> ChipState {
        do {
            var chips: [kvm_irqchip] = []
            for number in [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC] {
                var chip = kvm_irqchip()
                chip.chip_id = UInt32(bitPattern: number)
                try descriptor.control(csystem_KVM_GET_IRQCHIP, &chip, name: "KVM_GET_IRQCHIP \(number)")
                chips.append(chip)
            }
            guard timer.withLock({ $0 != nil }) else { return ChipState(chips: chips, timer: nil) }
            var state = kvm_pit_state2()
            try descriptor.control(csystem_KVM_GET_PIT2, &state, name: "KVM_GET_PIT2")
            return ChipState(chips: chips, timer: state)
        } catch { throw .call(error) }
    }

    /// Puts that state back; a timer that was not there then is as after power-on.
    public func setChipState(_ state: ChipState) throws(KVMError) {
        do {
            for chip in state.chips {
                var copy = chip
                try descriptor.control(csystem_KVM_SET_IRQCHIP, &copy, name: "KVM_SET_IRQCHIP \(chip.chip_id)")
            }
            guard let first = timer.withLock({ $0 }) else { return }
            var copy = state.timer ?? first.value
            try descriptor.control(csystem_KVM_SET_PIT2, &copy, name: "KVM_SET_PIT2")
        } catch { throw .call(error) }
    }
}

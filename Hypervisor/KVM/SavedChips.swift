// Interrupt controllers, timer and clock as a saved guest has them.

import CSystem
import SavedGuests
import SystemCalls

extension VirtualMachine {
    /// The chips of a VM and its clock.
    public struct SavedChips: @unchecked Sendable {
        let chips: ChipState
        /// kvmclock; nil where KVM has none.
        let clock: UInt64?

        /// The fields of its section.
        public func write(_ fields: inout FieldWriter) {
            fields.u32(UInt32(clamping: chips.chips.count))
            for chip in chips.chips { fields.structure(chip) }
            fields.flag(chips.timer != nil)
            if let timer = chips.timer { fields.structure(timer) }
            fields.flag(clock != nil)
            if let clock { fields.u64(clock) }
        }

        /// Reads the fields.
        public init(_ fields: inout FieldReader) throws(SavedGuestError) {
            guard try fields.u32("number of interrupt controllers") == 3 else {
                throw fields.wrong("number of interrupt controllers", "3 are known")
            }
            var found: [kvm_irqchip] = []
            for number in 0..<3 as Range<UInt32> {
                let chip = try fields.structure("interrupt controller \(number)", as: kvm_irqchip.self)
                guard chip.chip_id == number else {
                    throw fields.wrong("interrupt controller \(number)", "it says it is \(chip.chip_id)")
                }
                found.append(chip)
            }
            let timer =
                try fields.flag("has a timer") ? try fields.structure("timer", as: kvm_pit_state2.self) : nil
            chips = ChipState(chips: found, timer: timer)
            clock = try fields.flag("has a clock") ? try fields.u64("clock") : nil
        }

        init(chips: ChipState, clock: UInt64?) {
            self.chips = chips
            self.clock = clock
        }
    }

    /// Everything of the VM that is not a vCPU's and not memory. Every vCPU stands.
    public func savedChips() throws(KVMError) -> SavedChips {
        var clock = kvm_clock_data()
        let hasClock = (try? descriptor.control(csystem_KVM_GET_CLOCK, &clock, name: "KVM_GET_CLOCK")) != nil
        return SavedChips(chips: try chipState(), clock: hasClock ? clock.clock : nil)
    }

    /// Makes clock, timer and interrupt controllers those that were saved. Lines that devices hold up are up already.
    public func restore(_ saved: SavedChips) throws(KVMError) {
        if let value = saved.clock {
            var clock = kvm_clock_data()
            clock.clock = value
            do { try descriptor.control(csystem_KVM_SET_CLOCK, &clock, name: "KVM_SET_CLOCK") } catch {
                throw .call(error)
            }
        }
        if saved.chips.timer != nil { try makeTimer() }
        try setChipState(saved.chips)
    }
}

// A vCPU steps by RFLAGS.TF, and what the processor pushes meanwhile has that flag in it: the frame of an interrupt or exception, and PUSHF.
// KVM hides it from those who ask for registers, and not from the guest's memory. Where it stays there, the guest gets a #DB of nobody's
// when it goes back after the debugger has left. So it is taken out again after the step that pushed it.
//
// Not every frame is seen: where the processor runs ring 0 itself, an exception clears the flag, so that a step into one goes on until its
// handler returns; and who stops the guest inside the handler, and leaves, leaves the flag behind. What then becomes of it is a #DB, which
// comes to us for a while after the debugger has left, and always while it is there.

import Addresses
import GuestMemory
import KVM
import SystemCalls

/// Where the guest's handlers begin, and where in the frame that the processor pushed the flags are then.
struct HandlerTable {
    private var offsets: [UInt64: UInt64] = [:]
    /// Where the handler of #DB is when it has just begun.
    private var debugPlaces: Set<UInt64> = []

    /// Vectors with an error code (Intel SDM volume 3, table 6-1).
    private static let withErrorCode: Set<Int> = [8, 10, 11, 12, 13, 14, 17, 21, 29, 30]

    /// The gates of a 64-bit IDT (Intel SDM volume 3, figure 6-8); what cannot be read is left out.
    ///
    /// Where ring 0 is emulated a step that begins with an interrupt ends behind the handler's first instruction, so that place counts as well.
    ///
    /// - Parameter read: 8 bytes at a linear address that is a multiple of 8.
    init(_ table: DescriptorTable, read: (UInt64) -> UInt64?) {
        for vector in 0..<min(256, (Int(table.limit) + 1) / 16) {
            let gate = table.base &+ UInt64(vector * 16)
            guard let low = read(gate), low >> 47 & 1 != 0, let high = read(gate &+ 8) else { continue }
            let address = low & 0xffff | low >> 32 & 0xffff_0000 | high << 32
            let offset: UInt64 = HandlerTable.withErrorCode.contains(vector) ? 24 : 16
            offsets[address] = offset
            if vector == 1 { debugPlaces.insert(address) }
            if let code = read(address & ~7), let first = HandlerTable.firstInstruction(code >> ((address & 7) * 8)) {
                offsets[address &+ first.size] = offset &+ first.pushed
                if vector == 1 { debugPlaces.insert(address &+ first.size) }
            }
        }
    }

    /// The size of an instruction that handlers begin with and what it pushes, by its first bytes; nil for any other.
    private static func firstInstruction(_ code: UInt64) -> (size: UInt64, pushed: UInt64)? {
        switch UInt8(truncatingIfNeeded: code) {
        case 0x50...0x57: return (1, 8)  // PUSH register
        case 0x41 where 0x50...0x57 ~= UInt8(truncatingIfNeeded: code >> 8): return (2, 8)
        case 0x6a: return (2, 8)  // PUSH imm8
        case 0x68: return (5, 8)  // PUSH imm32
        case 0xfa, 0xfc, 0x90: return (1, 0)  // CLI, CLD, NOP
        case 0x0f where code & 0xff_ffff == 0xf8_010f: return (3, 0)  // SWAPGS
        default: return nil
        }
    }

    /// How far above RSP the saved flags lie at an address; nil if no handler has just begun there.
    func offsetOfFlags(at address: UInt64) -> UInt64? { offsets[address] }

    /// Whether the handler of #DB has just begun at an address.
    func isDebugException(at address: UInt64) -> Bool { debugPlaces.contains(address) }
}

extension Machine {
    /// RFLAGS.TF (Intel SDM volume 1, 3.4.3).
    static var trapFlag: UInt64 { 0x100 }
    private static var pushFlags: UInt8 { 0x9c }

    /// The handlers of a vCPU that is about to step.
    func handlers(of vcpu: VCPU) -> HandlerTable? {
        guard let idt = try? vcpu.registers().idt else { return nil }
        return HandlerTable(idt) { address in
            guard let place = try? vcpu.translate(address), let page = self.ram.page(at: GPA(place.gpa)) else {
                return nil
            }
            return page.loadUnaligned(fromByteOffset: Int(place.gpa & 0xff8), as: UInt64.self)
        }
    }

    /// After a step: takes the flag out of what it pushed.
    ///
    /// - Parameter previous: where the vCPU was before it.
    func hideTrapFlag(_ vcpu: VCPU, from previous: UInt64, to address: UInt64, _ handlers: HandlerTable) {
        let offset: UInt64
        if let found = handlers.offsetOfFlags(at: address) {
            offset = found
        } else if address &- previous == 1, byte(previous, vcpu) == Machine.pushFlags {
            offset = 0
        } else {
            return
        }
        guard let rsp = try? vcpu.registers().rsp, let place = try? vcpu.translate(rsp &+ offset &+ 1),
            let piece = ram.hostMemory(at: GPA(place.gpa), count: 1)
        else { return }
        // The second byte of the flags.
        piece[0] &= ~UInt8(truncatingIfNeeded: Machine.trapFlag >> 8)
    }

    /// Until when traps are caught after a debugger that leaves now.
    static func endOfTraps() -> UInt64 { monotonicNanoseconds() &+ 10_000_000_000 }

    /// The guest came back to a frame with the flag in it: it goes on without.
    func dropTrapFlag(_ vcpu: VCPU) {
        guard var registers = try? vcpu.registers() else { return }
        registers.rflags &= ~Machine.trapFlag
        try? vcpu.setGeneralRegisters(registers)
    }

    /// Gives the guest its debug registers back, once nothing of a debugger that is gone is to be expected any more. On the halt watch's thread.
    func endTraps() {
        let isDue = core.update { core in
            guard core.debug == nil, let end = core.catchesTrapsUntil, monotonicNanoseconds() >= end else {
                return false
            }
            core.catchesTrapsUntil = nil
            return true
        }
        guard isDue else { return }
        for index in vcpus.indices {
            _ = try? onVCPU(index) { vcpu throws(KVMError) in
                // A debugger may have come meanwhile: what it sets up is its own.
                guard self.core.withLock({ $0.debug == nil }) else { return }
                try vcpu.setGuestDebug()
            }
        }
    }

    private func byte(_ address: UInt64, _ vcpu: VCPU) -> UInt8? {
        guard let place = try? vcpu.translate(address) else { return nil }
        return ram.hostMemory(at: GPA(place.gpa), count: 1)?[0]
    }
}

// Steps of a program in ring 3 on a host that runs ring 3 by itself (kvm_pvm): the #DB after the instruction is not KVM's there but the
// guest's, whose kernel would end the program for it. So it is taken back: where the step ends at the beginning of the guest's handler of
// #DB, the vCPU returns by the frame that the processor pushed, as IRET would, before the guest has seen anything.

import Addresses
import GuestMemory
import KVM

/// What a program's segments are; a frame has their selectors alone.
struct ProgramSegments {
    let cs: Segment
    let ss: Segment

    /// Nil in ring 0.
    init?(_ registers: VCPURegisters) {
        // The RPL of CS is the ring.
        guard registers.cs.selector & 3 == 3 else { return nil }
        cs = registers.cs
        ss = registers.ss
    }
}

extension Machine {
    /// Takes back the exception that a program's step has ended with.
    ///
    /// - Returns: where the program stands now; nil if there is nothing to take back.
    func takeBackStep(
        _ vcpu: VCPU, at address: UInt64, _ handlers: HandlerTable, _ segments: ProgramSegments
    ) -> UInt64? {
        guard handlers.isDebugException(at: address), let offset = handlers.offsetOfFlags(at: address),
            var registers = try? vcpu.registers(), registers.cs.selector & 3 == 0
        else { return nil }
        // RIP, CS, RFLAGS, RSP, SS, of which RFLAGS is the third.
        var frame: [UInt64] = []
        for index in 0..<5 {
            guard let place = try? vcpu.translate(registers.rsp &+ offset &- 16 &+ UInt64(index * 8)),
                let piece = ram.hostMemory(at: GPA(place.gpa), count: 8)
            else { return nil }
            frame.append(piece.loadUnaligned(as: UInt64.self))
        }
        guard frame[1] == UInt64(segments.cs.selector), frame[4] == UInt64(segments.ss.selector),
            frame[2] & Machine.trapFlag != 0
        else { return nil }
        registers.rip = frame[0]
        registers.rflags = frame[2] & ~Machine.trapFlag
        registers.rsp = frame[3]
        registers.cs = segments.cs
        registers.ss = segments.ss
        guard (try? vcpu.setSystemRegisters(registers)) != nil, (try? vcpu.setGeneralRegisters(registers)) != nil else {
            return nil
        }
        return frame[0]
    }
}

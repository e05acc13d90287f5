// How a kernel's instructions are run on this host: a loop in a guest of its own, and KVM's count of what it emulated.

import Addresses
import GuestMemory
import KVM

/// A tiny guest in ring 0 that counts down and ends with a port write.
///
///     0x1000 PML4 | 0x2000 PDPT | 0x3000 PD: the first GiB 1:1 | 0x8000 code
enum RingZeroProbe {
    /// How often the loop turns.
    private static let turns: UInt64 = 1000

    /// Of the loop's instructions, the share that KVM's emulator ran; nil if KVM does not count them.
    static func emulatedShare(_ system: KVMSystem) throws -> Double? {
        let ram = try GuestRAM([RAMRange(name: "probe", start: GPA(0), size: 64 << 10)])
        let vm = try VirtualMachine(system)
        for slot in ram.slots.slots { try vm.setSlot(slot) }
        let vcpu = try vm.makeVCPU(0)
        try vcpu.setCPUID(system.supportedCPUID().forVCPU(0, of: 1, deadlineTimer: false))
        var tables = [UInt64](repeating: 0, count: 3 * 512)
        tables[0] = 0x2003
        tables[512] = 0x3003
        tables[1024] = 0x83
        _ = tables.withUnsafeBytes { ram.write($0, at: GPA(0x1000)) }
        // dec rcx; jnz -5; out dx, al
        _ = ram.write([0x48, 0xff, 0xc9, 0x75, 0xfb, 0xee], at: GPA(0x8000))
        try enter64(vcpu)
        while true {
            switch vcpu.enter() {
            case .interrupted: continue
            case .io:
                guard let emulated = try vcpu.statistics().value("insn_emulation") else { return nil }
                return min(1, Double(emulated) / Double(2 * turns))
            case let other: throw ProbeError(description: "it ended with \(other)")
            }
        }
    }

    private static func enter64(_ vcpu: VCPU) throws {
        var registers = try vcpu.registers()
        registers.cr3 = 0x1000
        registers.cr4 = 0x20
        registers.cr0 = 0x8000_0011
        registers.efer = 0x500
        var segment = Segment()
        segment.limit = 0xffff_ffff
        segment.selector = 0x10
        segment.type = 3
        segment.present = true
        segment.codeOrData = true
        segment.granular = true
        segment.big = true
        registers.ds = segment
        registers.es = segment
        registers.ss = segment
        segment.selector = 8
        segment.type = 11
        segment.big = false
        segment.long = true
        registers.cs = segment
        try vcpu.setSystemRegisters(registers)
        registers.rip = 0x8000
        registers.rflags = 2
        registers.rcx = turns
        registers.rdx = 0x80
        registers.rsp = 0x9ff0
        try vcpu.setGeneralRegisters(registers)
    }

    /// The probe did not end as it should.
    private struct ProbeError: Error, CustomStringConvertible {
        let description: String
    }
}

// How a kernel's instructions are run on this host: a loop in a guest of its own, and KVM's count of what it emulated.

import KVM

/// A tiny guest in ring 0 that counts down and ends with a port write.
enum RingZeroProbe {
    /// How often the loop turns.
    private static let turns: UInt64 = 1000

    /// Of the loop's instructions, the share that KVM's emulator ran; nil if KVM does not count them.
    static func emulatedShare(_ system: KVMSystem) throws -> Double? {
        // dec rcx; jnz -5; out dx, al
        let guest = try ProbeGuest(system, code: [0x48, 0xff, 0xc9, 0x75, 0xfb, 0xee]) { registers in
            registers.rcx = turns
            registers.rdx = 0x80
        }
        let exit = guest.run()
        guard case .io = exit else { throw ProbeError(description: "it ended with \(exit)") }
        guard let emulated = try guest.vcpu.statistics().value("insn_emulation") else { return nil }
        return min(1, Double(emulated) / Double(2 * turns))
    }

    /// The probe did not end as it should.
    private struct ProbeError: Error, CustomStringConvertible {
        let description: String
    }
}

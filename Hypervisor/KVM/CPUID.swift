// What a vCPU answers to the instruction CPUID.

import CSystem

/// A table of CPUID leaves, as KVM_SET_CPUID2 takes it.
public struct CPUID: Sendable {
    var entries: [kvm_cpuid_entry2]

    init(_ table: UnsafeMutablePointer<csystem_cpuid>) {
        let count = min(256, Int(table.pointee.count))
        entries = withUnsafeBytes(of: &table.pointee.entries) { bytes in
            Array(bytes.bindMemory(to: kvm_cpuid_entry2.self).prefix(count))
        }
    }

    /// MAXPHYADDR: how many bits a guest physical address has (leaf 0x8000_0008, EAX bits 7-0; 36 without that leaf,
    /// Intel SDM volume 3, 4.1.4).
    public var maxPhysicalAddressBits: Int {
        guard let entry = entries.first(where: { $0.function == 0x8000_0008 }) else { return 36 }
        let bits = Int(entry.eax & 0xff)
        return bits == 0 ? 36 : bits
    }

    /// The table of one vCPU: its APIC id, under a hypervisor, each vCPU a core of one package.
    ///
    /// KVM's own leaves (0x4000_0000 and up) stay as KVM gives them.
    ///
    /// - Parameters:
    ///   - number: the vCPU's number, which is its APIC id.
    ///   - count: the number of vCPUs.
    ///   - deadlineTimer: the LAPIC timer has its deadline mode, which KVM does not report here.
    public func forVCPU(_ number: UInt32, of count: Int, deadlineTimer: Bool) -> CPUID {
        var copy = self
        var shift: UInt32 = 0
        while 1 << shift < count { shift += 1 }
        for index in copy.entries.indices {
            switch copy.entries[index].function {
            case 1:
                let logical = UInt32(min(count, 255))
                copy.entries[index].ebx = copy.entries[index].ebx & 0xff00 | number << 24 | logical << 16
                copy.entries[index].ecx |= 1 << 31
                if deadlineTimer { copy.entries[index].ecx |= 1 << 24 }
                if count > 1 { copy.entries[index].edx |= 1 << 28 } else { copy.entries[index].edx &= ~(1 << 28) }
            case 0xb, 0x1f:
                // Extended topology: level 0 is the thread (one a core), level 1 the core; EDX is the x2APIC id.
                let level = copy.entries[index].index
                copy.entries[index].eax = level == 1 ? shift : 0
                copy.entries[index].ebx = level == 0 ? 1 : level == 1 ? UInt32(count) : 0
                copy.entries[index].ecx = level | (level == 0 ? 1 << 8 : level == 1 ? 2 << 8 : 0)
                copy.entries[index].edx = number
            case 0x8000_0008:
                copy.entries[index].ecx = shift << 12 | UInt32(min(count, 256) - 1)
            case 0x8000_001e:
                copy.entries[index].eax = number
                copy.entries[index].ebx = number & 0xff
                copy.entries[index].ecx = 0
            default: break
            }
        }
        return copy
    }
}

// Entries of KVM's EPT as each kernel writes them, put together from its constants (arch/x86/kvm/mmu/spte.h and
// arch/x86/kvm/vmx/vmx.c of the versions named) and the manual's bits (Intel SDM volume 3, tables 29-1 to 29-7). No machine of the
// project has VMX, so these stand for live tables.

import Addresses
import Glibc
import Testing

@testable import SecondStage

/// What a kernel keeps in an EPT entry.
struct KernelConstants: Sendable, CustomTestStringConvertible {
    let version: String
    /// SHADOW_NONPRESENT_VALUE.
    let empty: UInt64
    /// REMOVED_SPTE, later FROZEN_SPTE.
    let frozen: UInt64
    /// kvm->arch.shadow_mmio_value; before 6.10 a global variable, which is not read.
    let mmioValue: UInt64?
    /// The bits that are compared with it.
    let mmioMask: UInt64
    /// EPT_SPTE_HOST_WRITABLE, EPT_SPTE_MMU_WRITABLE.
    let hostWritable: UInt64 = 1 << 57
    let mmuWritable: UInt64 = 1 << 58

    var testDescription: String { version }

    static let all = [
        KernelConstants(version: "5.19", empty: 0, frozen: 0x5a0, mmioValue: nil, mmioMask: 7),
        KernelConstants(version: "6.1", empty: 0, frozen: 0x5a0, mmioValue: nil, mmioMask: 7),
        KernelConstants(
            version: "6.12", empty: 1 << 63, frozen: 1 << 63 | 0x5a0, mmioValue: 6, mmioMask: 1 << 63 | 7),
        KernelConstants(
            version: "6.18", empty: 1 << 63, frozen: 1 << 63 | 0x5a0, mmioValue: 6, mmioMask: 1 << 63 | 7),
    ]
}

@Suite struct KernelVersionTests {
    static let inUse: UInt64 = 1 << 11
    /// Write-back (6 in bits 5:3), the guest's PAT ignored (bit 6).
    static let writeBack: UInt64 = 6 << 3 | 1 << 6
    static let page: UInt64 = 0x12_3456_7000

    private func leaf(
        _ kernel: KernelConstants, _ entry: UInt64, level: Int = 1
    ) throws -> (hpa: HPA, flags: SecondStageFlags) {
        let decoder = SecondStageDecoder(format: .ept, mmioValue: kernel.mmioValue)
        guard case .leaf(let hpa, let flags, let memory) = decoder.decode(entry, level: level) else {
            Issue.record("no leaf: \(decoder.decode(entry, level: level))")
            throw CancellationError()
        }
        #expect(memory == .ept(type: 6, ignoresPAT: true))
        return (hpa, flags)
    }

    @Test(arguments: KernelConstants.all) func whatIsNotInUse(kernel: KernelConstants) {
        let decoder = SecondStageDecoder(format: .ept, mmioValue: kernel.mmioValue)
        for level in 1...5 {
            #expect(decoder.decode(kernel.empty, level: level) == .empty)
            #expect(decoder.decode(kernel.frozen, level: level) == .removed)
        }
        // MMIO: the value, a generation in bits 10:3 and 62:52, the frame.
        for generation: UInt64 in [0, 0x7f << 3, 0x7f << 3 | 0x3ff << 52] {
            let entry = 6 | generation | 0xfee0_0000
            #expect(entry & kernel.mmioMask == 6)
            #expect(decoder.decode(entry, level: 1) == .mmio)
        }
        // A kernel that cannot cache MMIO has the value 0 there.
        #expect(SecondStageDecoder(format: .ept, mmioValue: 0).decode(6 | 0xfee0_0000, level: 1) == .unknown)
    }

    @Test(arguments: KernelConstants.all) func pagesThatTheGuestUses(kernel: KernelConstants) throws {
        let entry =
            7 | Self.writeBack | 1 << 8 | 1 << 9 | Self.inUse | kernel.hostWritable | kernel.mmuWritable | Self.page
        let (hpa, flags) = try leaf(kernel, entry)
        #expect(hpa == HPA(Self.page) && flags.letters == "rwxad")
        // 2 MiB and 1 GiB: bit 7.
        let large = entry & ~0xfff_ffff | (entry & 0xfff) | 1 << 7
        #expect(try leaf(kernel, large, level: 2).hpa == HPA(0x12_3000_0000))
        #expect(try leaf(kernel, large & ~0x3fff_f000, level: 3).hpa == HPA(0x12_0000_0000))
        // A table: R, W, X, A; software bits aside.
        let decoder = SecondStageDecoder(format: .ept, mmioValue: kernel.mmioValue)
        #expect(decoder.decode(0x107 | Self.inUse | Self.page, level: 4) == .table(HPA(Self.page)))
    }

    @Test(arguments: KernelConstants.all) func dirtyLogging(kernel: KernelConstants) throws {
        let writable = Self.writeBack | Self.inUse | kernel.hostWritable | kernel.mmuWritable | Self.page
        // Write-protected (without PML), and by the dirty bit alone (PML): still writable.
        #expect(try leaf(kernel, writable | 5 | 1 << 8).flags.letters == "rxal")
        #expect(try leaf(kernel, writable | 7 | 1 << 8).flags.letters == "rwxa")
        // PML of a nested guest: A/D type 2, writes must be seen.
        #expect(try leaf(kernel, writable | 5 | 1 << 8 | 2 << 52).flags.letters == "rxal")
        // The process may not write (a read-only slot, a page of zeros): not for dirty logging.
        #expect(try leaf(kernel, writable & ~(kernel.hostWritable | kernel.mmuWritable) | 5).flags.letters == "rx")
    }

    @Test(arguments: KernelConstants.all) func withoutAccessedAndDirtyBits(kernel: KernelConstants) throws {
        // SPTE_TDP_AD_DISABLED: bit 52.
        let entry = Self.writeBack | Self.inUse | kernel.hostWritable | kernel.mmuWritable | Self.page | 1 << 52
        let used = try leaf(kernel, entry | 7).flags
        #expect(used.letters == "rwx" && used.contains(.noAccessedDirty))
        // mark_spte_for_access_track: R and X move to bits 54 and 56, W is taken away.
        let tracked = try leaf(kernel, entry | 1 << 54 | 1 << 56).flags
        #expect(tracked.letters == "t" && tracked.contains(.noAccessedDirty))
    }
}

@Suite struct HostTableTests {
    @Test func entriesOfTheProcess() {
        // P, user, writable, A, D, NX: bit 63 and the frame.
        #expect(HostPageTables.pageMapEntry(0x8000_0001_2345_6867) == (1 << 63 | 0x12_3456) as UInt64)
        #expect(HostPageTables.pageMapEntry(0) == 0)
        // PROT_NONE: without P, with bit 8, the address inverted.
        let inverted = ~UInt64(0x1_2345_6000) & 0x000f_ffff_ffff_f000
        #expect(HostPageTables.pageMapEntry(inverted | 1 << 8) == (1 << 63 | 0x12_3456) as UInt64)
        // Swapped out, or being moved.
        #expect(HostPageTables.pageMapEntry(0x3ff_ffff_ff80_0002) == 1 << 62)
    }

    @Test func encryptedMemory() {
        // CPUID 0x8000001f of an EPYC: EAX bit 0, the bit is 47 (EBX 0x16f); of one without SME.
        #expect(HostProcessor.encryptionBit(leaf: 0x16f << 32 | 0xf) == 1 << 47)
        #expect(HostProcessor.encryptionBit(leaf: 0x33 << 32 | 1) == 1 << 51)
        #expect(HostProcessor.encryptionBit(leaf: 0x16f << 32) == 0)
        let mask = SecondStageDecoder.address(encryptionBit: 1 << 47)
        #expect((0x8000_1234_5000 | 0x867) & mask == 0x1234_5000)
        #expect(SecondStageDecoder.address(encryptionBit: 0) == 0x000f_ffff_ffff_f000)
    }

    @Test func lockdown() {
        #expect(Lockdown.isConfidential("none integrity [confidentiality]"))
        #expect(!Lockdown.isConfidential("none [integrity] confidentiality"))
        // EINVAL: such a kernel does not know the helper that reads its memory.
        for code in [EPERM, EACCES, EINVAL] {
            let text = BPFKernelMemory.loadError(code, isLockedDown: true).description
            #expect(text.contains("locked down to confidentiality") && text.contains("computed"))
        }
        #expect(BPFKernelMemory.loadError(EPERM, isLockedDown: false).description.contains("CAP_BPF and CAP_PERFMON"))
        #expect(BPFKernelMemory.loadError(EINVAL, isLockedDown: false).description.contains("5.19"))
        #expect(BPFKernelMemory.loadError(ENOENT, isLockedDown: true).description.contains("type information"))
    }
}

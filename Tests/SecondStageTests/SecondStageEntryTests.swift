// Entries of KVM's tables, put together bit by bit from the manuals and from arch/x86/kvm/mmu/spte.h.

import Addresses
import TestSupport
import Testing

@testable import SecondStage

@Suite struct SecondStageEntryTests {
    let ept = SecondStageDecoder(format: .ept)
    let npt = SecondStageDecoder(format: .npt)
    let shadow = SecondStageDecoder(format: .shadow)
    let inUse: UInt64 = 1 << 11

    @Test func presenceIsBitEleven() {
        // P alone, with a plausible address, is not in use.
        #expect(npt.decode(0x1234_5000 | 0x67, level: 1) == .unknown)
        #expect(npt.decode(0x1234_5000 | 0x67 | inUse, level: 2) == .table(HPA(0x1234_5000)))
        guard case .leaf(let hpa, _, _) = npt.decode(0x1234_5000 | 0x67 | inUse, level: 1) else {
            Issue.record("no leaf")
            return
        }
        #expect(hpa == HPA(0x1234_5000))
    }

    @Test(arguments: SecondStageFormat.allCases) func emptyAndRemoved(_ format: SecondStageFormat) {
        let decoder = SecondStageDecoder(format: format)
        #expect(decoder.decode(0, level: 1) == .empty)
        #expect(decoder.decode(1 << 63, level: 4) == .empty)
        #expect(decoder.decode(0x5a0, level: 1) == .removed)
        #expect(decoder.decode(0x5a0 | 1 << 63, level: 2) == .removed)
    }

    @Test func mmio() {
        // EPT: writable, executable, not readable. Elsewhere P and bit 51.
        #expect(ept.decode(0xfee0_0006, level: 1) == .mmio)
        #expect(ept.decode(0xfee0_0006 | 1 << 63, level: 1) == .mmio)
        #expect(npt.decode(1 << 51 | 0xfee0_0007, level: 1) == .mmio)
        #expect(npt.decode(0xfee0_0007, level: 1) == .unknown)
        #expect(shadow.decode(1 << 51 | 0xfee0_0001, level: 1) == .mmio)
        // A kernel that caches none has the value 0.
        #expect(SecondStageDecoder(format: .npt, mmioValue: 0).decode(1 << 51 | 0xfee0_0007, level: 1) == .unknown)
        #expect(
            SecondStageDecoder(format: .npt, mmioValue: 1 << 51 | 1).decode(1 << 51 | 0xfee0_0007, level: 1) == .mmio)
    }

    @Test func eptPermissionsAndMemoryType() {
        // R W X, WB, PAT ignored, A, D, host- and MMU-writable.
        let entry: UInt64 = 7 | 6 << 3 | 1 << 6 | 1 << 8 | 1 << 9 | inUse | 3 << 57 | 0x4_5678_9000
        guard case .leaf(let hpa, let flags, let memory) = ept.decode(entry, level: 1) else {
            Issue.record("no leaf")
            return
        }
        #expect(hpa == HPA(0x4_5678_9000))
        #expect(flags.letters == "rwxad")
        #expect(flags.isSuperset(of: [.hostWritable, .mmuWritable]))
        #expect(memory == .ept(type: 6, ignoresPAT: true))
        #expect(memory.text == "WB ignoring PAT")
    }

    @Test func eptBitsAlone() {
        let base = inUse | 0x1000
        for (bit, flag) in [
            (0, .readable), (1, .writable), (2, .executable), (8, .accessed), (9, .dirty), (57, .hostWritable),
            (58, .mmuWritable),
        ] as [(UInt64, SecondStageFlags)] {
            guard case .leaf(_, let flags, _) = ept.decode(base | 1 << bit, level: 1) else {
                Issue.record("no leaf for bit \(bit)")
                continue
            }
            #expect(flags == flag, "bit \(bit)")
        }
    }

    @Test func nptAndShadowBitsAlone() {
        let base = inUse | 1 << 63 | 0x1000
        for (bit, flag) in [
            (0, .readable), (1, .writable), (5, .accessed), (6, .dirty), (9, .hostWritable), (10, .mmuWritable),
        ] as [(UInt64, SecondStageFlags)] {
            for decoder in [npt, shadow] {
                guard case .leaf(_, let flags, _) = decoder.decode(base | 1 << bit, level: 1) else {
                    Issue.record("no leaf for bit \(bit)")
                    continue
                }
                #expect(flags == flag, "bit \(bit), \(decoder.format)")
            }
        }
        guard case .leaf(_, let flags, _) = shadow.decode(base | 4, level: 1) else {
            Issue.record("no leaf")
            return
        }
        #expect(flags == .user)
        guard case .leaf(_, let executable, _) = npt.decode(inUse, level: 1) else {
            Issue.record("no leaf")
            return
        }
        #expect(executable == .executable)
    }

    @Test func accessTracking() {
        // A/D type 1, no rights; R and X are kept in bits 54 and 56.
        let entry: UInt64 = 1 << 52 | 1 << 54 | 1 << 56 | inUse | 3 << 57 | 0x1000
        guard case .leaf(_, let flags, _) = ept.decode(entry, level: 1) else {
            Issue.record("no leaf")
            return
        }
        #expect(flags.contains(.accessTracked))
        #expect(flags.contains(.noAccessedDirty))
        #expect(!flags.contains(.dirtyLogged))
        #expect(flags.letters == "t")
    }

    @Test func dirtyLogging() {
        let protected: UInt64 = 5 | inUse | 3 << 57 | 0x1000
        guard case .leaf(_, let flags, _) = ept.decode(protected, level: 1) else {
            Issue.record("no leaf")
            return
        }
        #expect(flags.letters == "rxl")
        // Read-only for another reason: MMU-writable is clear.
        guard case .leaf(_, let readOnly, _) = ept.decode(5 | inUse | 1 << 57 | 0x1000, level: 1) else {
            Issue.record("no leaf")
            return
        }
        #expect(readOnly.letters == "rx")
    }

    @Test func largePages() {
        let entry: UInt64 = inUse | 1 << 7 | 1 | 0x8_0020_0000
        guard case .leaf(let hpa, _, _) = npt.decode(entry | 1 << 12, level: 2) else {
            Issue.record("no leaf")
            return
        }
        // Bit 12 is PAT, not address.
        #expect(hpa == HPA(0x8_0020_0000))
        guard case .leaf(_, _, let memory) = npt.decode(entry | 1 << 12 | 1 << 3, level: 2) else {
            Issue.record("no leaf")
            return
        }
        #expect(memory == .pat(index: 5))
        // No leaf above level 3, whatever bit 7 says.
        #expect(npt.decode(entry, level: 4) == .table(HPA(0x8_0020_0000)))
        #expect(SecondStageDecoder.pageSize(level: 1) == 4096)
        #expect(SecondStageDecoder.pageSize(level: 2) == 2 << 20)
        #expect(SecondStageDecoder.pageSize(level: 3) == 1 << 30)
    }

    @Test func anyEntryDecodes() {
        var generator = Random(seed: 1)
        for _ in 0..<20000 {
            let entry = UInt64.random(in: 0...UInt64.max, using: &generator)
            for format in SecondStageFormat.allCases {
                let level = Int.random(in: 0...6, using: &generator)
                if case .leaf(let hpa, _, _) = SecondStageDecoder(format: format).decode(entry, level: level) {
                    #expect(hpa.isAligned(to: SecondStageDecoder.pageSize(level: level)))
                    #expect(entry & 1 << 11 != 0)
                }
            }
        }
    }
}

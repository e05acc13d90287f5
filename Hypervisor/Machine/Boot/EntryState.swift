// The registers of vCPU 0 at the kernel's first instruction (docs/guest-contract.md, "Entry").

import KVM
import Layouts

extension Segment {
    /// A flat segment: base 0, 4 GiB.
    static func flat(selector: UInt16, type: UInt8, long: Bool, big: Bool) -> Segment {
        var segment = Segment()
        segment.limit = 0xffff_ffff
        segment.selector = selector
        segment.type = type
        segment.present = true
        segment.codeOrData = true
        segment.granular = true
        segment.long = long
        segment.big = big
        return segment
    }

    /// A busy task state segment of the least size: processors with VMX do not enter a guest without one.
    static var emptyTask: Segment {
        var segment = Segment()
        segment.limit = 0x67
        segment.type = 11
        segment.present = true
        return segment
    }

    /// A segment register that holds nothing.
    static var none: Segment {
        var segment = Segment()
        segment.unusable = true
        return segment
    }
}

extension KernelEntry {
    /// The GDT at `Contract.bootGDT`: null, 64-bit code, data, 32-bit code (Intel SDM volume 3, 3.4.5).
    static let gdt: [UInt64] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_9b00_0000_ffff]

    /// The registers at entry.
    ///
    /// - Parameters:
    ///   - reset: the vCPU's registers after reset; what the contract does not name stays.
    ///   - startInfo: where the start info lies.
    func registers(from reset: VCPURegisters, startInfo: UInt64) -> VCPURegisters {
        var r = VCPURegisters()
        r.apicBase = reset.apicBase
        r.rflags = 2
        r.rbx = startInfo
        r.gdt = DescriptorTable(base: Contract.bootGDT, limit: UInt16(KernelEntry.gdt.count * 8 - 1))
        r.idt = DescriptorTable(base: 0, limit: 0)
        r.tr = .emptyTask
        r.ldt = .none
        let data = Segment.flat(selector: 0x10, type: 3, long: false, big: true)
        r.ds = data
        r.es = data
        r.ss = data
        r.fs = data
        r.gs = data
        switch self {
        case .direct(let entry, let pml4):
            r.rip = entry
            r.rdi = startInfo
            r.rsi = Contract.entryMagic
            r.rsp = Contract.bootStack
            r.cs = .flat(selector: 0x08, type: 11, long: true, big: false)
            // PE, MP, ET, NE, WP, PG; PAE; LME, LMA, NXE (Intel SDM volume 3, 2.5 and 2.2.1).
            r.cr0 = 0x8001_0033
            r.cr3 = pml4
            r.cr4 = 0x20
            r.efer = 0xd00
        case .pvh(let entry):
            r.rip = UInt64(entry)
            r.cs = .flat(selector: 0x18, type: 11, long: false, big: true)
            // PE, ET.
            r.cr0 = 0x11
        }
        return r
    }
}

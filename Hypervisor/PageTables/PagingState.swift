// From control registers to a format and a root.

import Addresses

/// The registers that decide how an x86 processor translates addresses.
public struct PagingState: Equatable, Sendable {
    /// CR0: PG is bit 31, PE bit 0 (Intel SDM volume 3, 2.5).
    public var cr0: UInt64
    /// CR3: the root's address, flags or the PCID below bit 12.
    public var cr3: UInt64
    /// CR4: PSE is bit 4, PAE bit 5, LA57 bit 12 (SDM 3, 2.5).
    public var cr4: UInt64
    /// IA32_EFER: LMA is bit 10, NXE bit 11 (SDM 3, 2.2.1).
    public var efer: UInt64
    /// MAXPHYADDR: CPUID 0x80000008, EAX 7:0.
    public var maxPhysicalAddressBits: Int

    /// The registers as read.
    public init(cr0: UInt64, cr3: UInt64, cr4: UInt64, efer: UInt64, maxPhysicalAddressBits: Int = 52) {
        self.cr0 = cr0
        self.cr3 = cr3
        self.cr4 = cr4
        self.efer = efer
        self.maxPhysicalAddressBits = maxPhysicalAddressBits
    }

    /// What the registers say.
    public enum Mode: Equatable, Sendable {
        /// CR0.PG is clear: a virtual address is a physical one.
        case pagingOff
        /// Tables of this format, with the root at this address.
        case paging(PageTableFormat, root: GPA)
        /// A mode whose format is not described; its name.
        case unsupported(String)
    }

    /// The mode of translation (SDM 3, 5.1.1).
    public var mode: Mode {
        guard cr0 & 1 << 31 != 0 else { return .pagingOff }
        guard cr4 & 1 << 5 != 0 else {
            let format = PageTableFormat.x86ThirtyTwoBit(
                largePages: cr4 & 1 << 4 != 0, maxPhysicalAddressBits: maxPhysicalAddressBits)
            return .paging(format, root: GPA(cr3 & 0xffff_f000))
        }
        let noExecute = efer & 1 << 11 != 0
        guard efer & 1 << 10 != 0 else {
            let format = PageTableFormat.x86PAE(
                maxPhysicalAddressBits: maxPhysicalAddressBits, noExecute: noExecute, accessedInRoot: true)
            // SDM 3, table 5-7: the root is aligned to 32 bytes.
            return .paging(format, root: GPA(cr3 & 0xffff_ffe0))
        }
        let format =
            cr4 & 1 << 12 != 0
            ? PageTableFormat.x86FiveLevel(maxPhysicalAddressBits: maxPhysicalAddressBits, noExecute: noExecute)
            : PageTableFormat.x86FourLevel(maxPhysicalAddressBits: maxPhysicalAddressBits, noExecute: noExecute)
        return .paging(format, root: GPA(cr3 & X86Bit.address))
    }
}

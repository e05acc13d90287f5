// The registers of a vCPU as plain values, in the processor's own names.

/// A segment register with its hidden part (struct kvm_segment; Intel SDM volume 3, 3.4.3).
public struct Segment: Hashable, Sendable {
    /// The linear address of the segment.
    public var base: UInt64 = 0
    /// The last valid offset, in bytes.
    public var limit: UInt32 = 0
    /// The visible part: index, table, requested privilege level.
    public var selector: UInt16 = 0
    /// The descriptor's type field, 4 bits.
    public var type: UInt8 = 0
    /// The descriptor privilege level, 0...3.
    public var privilege: UInt8 = 0
    /// P: the segment is present.
    public var present = false
    /// D/B: 32-bit default size.
    public var big = false
    /// S: code or data, not a system segment.
    public var codeOrData = false
    /// L: 64-bit code.
    public var long = false
    /// G: the descriptor's limit counts pages.
    public var granular = false
    /// AVL: free for the kernel's use.
    public var available = false
    /// The hidden part is not valid (a null selector was loaded).
    public var unusable = false

    /// A segment with every field 0.
    public init() {}
}

/// GDTR or IDTR.
public struct DescriptorTable: Hashable, Sendable {
    /// The table's linear address.
    public var base: UInt64 = 0
    /// The last valid offset, in bytes.
    public var limit: UInt16 = 0

    /// A table with base and limit.
    public init(base: UInt64 = 0, limit: UInt16 = 0) {
        self.base = base
        self.limit = limit
    }
}

/// The registers of a vCPU that describe what it runs and how it addresses memory.
public struct VCPURegisters: Hashable, Sendable {
    /// General-purpose registers.
    public var rax: UInt64 = 0, rbx: UInt64 = 0, rcx: UInt64 = 0, rdx: UInt64 = 0
    /// General-purpose registers.
    public var rsi: UInt64 = 0, rdi: UInt64 = 0, rsp: UInt64 = 0, rbp: UInt64 = 0
    /// General-purpose registers.
    public var r8: UInt64 = 0, r9: UInt64 = 0, r10: UInt64 = 0, r11: UInt64 = 0
    /// General-purpose registers.
    public var r12: UInt64 = 0, r13: UInt64 = 0, r14: UInt64 = 0, r15: UInt64 = 0
    /// Instruction pointer and flags.
    public var rip: UInt64 = 0, rflags: UInt64 = 0
    /// Segments. The bases of FS and GS are those of the MSRs FS_BASE and GS_BASE.
    public var cs = Segment(), ds = Segment(), es = Segment(), fs = Segment(), gs = Segment(), ss = Segment()
    /// Task register and local descriptor table register.
    public var tr = Segment(), ldt = Segment()
    /// Descriptor tables.
    public var gdt = DescriptorTable(), idt = DescriptorTable()
    /// Control registers.
    public var cr0: UInt64 = 0, cr2: UInt64 = 0, cr3: UInt64 = 0, cr4: UInt64 = 0, cr8: UInt64 = 0
    /// IA32_EFER.
    public var efer: UInt64 = 0
    /// IA32_APIC_BASE.
    public var apicBase: UInt64 = 0
    /// IA32_PAT.
    public var pat: UInt64 = 0
    /// IA32_KERNEL_GS_BASE: what SWAPGS exchanges with the base of GS.
    public var kernelGSBase: UInt64 = 0
    /// MAXPHYADDR as the guest sees it (CPUID 0x8000_0008, EAX bits 7-0).
    public var maxPhysicalAddressBits = 0

    /// Registers that are all 0.
    public init() {}
}

/// What KVM_TRANSLATE says of a linear address.
public struct KVMTranslation: Hashable, Sendable {
    /// The guest physical address.
    public let gpa: UInt64
    /// KVM says writable. On x86 it always does.
    public let writable: Bool
    /// KVM says user-accessible. On x86 it never does.
    public let user: Bool

    /// A translation, as KVM returned it.
    public init(gpa: UInt64, writable: Bool, user: Bool) {
        self.gpa = gpa
        self.writable = writable
        self.user = user
    }
}

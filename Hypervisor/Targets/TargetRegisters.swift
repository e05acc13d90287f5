// The registers of a target's vCPU.

import JSON
import PageTables

/// A segment register of a target.
public struct TargetSegment: Sendable, Equatable {
    /// The linear address of the segment.
    public let base: UInt64
    /// The last valid offset, in bytes.
    public let limit: UInt32
    /// The visible part.
    public let selector: UInt16
    /// Access rights as in the second word of a descriptor, bits 8-15 and 20-23 moved down to 0-7 and 12-15 (VMX's form:
    /// Intel SDM volume 3, 25.4.1).
    public let attributes: UInt32

    /// From what a descriptor cache holds.
    ///
    /// - Parameter flags: the second word of the descriptor.
    init(selector: UInt64, base: UInt64, limit: UInt64, flags: UInt64) {
        self.selector = UInt16(truncatingIfNeeded: selector)
        self.base = base
        self.limit = UInt32(truncatingIfNeeded: limit)
        attributes = UInt32(truncatingIfNeeded: flags >> 8 & 0xf0ff)
    }

    /// A segment register.
    init(base: UInt64, limit: UInt32, selector: UInt16, attributes: UInt32) {
        self.base = base
        self.limit = limit
        self.selector = selector
        self.attributes = attributes
    }
}

/// The registers of a target's vCPU, by the processor's names in lower case.
public struct TargetRegisters: Sendable {
    /// Every 64-bit register, in the order the target sent them: `rax`, ... `cr0`, ... `efer`, `pat`.
    public let values: [(name: String, value: UInt64)]
    /// Segment registers: `cs`, `ds`, `es`, `fs`, `gs`, `ss`, `tr`, `ldt`; base and limit of `gdt` and `idt`.
    public let segments: [(name: String, segment: TargetSegment)]
    /// MAXPHYADDR: the width of a guest physical address, in bits.
    public let maxPhysicalAddressBits: Int
    /// What decides how an ARMv7 processor translates addresses; nil on x86.
    public let arm: ARMPagingState?

    /// A register's value, or nil if the target has none of that name.
    public subscript(name: String) -> UInt64? { values.first { $0.name == name }?.value }
    /// A segment register, or nil if the target has none of that name.
    public func segment(_ name: String) -> TargetSegment? { segments.first { $0.name == name }?.segment }

    /// Control register 0.
    public var cr0: UInt64 { self["cr0"] ?? 0 }
    /// Control register 2: the address of the last page fault.
    public var cr2: UInt64 { self["cr2"] ?? 0 }
    /// Control register 3: the root of the page tables.
    public var cr3: UInt64 { self["cr3"] ?? 0 }
    /// Control register 4.
    public var cr4: UInt64 { self["cr4"] ?? 0 }
    /// IA32_EFER.
    public var efer: UInt64 { self["efer"] ?? 0 }
    /// Instruction pointer.
    public var rip: UInt64 { self["rip"] ?? 0 }

    /// What decides how an x86 processor translates addresses.
    public var paging: PagingState {
        PagingState(cr0: cr0, cr3: cr3, cr4: cr4, efer: efer, maxPhysicalAddressBits: maxPhysicalAddressBits)
    }

    /// How addresses are translated, whatever the processor.
    public var translation: TranslationMode { arm?.translation ?? paging.translation }

    /// Registers by name.
    public init(
        values: [(name: String, value: UInt64)], segments: [(name: String, segment: TargetSegment)],
        maxPhysicalAddressBits: Int, arm: ARMPagingState? = nil
    ) {
        self.arm = arm
        self.values = values
        self.segments = segments
        self.maxPhysicalAddressBits = maxPhysicalAddressBits
    }

    /// From the answer to `x-vitrine-registers`.
    init(_ json: JSON) throws(TargetError) {
        guard let members = json.members else { throw .badAnswer("registers are no object") }
        var values: [(String, UInt64)] = []
        var segments: [(String, TargetSegment)] = []
        for member in members {
            if let value = member.value.address {
                values.append((member.name, value))
            } else if let base = member.value["base"]?.address, let limit = member.value["limit"]?.uint64,
                // GDTR and IDTR have none.
                let selector = member.value["selector"]?.uint64 ?? (["gdt", "idt"].contains(member.name) ? 0 : nil)
            {
                segments.append(
                    (
                        member.name,
                        TargetSegment(
                            base: base, limit: UInt32(truncatingIfNeeded: limit),
                            selector: UInt16(truncatingIfNeeded: selector),
                            attributes: UInt32(truncatingIfNeeded: member.value["attributes"]?.address ?? 0))
                    ))
            }
        }
        guard let bits = json["maxphyaddr"]?.int, (32...52).contains(bits) else {
            throw .badAnswer("maxphyaddr is missing or out of range")
        }
        for name in ["cr0", "cr3", "cr4", "efer"] where !values.contains(where: { $0.0 == name }) {
            throw .badAnswer("register \(name) is missing")
        }
        self.values = values
        self.segments = segments
        maxPhysicalAddressBits = bits
        arm = nil
    }
}

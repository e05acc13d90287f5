// A Linux kernel as its page tables show it: where its regions are, and how each was found.

import Addresses
import Layouts
import PageTables

/// A region of a Linux kernel, and how it was found.
public struct LinuxRegion: Sendable, Hashable {
    /// How the bounds are known.
    public enum Certainty: String, Sendable {
        /// Worked out from what is mapped.
        case measured
        /// Fixed by the kernel's source, whatever is mapped.
        case assumed
    }

    /// The name: `direct map`, `vmalloc`, `kernel text`.
    public let name: String
    /// The first virtual address.
    public let first: GVA
    /// The last virtual address.
    public let last: GVA
    /// How the first address is known.
    public let certainty: Certainty
    /// What was seen, or where the bounds come from.
    public let evidence: String
    /// What the region is for.
    public let purpose: String
    /// Whether GPA = VA - the first address.
    public var isLinear = false
}

/// A Linux kernel, recognised by its page tables alone.
public struct LinuxKernel: Sendable, Hashable {
    /// The regions, by ascending address.
    public internal(set) var regions: [LinuxRegion]
    /// What `page_offset_base` must hold: the direct map's first address.
    public let directMapBase: GVA
    /// What `vmalloc_base` must hold; nil if nothing is mapped there and KASLR may have moved it.
    public let vmallocBase: GVA?
    /// What `vmemmap_base` must hold; nil if no array of struct page was found.
    public let vmemmapBase: GVA?
    /// The image's first virtual address: `_text`.
    public let imageBase: GVA
    /// The image's first physical address.
    public let imagePhysicalBase: GPA
    /// Whether KASLR moved the direct map, vmalloc or vmemmap from where they are without it.
    public let isMemoryRandomised: Bool
    /// The root in which the regions were found.
    public let kernelRoot: GPA
    /// Whether the root asked for is the copy that user mode runs with (page-table isolation), which holds a part of it only.
    public let isUserCopy: Bool

    /// The layout that names addresses as the kernel does.
    public var layout: Layout {
        Layout(
            name: "linux", summary: "Linux, found in the tables",
            source: "the tables; bounds that are fixed: Documentation/arch/x86/x86_64/mm.rst",
            regions: regions.map {
                Region(
                    $0.name, first: $0.first.rawValue, last: $0.last.rawValue, $0.isLinear ? .linear : .paged,
                    $0.purpose)
            },
            softwareBits: LinuxKernel.softwareBits, absentMask: LinuxKernel.absentMask, facts: [])
    }

    /// The region of this name, or nil.
    public func region(_ name: String) -> LinuxRegion? { regions.first { $0.name == name } }

    /// Bits of entries that are not present and then mean something.
    private static let absentMask = SoftwareBits.linux.bits.reduce(0 as UInt64) { $1.present ? $0 : $0 | $1.mask }

    /// Every combination of the kernel's software bits, by their names with commas, those with the most bits first: the first
    /// that matches says it all.
    private static let softwareBits: [Layouts.SoftwareBit] = {
        let present = SoftwareBits.linux.bits.filter(\.present)
        var all: [(count: Int, bit: Layouts.SoftwareBit)] = []
        for choice in 1..<(1 << present.count) {
            let chosen = present.indices.filter { choice >> $0 & 1 == 1 }.map { present[$0] }
            let mask = chosen.reduce(X86Bit.present) { $0 | $1.mask }
            let names = chosen.map(\.name).joined(separator: ",")
            all.append(
                (
                    chosen.count,
                    Layouts.SoftwareBit(mask: mask, value: mask, name: names, form: "present, software bits")
                ))
        }
        let absent = SoftwareBits.linux.bits.filter { !$0.present }.map { bit in
            Layouts.SoftwareBit(
                mask: X86Bit.present | bit.mask, value: bit.mask, name: bit.name, form: "not present, bit 8")
        }
        return all.sorted { $0.count > $1.count }.map(\.bit) + absent
    }()
}

// Runs with names: what is behind them, the region they lie in, what their software bits mean.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// A run of leaves within one region and with one kind of backing.
public struct AnnotatedRange: Sendable, Hashable {
    /// The first virtual address.
    public var va: GVA
    /// Bytes of virtual addresses.
    public var size: UInt64
    /// The physical address behind the first.
    public var gpa: GPA
    /// The page size.
    public var pageSize: UInt64
    /// True if every page maps the physical page at `gpa`.
    public var repeatsPage: Bool
    /// Effective permissions and other attributes.
    public var flags: PageFlags
    /// The leaves without their address bits.
    public var leafBits: UInt64
    /// What is behind it.
    public var kind: Backing
    /// The layout's name for it, or nil.
    public var region: String?
    /// What its software bits mean in the layout: `prot-none`, `cow`; else nil.
    public var meaning: String?
}

/// Cuts runs at the borders of regions and slots.
struct RangeAnnotator {
    let layout: Layout?
    let slots: SlotTable
    private var region: Region?
    private var backing: (kind: Backing, first: GPA, last: GPA)?

    init(layout: Layout?, slots: SlotTable) {
        self.layout = layout
        self.slots = slots
    }

    /// Hands the pieces of a run to `body`, by ascending virtual address.
    mutating func annotate(_ run: MappedRun, _ body: (AnnotatedRange) -> Void) {
        var va = run.va
        var left = run.size
        while left > 0 {
            let (name, inRegion) = region(at: va)
            let gpa = run.repeatsPage ? run.gpa : run.gpa &+ (va &- run.va)
            var piece = min(left, inRegion)
            var kind = Backing.absent
            if run.isPresent {
                let (behind, last) = backing(at: gpa)
                kind = behind
                // A page of a run that repeats one has as much behind it as every other.
                let backed = last &- gpa
                if !run.repeatsPage && backed < piece &- 1 { piece = backed &+ 1 }
            }
            body(
                AnnotatedRange(
                    va: va, size: piece, gpa: gpa, pageSize: run.pageSize, repeatsPage: run.repeatsPage,
                    flags: run.flags, leafBits: run.leafBits, kind: kind, region: name,
                    meaning: layout?.meaning(of: run.leafBits)?.name))
            va = va &+ piece
            left -= piece
        }
    }

    /// The region's name, and how many bytes from `va` on lie in it (or before the next one).
    mutating func region(at va: GVA) -> (String?, UInt64) {
        guard let layout else { return (nil, .max) }
        if let region, region.contains(va) { return (region.name, bytes(from: va, to: region.last)) }
        if let found = layout.region(of: va) {
            region = found
            return (found.name, bytes(from: va, to: found.last))
        }
        guard let next = layout.region(after: va) else { return (nil, .max) }
        return (nil, next.first &- va)
    }

    private func bytes(from va: GVA, to last: GVA) -> UInt64 { max(1, (last &- va) &+ 1) }

    /// What is behind an address, and up to where.
    mutating func backing(at gpa: GPA) -> (Backing, GPA) {
        if let backing, backing.first <= gpa, gpa <= backing.last { return (backing.kind, backing.last) }
        let (kind, last) = slots.backing(of: gpa)
        backing = (kind, gpa, last)
        return (kind, last)
    }
}

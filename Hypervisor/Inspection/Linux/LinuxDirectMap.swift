// What KASLR moves: the direct map, vmalloc and the array of struct page.

import Addresses
import GuestMemory
import PageTables

/// The direct map: all physical memory at GPA = VA - base.
struct LinuxDirectMap {
    /// The first address, a multiple of 1 GiB.
    let base: UInt64
    /// The last address that is mapped.
    let last: UInt64
    /// The physical ranges that it maps and that are RAM, by ascending address, none touching another.
    let ram: [ClosedRange<UInt64>]
    /// What was seen.
    let evidence: String

    /// The base by which the most RAM is mapped, if it holds the image and no leaf in between contradicts it.
    init?(_ high: RunIndex, map: LinuxMemoryMap, image: LinuxImage, slots: SlotTable) {
        var bytes: [UInt64: UInt64] = [:]
        for run in high.runs where run.isPresent && !run.flags.contains(.user) && !run.repeatsPage {
            let base = run.va.rawValue &- run.gpa.rawValue
            guard base & (LinuxMemoryMap.step - 1) == 0, base >= map.ldtRemap.first else { continue }
            bytes[base, default: 0] &+= slots.ramBytes(run.gpa...run.lastGPA)
        }
        // Of equals the lower, whatever the dictionary's order.
        guard let best = bytes.max(by: { ($0.value, $1.key) < ($1.value, $0.key) }), best.value > 0 else { return nil }
        let base = best.key
        // The image's memory is there as well.
        let (imageFirst, imageLast) = (image.first &- image.distance, image.last &- image.distance)
        guard high.mappedBytes(base &+ imageFirst, base &+ imageLast) == imageLast &- imageFirst &+ 1 else {
            return nil
        }
        // Up to the end of the highest RAM that is mapped at this distance every leaf is.
        let linear = high.runs.filter { $0.va.rawValue &- $0.gpa.rawValue == base && !$0.repeatsPage && $0.isPresent }
        guard let end = linear.last?.lastVA.rawValue, high.touching(base, end).count == linear.count else { return nil }
        self.base = base
        last = end
        var ram: [ClosedRange<UInt64>] = []
        for run in linear {
            for slot in slots.slots {
                let first = max(run.gpa.rawValue, slot.guestPhysicalAddress.rawValue)
                let final = min(run.lastGPA.rawValue, slot.guestPhysicalAddress.rawValue &+ (slot.size &- 1))
                guard first <= final else { continue }
                if let before = ram.last, before.upperBound &+ 1 == first {
                    ram[ram.count - 1] = before.lowerBound...final
                } else {
                    ram.append(first...final)
                }
            }
        }
        self.ram = ram
        let total = slots.slots.reduce(0 as UInt64) { $0 &+ $1.size }
        evidence =
            "GPA = VA - base in all of its \(counted(linear.count, "range")); they hold \(roundSize(best.value)) of "
            + "\(roundSize(total)) in memory slots, the image among it"
    }
}

/// The array of struct page: that of page frame n at base + 64 * n, made for whole memory sections.
struct LinuxVmemmap {
    /// The first address, a multiple of 1 GiB.
    let base: UInt64
    /// What was seen.
    let evidence: String
    private let end: UInt64

    /// The base from which there is a struct page for the RAM of the direct map, and nothing else.
    init?(_ high: RunIndex, map: LinuxMemoryMap, directMap: LinuxDirectMap) {
        guard let lowest = directMap.ram.first, let highest = directMap.ram.last else { return nil }
        func structPages(_ range: ClosedRange<UInt64>) -> (first: UInt64, last: UInt64) {
            let size = LinuxMemoryMap.structPage
            return (range.lowerBound >> 12 &* size, (range.upperBound >> 12 &+ 1) &* size &- 1)
        }
        /// The same for the sections that the range touches.
        func sections(_ range: ClosedRange<UInt64>) -> (first: UInt64, last: UInt64) {
            let mask = LinuxMemoryMap.section &- 1
            return structPages((range.lowerBound & ~mask)...(range.upperBound | mask))
        }
        let span = sections(lowest.lowerBound...highest.upperBound).last
        var candidates: [UInt64] = []
        for run in high.touching(directMap.last &+ 1, LinuxMemoryMap.movedLimit &- 1).reversed() {
            let base = (run.va.rawValue &- structPages(lowest).first) & ~(LinuxMemoryMap.step &- 1)
            if candidates.last != base && base > directMap.last { candidates.append(base) }
        }
        let ranges = directMap.ram.map(sections)
        for base in candidates where base <= LinuxMemoryMap.movedLimit &- span {
            let complete = directMap.ram.map(structPages).allSatisfy { pages in
                high.mappedBytes(base &+ pages.first, base &+ pages.last) == pages.last &- pages.first &+ 1
            }
            guard complete else { continue }
            let alone = high.touching(base, base &+ (span | (LinuxMemoryMap.step &- 1))).allSatisfy { run in
                ranges.contains { range in
                    // Sections side by side share runs.
                    run.va.rawValue <= base &+ range.last && run.lastVA.rawValue >= base &+ range.first
                } && run.flags.isSuperset(of: [.writable]) && run.flags.isDisjoint(with: [.user, .executable])
            }
            guard alone else { continue }
            self.base = base
            end = base &+ span
            evidence =
                "64 bytes for each page frame of the RAM in the direct map, and nothing else up to "
                + GVA(base &+ (span | (LinuxMemoryMap.step &- 1))).hex
            return
        }
        return nil
    }

    /// The last address of the region: as far as the map has it, KASLR or not.
    func last(_ map: LinuxMemoryMap) -> UInt64 {
        max(end, min(base &+ (map.vmemmap.last - map.vmemmap.first), LinuxMemoryMap.movedLimit - 1))
    }
}

/// vmalloc and ioremap: what lies between the direct map and the array of struct page.
struct LinuxVmalloc {
    /// The first address, a multiple of 1 GiB; nil if nothing is mapped there.
    let base: UInt64?
    /// What was seen.
    let evidence: String

    init(
        _ high: RunIndex, map: LinuxMemoryMap, directMap: LinuxDirectMap, vmemmap: LinuxVmemmap?, isDefault: Bool
    ) {
        // Without an array of struct page what lies above is not known.
        let end = vmemmap?.base ?? (isDefault ? map.vmemmap.first : 0)
        let runs = end > directMap.last ? high.touching(directMap.last &+ 1, end &- 1) : []
        guard let first = runs.first else {
            base = nil
            evidence = "nothing is mapped there; where it is without KASLR"
            return
        }
        // It is filled from its first address on, which is a multiple of 1 GiB.
        base = first.va.rawValue & ~(LinuxMemoryMap.step &- 1)
        evidence =
            "from the first GiB in which something is mapped between the direct map and "
            + (vmemmap == nil ? "where vmemmap is without KASLR" : "vmemmap")
            + "; \(counted(runs.count, "range"))"
    }
}

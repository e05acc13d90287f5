// The kernel's image in the last 2 GiB: text, read-only data and data, told apart by their permissions.

import Addresses
import GuestMemory
import PageTables

/// The image of a Linux kernel.
struct LinuxImage {
    /// VA - GPA throughout.
    let distance: UInt64
    /// The first address: `_text`.
    let first: UInt64
    /// The last address that is mapped: the end of bss and of early allocations.
    let last: UInt64
    /// The runs.
    let runs: [MappedRun]

    /// The image among what is mapped in the last 2 GiB, or nil if there is none.
    init?(_ top: RunIndex, slots: SlotTable) {
        let inside = top.touching(LinuxMemoryMap.image.first, LinuxMemoryMap.image.last)
        func isKernels(_ run: MappedRun) -> Bool { run.isPresent && !run.flags.contains(.user) && !run.repeatsPage }
        // The text comes first, at an address that is aligned virtually and physically.
        guard let text = inside.first, isKernels(text), text.flags.contains(.executable),
            text.va.isAligned(to: LinuxMemoryMap.imageAlignment), text.gpa.isAligned(to: LinuxMemoryMap.imageAlignment)
        else { return nil }
        let distance = text.va.rawValue &- text.gpa.rawValue
        let mine = inside.filter { isKernels($0) && $0.va.rawValue &- $0.gpa.rawValue == distance }
        guard let final = mine.last, slots.isRAM(text.gpa...final.lastGPA),
            // An image has data: something writable that cannot be executed.
            mine.contains(where: { $0.flags.contains(.writable) && !$0.flags.contains(.executable) })
        else { return nil }
        self.distance = distance
        first = text.va.rawValue
        last = final.lastVA.rawValue
        runs = mine
    }

    /// Text, read-only data, data, and between them what was freed after boot.
    var regions: [LinuxRegion] {
        let textEnd = runs.last { $0.flags.contains(.executable) }?.lastVA.rawValue ?? first
        var regions = [
            region("kernel text", first, textEnd, "executable, from the image's first address on", "the image's code")
        ]
        // The first row of read-only runs; among the data there are read-only pages too (the IDT).
        let behind = runs.filter { $0.va.rawValue > textEnd }
        guard let start = behind.firstIndex(where: { !$0.flags.contains(.writable) }) else { return regions }
        var end = start
        while end + 1 < behind.count, !behind[end + 1].flags.contains(.writable),
            behind[end].lastVA &+ 1 == behind[end + 1].va
        { end += 1 }
        let (rodataFirst, rodataLast) = (behind[start].va.rawValue, behind[end].lastVA.rawValue)
        addGap(to: &regions, upTo: rodataFirst)
        regions.append(
            region(
                "kernel rodata", rodataFirst, rodataLast, "neither writable nor executable",
                "the image's read-only data")
        )
        // _sdata follows X86_ALIGN_RODATA_END (arch/x86/kernel/vmlinux.lds.S): the next 2 MiB.
        let mask = LinuxMemoryMap.imageAlignment &- 1
        let dataFirst = (rodataLast &+ mask) & ~mask
        guard dataFirst <= last else { return regions }
        addGap(to: &regions, upTo: dataFirst)
        regions.append(
            region(
                "kernel data", dataFirst, last,
                "writable, from the next 2 MiB on; data, bss and the early heap have the same permissions",
                "the image's data and bss"))
        return regions
    }

    private func region(
        _ name: String, _ first: UInt64, _ last: UInt64, _ evidence: String, _ purpose: String
    ) -> LinuxRegion {
        LinuxRegion(
            name: name, first: GVA(first), last: GVA(last), certainty: .measured,
            evidence: "\(evidence); GPA \(GPA(first &- distance).hex)", purpose: purpose)
    }

    /// What lies between the last region and the next one.
    private func addGap(to regions: inout [LinuxRegion], upTo next: UInt64) {
        guard let last = regions.last?.last.rawValue, last &+ 1 < next else { return }
        regions.append(
            region("kernel freed", last &+ 1, next &- 1, "between parts of the image", "given back after boot"))
    }
}

extension SlotTable {
    /// Whether every address of a range is RAM.
    func isRAM(_ range: ClosedRange<GPA>) -> Bool {
        let (kind, last) = backing(of: range.lowerBound)
        return kind == .ram && last >= range.upperBound
    }

    /// How many bytes of a range are RAM.
    func ramBytes(_ range: ClosedRange<GPA>) -> UInt64 {
        slots.reduce(0) { sum, slot in
            let first = max(range.lowerBound, slot.guestPhysicalAddress)
            let last = min(range.upperBound, slot.guestPhysicalAddress &+ (slot.size &- 1))
            return first <= last ? sum &+ ((last &- first) &+ 1) : sum
        }
    }
}

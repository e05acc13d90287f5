// Recognises a Linux kernel on x86-64 by its page tables, and finds what KASLR moves.
//
// Three things together make a Linux: an image 2 MiB-aligned in the last 2 GiB, mapped at a constant distance from its
// physical addresses; a direct map, in which GPA = VA - base for every leaf, base a multiple of 1 GiB, that holds the image
// too; and the area of CPU entries, which every kernel since 4.14 has. No other system that is known here has even the first two.

import Addresses
import GuestMemory
import PageTables

extension LinuxKernel {
    /// Looks for a Linux kernel in tables.
    ///
    /// - Parameters:
    ///   - root: the root; may be the copy that user mode runs with, whose neighbour is the kernel's own.
    ///   - format: only 4-level and 5-level tables of x86 can be Linux's here.
    ///   - memory: where the tables are read.
    ///   - slots: what is RAM.
    ///   - tableLimit: how many tables are read at most; more than a terabyte in 4 KiB pages has if not given.
    /// - Returns: nil if the tables do not look like Linux's, or if there are more.
    public static func find(
        root: GPA, format: PageTableFormat, memory: some PhysicalMemory, slots: SlotTable, tableLimit: Int = 1 << 18
    ) -> LinuxKernel? {
        guard format.entrySize == 8, format.signExtended, (4...5).contains(format.rootLevel),
            format.grantMask == X86Bit.writable | X86Bit.user
        else { return nil }
        if let search = LinuxSearch(root: root, format: format, memory: memory, slots: slots, tableLimit: tableLimit) {
            return search.kernel()
        }
        // PTI_USER_PGTABLE_BIT: the user's copy of a root is the page after it (arch/x86/entry/calling.h).
        guard root.rawValue & userCopyBit != 0 else { return nil }
        let kernelRoot = GPA(root.rawValue & ~userCopyBit)
        guard
            let search = LinuxSearch(
                root: kernelRoot, format: format, memory: memory, slots: slots, tableLimit: tableLimit),
            isCopy(root, of: kernelRoot, format: format, memory: memory)
        else { return nil }
        return search.kernel(isUserCopy: true)
    }

    private static let userCopyBit: UInt64 = 1 << 12

    /// Whether one root is the other's copy: both map the same page at the CPU entry area's first address, where the
    /// interrupt descriptor table is, and entries of the lower half lead to the same tables.
    private static func isCopy(
        _ copy: GPA, of root: GPA, format: PageTableFormat, memory: some PhysicalMemory
    ) -> Bool {
        func page(_ root: GPA) -> GPA? {
            translate(GVA(LinuxMemoryMap.cpuEntryArea.first), root: root, format: format, memory: memory).mapping?.gpa
        }
        guard let mine = page(copy), mine == page(root), let first = memory.page(at: copy),
            let second = memory.page(at: root)
        else { return false }
        // The kernel's root forbids execution in the lower half, the copy does not.
        return (0..<256).allSatisfy { index in
            let (a, b) = (
                first.load(fromByteOffset: index * 8, as: UInt64.self),
                second.load(fromByteOffset: index * 8, as: UInt64.self)
            )
            return (a ^ b) & X86Bit.address == 0
        }
    }
}

/// What was found on the way.
struct LinuxSearch {
    let root: GPA
    let map: LinuxMemoryMap
    let slots: SlotTable
    /// The upper half up to the CPU entry area.
    let high: RunIndex
    /// The last 2 GiB.
    let top: RunIndex
    /// The CPU entry area and what follows up to the last 2 GiB.
    let fixed: RunIndex
    let image: LinuxImage
    let directMap: LinuxDirectMap

    /// More runs than this are not kept (100 MiB).
    private static let runLimit = 1 << 21

    init?(
        root: GPA, format: PageTableFormat, memory: some PhysicalMemory, slots: SlotTable, tableLimit: Int
    ) {
        var left = tableLimit
        func runs(_ first: UInt64, _ last: UInt64) -> RunIndex? {
            var options = WalkOptions()
            options.range = GVA(first)...GVA(last)
            options.ignoredBits = format.volatileBits
            options.tableLimit = left
            var collector = SomeRuns(limit: LinuxSearch.runLimit)
            let summary = walk(root: root, format: format, memory: memory, options: options, into: &collector)
            left -= summary.tables.count
            return summary.isComplete && left > 0 ? RunIndex(collector.runs) : nil
        }
        self.root = root
        self.slots = slots
        map = format.rootLevel == 5 ? .fiveLevel : .fourLevel
        // First what is cheap and what few other systems have.
        guard let top = runs(LinuxMemoryMap.image.first, .max), let image = LinuxImage(top, slots: slots) else {
            return nil
        }
        guard let fixed = runs(LinuxMemoryMap.cpuEntryArea.first, LinuxMemoryMap.image.first - 1),
            let entry = fixed.run(at: LinuxMemoryMap.cpuEntryArea.first), !entry.flags.contains(.user)
        else { return nil }
        guard let high = runs(map.ldtRemap.first, LinuxMemoryMap.movedLimit - 1),
            let directMap = LinuxDirectMap(high, map: map, image: image, slots: slots)
        else { return nil }
        self.top = top
        self.image = image
        self.fixed = fixed
        self.high = high
        self.directMap = directMap
    }

    /// Everything with its name.
    func kernel(isUserCopy: Bool = false) -> LinuxKernel {
        let vmemmap = LinuxVmemmap(high, map: map, directMap: directMap)
        let isDefault = directMap.base == map.directMap.first && vmemmap?.base ?? map.vmemmap.first == map.vmemmap.first
        let vmalloc = LinuxVmalloc(high, map: map, directMap: directMap, vmemmap: vmemmap, isDefault: isDefault)
        let vmallocBase = vmalloc.base ?? (isDefault ? map.vmalloc.first : nil)
        let isRandomised = !isDefault || (vmalloc.base ?? map.vmalloc.first) != map.vmalloc.first
        var regions = [
            LinuxRegion(
                name: "user", first: GVA(map.user.first), last: GVA(map.user.last), certainty: .assumed,
                evidence: "the lower half", purpose: "the process")
        ]
        if directMap.base > map.ldtRemap.last {
            regions.append(
                assumed("LDT remap", map.ldtRemap, high, "LDTs for user mode, where page tables are isolated"))
        }
        // It may reach up to what follows: how much is kept free for memory to be added is the kernel's configuration.
        let next = vmallocBase ?? vmemmap?.base ?? LinuxMemoryMap.movedLimit
        let directLast = isRandomised ? next - 1 : map.directMap.last
        regions.append(
            LinuxRegion(
                name: "direct map", first: GVA(directMap.base), last: GVA(max(directMap.last, directLast)),
                certainty: .measured, evidence: directMap.evidence, purpose: "all physical memory", isLinear: true))
        if let vmallocBase {
            let last = min(vmallocBase &+ (map.vmalloc.last - map.vmalloc.first), (vmemmap?.base ?? .max) - 1)
            regions.append(
                LinuxRegion(
                    name: "vmalloc", first: GVA(vmallocBase), last: GVA(min(last, LinuxMemoryMap.movedLimit - 1)),
                    certainty: vmalloc.base == nil ? .assumed : .measured, evidence: vmalloc.evidence,
                    purpose: "vmalloc and ioremap"))
        }
        if let vmemmap {
            regions.append(
                LinuxRegion(
                    name: "vmemmap", first: GVA(vmemmap.base), last: GVA(vmemmap.last(map)), certainty: .measured,
                    evidence: vmemmap.evidence, purpose: "the array of struct page"))
        }
        // Kernels with KASAN do not move their regions, so its shadow is where the map has it.
        if !isRandomised && !high.touching(map.kasan.first, map.kasan.last).isEmpty {
            regions.append(assumed("KASAN", map.kasan, high, "KASAN's shadow"))
        }
        regions += [
            assumed("cpu_entry_area", LinuxMemoryMap.cpuEntryArea, fixed, "IDT, entry stacks and TSS of each CPU"),
            assumed("espfix", LinuxMemoryMap.espfix, fixed, "stacks for returns to 16-bit segments"),
            assumed("EFI", LinuxMemoryMap.efi, fixed, "EFI runtime services"),
        ]
        regions += image.regions + topRegions()
        return LinuxKernel(
            regions: regions.sorted { $0.first < $1.first }, directMapBase: GVA(directMap.base),
            vmallocBase: vmallocBase.map { GVA($0) }, vmemmapBase: vmemmap.map { GVA($0.base) },
            imageBase: GVA(image.first),
            imagePhysicalBase: GPA(image.first &- image.distance), isMemoryRandomised: isRandomised, kernelRoot: root,
            isUserCopy: isUserCopy)
    }

    /// What follows the image.
    private func topRegions() -> [LinuxRegion] {
        // Where nothing but the image is mapped in the second half GiB, KERNEL_IMAGE_SIZE is not to be seen: 1 GiB then.
        let start = LinuxMemoryMap.modulesAfterSmallImage
        let isSmall =
            image.last < start && !top.touching(start, LinuxMemoryMap.image.last).isEmpty
        let modules = LinuxBounds(isSmall ? start : LinuxMemoryMap.modules.first, LinuxMemoryMap.modules.last)
        return [
            assumed("modules", modules, top, "modules, and code that is made at run time"),
            assumed("fixmap", LinuxMemoryMap.fixmap, top, "addresses known when the kernel is compiled"),
            assumed("vsyscall", LinuxMemoryMap.vsyscall, top, "old system calls, for user mode"),
        ]
    }

    /// A region whose bounds the source fixes.
    private func assumed(
        _ name: String, _ bounds: LinuxBounds, _ runs: RunIndex, _ purpose: String
    ) -> LinuxRegion {
        let mapped = runs.mappedBytes(bounds.first, bounds.last)
        let seen = mapped == 0 ? "nothing is mapped there" : "\(roundSize(mapped)) mapped there"
        return LinuxRegion(
            name: name, first: GVA(bounds.first), last: GVA(bounds.last), certainty: .assumed,
            evidence: "fixed by the source; \(seen)", purpose: purpose)
    }
}

// Where RAM is, and into which slots it is cut.
//
//     0        arenaBase  arenaEnd            3 GiB   4 GiB
//     | low    | arena    | low2              |  hole | high ...     layouts with a page-table arena
//     | low                                   |  hole | high ...     layouts without

import Addresses
import GuestMemory
import Layouts

/// The RAM of a machine.
package struct MemoryPlan {
    /// The slots to be, by ascending address.
    let ranges: [RAMRange]
    /// The page-table arena, if the layout has one.
    let arena: (start: UInt64, size: UInt64)?
    /// One past the last byte of RAM below the hole.
    let lowEnd: UInt64
    /// RAM above the hole, in bytes.
    let highSize: UInt64
    /// Where the start info and what it refers to have room.
    let startInfo: Range<UInt64>
    /// One past the last byte of RAM that modules may lie in.
    let modulesEnd: UInt64

    /// KVM counts a slot's pages in 31 bits (KVM_MEM_MAX_NR_PAGES).
    static let slotLimit: UInt64 = (1 << 31 - 1) * 4096

    /// Plans `memory` bytes of RAM for a layout.
    ///
    /// - Parameter addressBits: MAXPHYADDR of the guest.
    package init(layout: String, memory: UInt64, addressBits: Int) throws(MachineError) {
        let name = layout.prefix { $0 != "," }
        let plan = KernelPlan.named(String(name))
        guard memory != 0 else { throw .input("the guest has no memory: give it some with --memory, for example 256M") }
        guard memory & 4095 == 0 else {
            throw .input("\(memory) bytes of memory are not a multiple of 4096: use a suffix, for example 256M")
        }
        let minimum = plan?.minimumMemory ?? 1 << 20
        guard memory >= minimum else {
            throw .input(
                "\(formatSize(memory)) of memory are too little for the layout \(layout): it needs at least "
                    + formatSize(minimum))
        }
        let low = min(memory, Contract.holeStart)
        let high = memory - low
        let (end, overflow) = Contract.holeEnd.addingReportingOverflow(high)
        guard !overflow, addressBits >= 63 || end <= 1 << UInt64(addressBits) else {
            throw .input(
                "\(formatSize(memory)) of memory do not fit the guest's physical address space of \(addressBits) bits")
        }
        guard high <= MemoryPlan.slotLimit else {
            throw .input("\(formatSize(memory)) of memory are more than KVM takes in one slot, 8T less 4K")
        }
        var ranges: [RAMRange] = []
        if let plan {
            let size = plan.arenaSize(memory: memory)
            let arenaEnd = plan.arenaBase + size
            guard arenaEnd < low else {
                throw .input(
                    "\(formatSize(memory)) of memory are too much for the layout \(layout): its page tables "
                        + "(\(formatSize(size))) do not fit below 3 GiB")
            }
            arena = (plan.arenaBase, size)
            ranges.append(RAMRange(name: "low", start: GPA(0), size: plan.arenaBase))
            ranges.append(RAMRange(name: "arena", start: GPA(plan.arenaBase), size: size))
            ranges.append(RAMRange(name: "low2", start: GPA(arenaEnd), size: low - arenaEnd))
        } else {
            arena = nil
            ranges.append(RAMRange(name: "low", start: GPA(0), size: low))
        }
        if high > 0 { ranges.append(RAMRange(name: "high", start: GPA(Contract.holeEnd), size: high)) }
        self.ranges = ranges
        lowEnd = low
        highSize = high
        startInfo =
            plan.map { $0.startInfo..<$0.startInfoEnd } ?? Contract.startInfo..<Contract.startInfoEnd
        modulesEnd = min(low, plan?.memoryLimit ?? low)
    }
}

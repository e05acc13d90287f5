// Leaves of KVM's tables joined to runs, and host pages in the same form: what `vitrine ept` lists.

import Addresses
import GuestMemory
import SecondStage

/// A line of `vitrine ept`.
struct SecondStageRun {
    var gpa: GPA
    /// Shadow tables: the guest virtual address.
    var va: GVA?
    var size: UInt64
    var hva: HVA?
    var hpa: HPA?
    var page: UInt64
    /// What holds of the mapping; as text only where it is printed, because there are very many runs.
    var rights: Rights
    var slot: UInt32?
    /// The root that leads there; nil in the computed view.
    var root: Int?
    /// How it is cached; nil in the computed view.
    var memory: SecondStageMemoryType?

    enum Rights {
        case kernel(SecondStageFlags)
        case computed(BackingFlags)
    }

    /// `rwxad`; `present shared` in the computed view.
    var flags: String {
        switch rights {
        case .kernel(let flags): return flags.letters
        case .computed(let flags): return flags.text
        }
    }
}

/// Hands out runs of leaves: same root, size, permissions and caching, consecutive in every kind of address.
func forEachRun(_ kernel: KernelTables, slots: SlotTable, _ body: (SecondStageRun) throws -> Void) rethrows {
    var first: KernelMapping?
    var memory = SecondStageMemoryType.pat(index: 0)
    var size: UInt64 = 0
    var currentSlot: MemorySlot?
    func emit(_ mapping: KernelMapping) throws {
        try body(
            SecondStageRun(
                gpa: mapping.gpa, va: kernel.format.isNested ? nil : mapping.va, size: size,
                hva: currentSlot?.hva(of: mapping.gpa), hpa: mapping.hpa, page: mapping.size,
                rights: .kernel(mapping.flags), slot: currentSlot?.id, root: Int(mapping.root), memory: memory))
    }
    for mapping in kernel.mappings {
        var type = SecondStageMemoryType.pat(index: 0)
        if case .leaf(_, _, let its) = kernel.decoder.decode(mapping.entry, level: Int(mapping.level)) { type = its }
        if let start = first, start.root == mapping.root, start.level == mapping.level, start.flags == mapping.flags,
            type == memory, start.gpa &+ size == mapping.gpa, start.hpa &+ size == mapping.hpa,
            kernel.format.isNested || start.va &+ size == mapping.va,
            currentSlot.map({ $0.hva(of: mapping.gpa) != nil }) ?? false
        {
            size &+= mapping.size
            continue
        }
        if let first { try emit(first) }
        first = mapping
        memory = type
        size = mapping.size
        if currentSlot?.hva(of: mapping.gpa) == nil { currentSlot = slots.slot(containing: mapping.gpa) }
    }
    if let first { try emit(first) }
}

/// Hands out the runs of the computed view.
func forEachRun(_ backing: BackingPages, _ body: (SecondStageRun) throws -> Void) rethrows {
    for run in backing.runs {
        try body(
            SecondStageRun(
                gpa: run.gpa, va: nil, size: run.size, hva: run.hva, hpa: run.hpa, page: run.pageSize,
                rights: .computed(run.flags), slot: run.slot, root: nil, memory: nil))
    }
}

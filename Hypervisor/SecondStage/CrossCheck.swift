// KVM's tables against the product of what they are made from: guest tables x slots x the process's page tables.
//
//     nested   leaf: GPA -> HPA      against   slot(GPA) -> HVA -> pagemap
//     shadow   leaf: GVA -> HPA      against   guest tables(GVA) -> GPA -> slot -> HVA -> pagemap
//
// The guest runs on, so a page may move between the two readings: what disagrees is read again, once, all of it afresh.

import Addresses

/// A leaf of KVM's tables that does not agree with the product.
public struct Disagreement: Sendable {
    /// The leaf as it was read the second time.
    public let mapping: KernelMapping
    /// The address in the page that was compared.
    public let offset: UInt64
    /// The guest physical address that the product goes through; nil: the guest's tables map nothing there.
    public let gpa: GPA?
    /// The host physical address that KVM's tables give.
    public let kernel: HPA
    /// The one that the product gives; nil: nothing is there.
    public let computed: HPA?
    /// What the product lacks, in words.
    public let reason: String
}

/// What the comparison came to.
public struct CrossCheck: Sendable {
    /// Leaves compared.
    public var leaves = 0
    /// Pages of 4 KiB compared: those of larger leaves one by one.
    public var pages = 0
    /// Leaves that disagreed at first and agreed, or were gone, when they were read again.
    public var settled = 0
    /// Shadow leaves that are behind the guest's own tables, in tables that KVM knows to be so: the guest changed its
    /// entry and has not flushed its TLB yet, so the old translation is still allowed to be used.
    public var awaitingFlush = 0
    /// Leaves below roots that KVM uses no more: not compared.
    public var skipped = 0
    /// Leaves that disagreed both times.
    public var disagreements: [Disagreement] = []
    /// The leaves that were counted, and what KVM's statistics said.
    public var counted = LeafCounts()
    /// KVM's statistics at the time; nil if the kernel has none.
    public var statistics: LeafCounts?

    /// Whether the counts changed while they were compared, so that a difference means nothing.
    public var countsMoved = false

    /// Whether the counts agree with KVM's.
    public var countsAgree: Bool { countsMoved || (statistics.map { $0 == counted } ?? true) }
    /// Whether nothing disagrees.
    public var passed: Bool { disagreements.isEmpty && countsAgree }
}

// From single host pages to runs of them, and how large the host's pages are.

import Addresses
import GuestMemory
import SystemCalls

/// Runs of host pages, in 24 bytes each.
public struct BackingRuns: RandomAccessCollection, Sendable {
    fileprivate let records: [RunRecord]
    fileprivate let slots: [MemorySlot]

    /// The first position.
    public var startIndex: Int { 0 }
    /// The position after the last.
    public var endIndex: Int { records.count }

    /// The run at a position.
    public subscript(position: Int) -> BackingRun {
        let record = records[position]
        let slot = slots[Int(record.slot)]
        let hva = HVA(record.page << 12)
        return BackingRun(
            gpa: slot.guestPhysicalAddress &+ (hva &- slot.userspaceAddress), size: UInt64(record.count) << 12,
            hva: hva,
            hpa: record.frame == 0 ? nil : HPA(record.frame << 12), pageSize: 1 << UInt64(record.pageShift),
            flags: BackingFlags(rawValue: UInt16(record.flags)), slot: slot.id)
    }
}

/// What is kept of a run.
private struct RunRecord {
    /// The number of its first page in the process's address space, and the number of its frame, 0 if it is not known.
    var page: UInt64
    var frame: UInt64
    var count: UInt32
    var slot: UInt16
    var flags: UInt8
    var pageShift: UInt8

    /// Whether the other is what comes next, and alike.
    func isContinued(by other: RunRecord) -> Bool {
        other.slot == slot && other.flags == flags && other.pageShift == pageShift
            && other.page == page &+ UInt64(count)
            && other.frame == (frame == 0 ? 0 : frame &+ UInt64(count))
            && !count.addingReportingOverflow(other.count).overflow
    }
}

/// Joins pages that are consecutive and alike.
struct RunBuilder {
    private var records: [RunRecord] = []
    private var current = RunRecord(page: 0, frame: 0, count: 0, slot: 0, flags: 0, pageShift: 12)
    private var nextPage: UInt64 = 0
    private var nextFrame: UInt64 = 0
    /// The bits of the entry and the page size of the current run.
    private var key: UInt64 = 0

    /// Bits 63-61, 56 and 55: what makes pages different.
    private static let kind: UInt64 = 7 << 61 | 3 << 55
    private static let frameMask: UInt64 = (1 << 55) - 1
    private static let zero: UInt64 = 1 << 12
    private static let shiftMask: UInt64 = 0xff

    /// What follows is of that slot, by its position in the list.
    mutating func beginSlot(_ slot: Int) {
        close()
        current.slot = UInt16(truncatingIfNeeded: slot)
    }

    /// Adds what another one has, which comes after all that was added here.
    mutating func append(_ other: RunBuilder) {
        close()
        var other = other
        other.close()
        var added = other.records[...]
        // A run that was cut where one piece of memory ends and the next begins.
        if let last = records.last, let first = added.first, last.isContinued(by: first) {
            records[records.count - 1].count += first.count
            added.removeFirst()
        }
        records.append(contentsOf: added)
    }

    /// Adds entries of the page map; returns whether a frame number was among them.
    mutating func add(
        _ entries: UnsafeBufferPointer<UInt64>, at hva: HVA, categories: UInt64?, frames: FrameSizes
    ) -> Bool {
        let isHuge = categories.map { $0 >> 6 & 1 != 0 }
        let asksForSize = isHuge ?? frames.isReadable
        let known = categories.map { $0 >> 5 & 1 != 0 ? Self.zero : 0 }
        var sees = false
        var page = hva.rawValue >> 12
        for rawEntry in entries {
            defer { page &+= 1 }
            // Present or swapped out.
            guard rawEntry >> 62 != 0 else { continue }
            let frame = rawEntry >> 63 != 0 ? rawEntry & Self.frameMask : 0
            if frame != 0 { sees = true }
            var newKey = rawEntry & Self.kind
            if let known {
                newKey |= known
            } else if frames.isZeroPage(PageMapEntry(rawEntry)) {
                newKey |= Self.zero
            }
            if asksForSize {
                let size = frames.pageSize(HVA(page << 12), PageMapEntry(rawEntry), isHuge: isHuge)
                newKey |= UInt64(truncatingIfNeeded: size.trailingZeroBitCount)
            }
            if newKey == key, page == nextPage, frame == nextFrame, current.count != 0, current.count < UInt32.max {
                current.count &+= 1
            } else {
                close()
                key = newKey
                current.page = page
                current.frame = frame
                current.count = 1
            }
            nextPage = page &+ 1
            nextFrame = frame == 0 ? 0 : frame &+ 1
        }
        return sees
    }

    private mutating func close() {
        guard current.count != 0 else { return }
        var flags = PageMapEntry(key).flags
        if key & Self.zero != 0 { flags.insert(.zero) }
        current.flags = UInt8(truncatingIfNeeded: flags.rawValue)
        let shift = key & Self.shiftMask
        current.pageShift = shift == 0 ? 12 : UInt8(truncatingIfNeeded: shift)
        records.append(current)
        current.count = 0
    }

    /// The runs.
    mutating func finish(_ slots: [MemorySlot]) -> BackingRuns {
        close()
        return BackingRuns(records: records, slots: slots)
    }
}

/// How large the pages are that frames belong to, and which frame is the page of zeros, from /proc/kpageflags.
final class FrameSizes {
    private let file: Opened?
    private var chunk: UInt64 = .max
    private var chunkSize: UInt64 = 4096
    private var zeroFrames: [UInt64: Bool] = [:]

    private final class Opened {
        let file: PageFlagsFile
        init() throws(Errno) { file = try PageFlagsFile() }
    }

    // KPF_COMPOUND_TAIL, KPF_HUGE (hugetlb), KPF_THP, KPF_ZERO_PAGE (linux/kernel-page-flags.h).
    private static let tail: UInt64 = 1 << 16
    private static let hugetlb: UInt64 = 1 << 17
    private static let transparent: UInt64 = 1 << 22
    private static let zeroPage: UInt64 = 1 << 24

    init() { file = try? Opened() }

    /// Whether the kernel shows what frames are.
    var isReadable: Bool { file != nil }

    private func flags(_ frame: UInt64) -> UInt64? {
        guard let file else { return nil }
        return (try? file.file.flags(frame: frame)) ?? nil
    }

    /// The size of the host's page at an address.
    ///
    /// - Parameter isHuge: what PAGEMAP_SCAN says: mapped by an entry of 2 MiB or more; nil if that is not known.
    func pageSize(_ hva: HVA, _ entry: PageMapEntry, isHuge: Bool?) -> UInt64 {
        if isHuge == false || isHuge == nil && !isReadable { return 4096 }
        // One look for each 2 MiB of addresses, which one page or many small ones fill.
        let number = hva.rawValue >> 21
        if number == chunk { return chunkSize }
        chunk = number
        chunkSize = size(entry.frame, hva, isKnownHuge: isHuge == true)
        return chunkSize
    }

    private func size(_ frame: UInt64?, _ hva: HVA, isKnownHuge: Bool) -> UInt64 {
        guard let frame, let flags = flags(frame) else { return isKnownHuge ? 2 << 20 : 4096 }
        if flags & Self.hugetlb != 0 {
            // A page of 2 MiB begins at each such boundary; within one of 1 GiB all but the first are tails.
            let second = (frame & ~0x3ffff) &+ 512
            let isTail = self.flags(second).map { $0 & Self.tail != 0 && $0 & Self.hugetlb != 0 } ?? false
            return isTail ? 1 << 30 : 2 << 20
        }
        if isKnownHuge { return 2 << 20 }
        // Transparent, and aligned alike on both sides: mapped whole, as far as can be seen from here.
        let aligned = (frame ^ hva.rawValue >> 12) & 511 == 0
        return flags & Self.transparent != 0 && aligned ? 2 << 20 : 4096
    }

    /// Whether an entry maps the page of zeros, which only private memory that was never written does.
    func isZeroPage(_ entry: PageMapEntry) -> Bool {
        guard let frame = entry.frame, entry.flags.isDisjoint(with: [.shared, .exclusive]) else { return false }
        if let known = zeroFrames[frame] { return known }
        let isZero = flags(frame).map { $0 & Self.zeroPage != 0 } ?? false
        if isZero || zeroFrames.count < 1024 { zeroFrames[frame] = isZero }
        return isZero
    }
}

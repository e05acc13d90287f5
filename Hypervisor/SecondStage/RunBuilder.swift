// From single host pages to runs of them, and how large the host's pages are.

import Addresses
import SystemCalls

/// Joins pages that are consecutive and alike.
struct RunBuilder {
    private var runs: [BackingRun] = []
    private var nextFrame: UInt64?

    /// Adds the next page.
    mutating func add(
        gpa: GPA, hva: HVA, frame: UInt64?, pageSize: UInt64, flags: BackingFlags, slot: UInt32
    ) {
        if let last = runs.last, last.slot == slot, last.flags == flags, last.pageSize == pageSize,
            nextFrame == frame, last.gpa &+ last.size == gpa
        {
            runs[runs.count - 1].size &+= 4096
        } else {
            runs.append(
                BackingRun(
                    gpa: gpa, size: 4096, hva: hva, hpa: frame.map { HPA($0 << 12) }, pageSize: pageSize, flags: flags,
                    slot: slot))
        }
        nextFrame = frame.map { $0 &+ 1 }
    }

    /// The runs.
    func finish() -> [BackingRun] { runs }
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

// Reading the page map of a process on several threads: nearly all of the time is the kernel's, which goes through the tables for
// whichever thread asks, and pieces of guest memory have nothing to do with each other.

import Addresses
import Glibc
import GuestMemory
import Synchronization
import SystemCalls

/// /proc/PID/pagemap, kept open.
final class OpenedPageMap: Sendable {
    let file: PageMapFile
    init(_ process: Int32) throws(Errno) { file = try PageMapFile(process: process) }

    /// The entry of one page; nil past the end of the address space.
    func entry(of page: HVA) throws(Errno) -> PageMapEntry? {
        var entry: UInt64 = 0
        let count = try withUnsafeMutablePointer(to: &entry) { pointer throws(Errno) in
            try file.entries(from: page.rawValue, into: UnsafeMutableBufferPointer(start: pointer, count: 1))
        }
        return count == 1 ? PageMapEntry(entry) : nil
    }
}

/// What one thread reads of the page map.
struct PageMapScan: ~Copyable {
    /// A part of a slot.
    private struct Piece {
        /// The slot's position in the list.
        let slot: Int
        /// Host virtual addresses.
        let range: Range<UInt64>
    }

    /// What was found in a piece.
    private struct Found {
        let runs: RunBuilder
        let seesFrames: Bool
        let seesPageSizes: Bool
    }

    /// What the threads share.
    private final class Work: Sendable {
        let pageMap: OpenedPageMap
        let pieces: [Piece]
        let next = Atomic(0)
        let found: Mutex<[Found?]>
        let failure = Mutex<Errno?>(nil)

        init(_ pageMap: OpenedPageMap, _ pieces: [Piece]) {
            self.pageMap = pageMap
            self.pieces = pieces
            found = Mutex(Array(repeating: nil, count: pieces.count))
        }

        /// Reads pieces until none is left, or one could not be read.
        func serve() {
            while failure.withLock({ $0 == nil }) {
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard index < pieces.count else { return }
                var scan = PageMapScan(pageMap)
                do throws(Errno) {
                    let result = try scan.read(pieces[index])
                    found.withLock { $0[index] = result }
                } catch {
                    failure.withLock { $0 = error }
                }
            }
        }
    }

    /// Small enough that all threads have something to do until the end.
    private static let pieceSize: UInt64 = 512 << 20
    /// No more threads than that, whatever the machine has: they wait for memory then.
    private static let mostThreads = 8

    private let pageMap: OpenedPageMap
    private let frames = FrameSizes()
    private let buffer = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 1 << 13)
    /// Whether PAGEMAP_SCAN is there; found out at the first use.
    private var scans = true
    private var seesFrames = false

    private init(_ pageMap: OpenedPageMap) { self.pageMap = pageMap }

    deinit { buffer.deallocate() }

    /// What is behind the slots.
    static func read(_ slots: [MemorySlot], _ pageMap: OpenedPageMap) throws(Errno) -> BackingPages {
        let work = Work(pageMap, pieces(of: slots))
        let count = min(work.pieces.count, sysconf(Int32(_SC_NPROCESSORS_ONLN)), mostThreads)
        // A host that has no thread to give is read by this one alone.
        let threads = (1..<max(count, 1)).compactMap { _ in
            try? HostThread(name: "page map", stackSize: 256 << 10) { work.serve() }
        }
        work.serve()
        for thread in threads { thread.join() }
        if let failure = work.failure.withLock({ $0 }) { throw failure }
        let found = work.found.withLock { $0.compactMap { $0 } }
        var runs = RunBuilder()
        for part in found { runs.append(part.runs) }
        return BackingPages(
            runs: runs.finish(slots), seesFrames: found.contains { $0.seesFrames },
            seesPageSizes: found.allSatisfy { $0.seesPageSizes })
    }

    private static func pieces(of slots: [MemorySlot]) -> [Piece] {
        var pieces: [Piece] = []
        for (index, slot) in slots.enumerated() {
            let end = slot.userspaceAddress.rawValue &+ slot.size
            var start = slot.userspaceAddress.rawValue
            while start < end {
                let next = end - start > pieceSize ? start + pieceSize : end
                pieces.append(Piece(slot: index, range: start..<next))
                start = next
            }
        }
        return pieces
    }

    private mutating func read(_ piece: Piece) throws(Errno) -> Found {
        var runs = RunBuilder()
        runs.beginSlot(piece.slot)
        try read(piece, into: &runs)
        return Found(runs: runs, seesFrames: seesFrames, seesPageSizes: scans || frames.isReadable)
    }

    /// Reads a piece, 32 MiB at a time, so that the entries stay in the cache. Where there is nothing, PAGEMAP_SCAN finds what comes
    /// next: it does not look at every page there.
    private mutating func read(_ piece: Piece, into runs: inout RunBuilder) throws(Errno) {
        let end = piece.range.upperBound
        var position = piece.range.lowerBound
        while position < end {
            let part = UnsafeMutableBufferPointer(rebasing: buffer[..<min(buffer.count, Int((end - position) / 4096))])
            let count = try pageMap.file.entries(from: position, into: part)
            guard count > 0 else { return }
            let isEmpty = try add(UnsafeBufferPointer(rebasing: part[..<count]), at: position, into: &runs)
            position &+= UInt64(count) << 12
            guard isEmpty, scans, position < end else { continue }
            guard let found = try pageMap.file.scan(from: position, to: end, limit: 1, mostPages: 1) else {
                scans = false
                continue
            }
            position = found.regions.first.map { max(position, $0.start) } ?? end
        }
    }

    /// Adds entries, of each 2 MiB with what the kernel says of them; returns whether there are none.
    private mutating func add(
        _ entries: UnsafeBufferPointer<UInt64>, at start: UInt64, into runs: inout RunBuilder
    ) throws(Errno) -> Bool {
        var isEmpty = true
        var index = 0
        while index < entries.count {
            let position = start &+ UInt64(index) << 12
            let count = min(512 - Int(position >> 12 & 511), entries.count - index)
            let chunk = UnsafeBufferPointer(rebasing: entries[index..<index + count])
            index += count
            var union: UInt64 = 0
            for entry in chunk { union |= entry }
            // Neither present nor swapped out.
            if union >> 62 == 0 { continue }
            isEmpty = false
            try add(chunk: chunk, at: position, into: &runs)
        }
        return isEmpty
    }

    /// Adds entries of one 2 MiB.
    private mutating func add(
        chunk: UnsafeBufferPointer<UInt64>, at start: UInt64, into runs: inout RunBuilder
    ) throws(Errno) {
        func add(_ entries: UnsafeBufferPointer<UInt64>, _ start: UInt64, _ categories: UInt64?) {
            if runs.add(entries, at: HVA(start), categories: categories, frames: frames) { seesFrames = true }
        }
        guard scans, let first = chunk.firstIndex(where: { $0 >> 62 != 0 }) else {
            return add(chunk, start, nil)
        }
        // One entry of the upper level maps all of it, or small ones do: a page tells. PAGEMAP_SCAN looks at every page that it
        // is given, however few it is to find.
        let mayHaveZeros = chunk.contains(where: Self.mayBeZeroPage)
        let range = mayHaveZeros ? 0..<chunk.count : first..<first + 1
        let end = start &+ UInt64(range.upperBound) << 12
        guard
            let found = try pageMap.file.scan(
                from: start &+ UInt64(range.lowerBound) << 12, to: end, limit: mayHaveZeros ? 512 : 1),
            let page = found.regions.first
        else { return add(chunk, start, nil) }
        guard mayHaveZeros else { return add(chunk, start, page.categories & PageRegion.huge) }
        for region in found.regions where region.start >= start && region.end <= end {
            let part = Int((region.start - start) >> 12)..<Int((region.end - start) >> 12)
            add(UnsafeBufferPointer(rebasing: chunk[part]), region.start, region.categories)
        }
    }

    /// Whether an entry may be of the page of zeros: present, of no file, and not known to be mapped once only.
    private static func mayBeZeroPage(_ entry: UInt64) -> Bool { entry & (1 << 63 | 1 << 61 | 1 << 56) == 1 << 63 }
}

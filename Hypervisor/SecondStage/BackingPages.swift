// The computed view: what is behind guest memory by the page tables of the process that runs the guest.
//
//     GPA  --slot-->  HVA  --/proc/PID/pagemap-->  HPA
//
// Looking never brings a page in.

import Addresses
import Glibc
import GuestMemory
import SystemCalls

/// What is known of host pages.
public struct BackingFlags: OptionSet, Hashable, Sendable {
    /// The bits; their values are not stable.
    public let rawValue: UInt16
    /// Flags from bits.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// In the process's page tables.
    public static let present = BackingFlags(rawValue: 1 << 0)
    /// Swapped out.
    public static let swapped = BackingFlags(rawValue: 1 << 1)
    /// Of a file or of shared memory.
    public static let shared = BackingFlags(rawValue: 1 << 2)
    /// The kernel's page of zeros: read, and never written.
    public static let zero = BackingFlags(rawValue: 1 << 3)
    /// Written since soft-dirty bits were last cleared.
    public static let softDirty = BackingFlags(rawValue: 1 << 4)
    /// Mapped by this process alone.
    public static let exclusive = BackingFlags(rawValue: 1 << 5)

    /// `present shared soft-dirty`.
    public var text: String {
        let names: [(BackingFlags, String)] = [
            (.present, "present"), (.swapped, "swapped"), (.shared, "shared"), (.zero, "zero"),
            (.softDirty, "soft-dirty"), (.exclusive, "exclusive"),
        ]
        return names.filter { contains($0.0) }.map(\.1).joined(separator: " ")
    }
}

/// A run of guest memory that is alike on the host: consecutive there too, and the same to the kernel.
public struct BackingRun: Hashable, Sendable {
    /// The first guest physical address.
    public let gpa: GPA
    /// The size in bytes.
    public let size: UInt64
    /// The first host virtual address.
    public let hva: HVA
    /// The first host physical address; nil without the right to see it, and for what is swapped out.
    public let hpa: HPA?
    /// The size of the host's pages: 4 KiB, 2 MiB or 1 GiB.
    public let pageSize: UInt64
    /// What is known of the pages.
    public let flags: BackingFlags
    /// The slot's number.
    public let slot: UInt32
}

/// What is behind a guest's memory.
public struct BackingPages: Sendable {
    /// The runs, by guest physical address. What is in no run is not in the process's page tables.
    public let runs: BackingRuns
    /// Whether frame numbers could be seen (CAP_SYS_ADMIN in the first user namespace).
    public let seesFrames: Bool
    /// Whether page sizes are known (/proc/kpageflags, or PAGEMAP_SCAN of Linux 6.7).
    public let seesPageSizes: Bool
}

private final class OpenedPageMap {
    let file: PageMapFile
    init(_ process: Int32) throws(Errno) { file = try PageMapFile(process: process) }
}

/// Reads what is behind guest memory.
public struct BackingReader: ~Copyable {
    private let process: Int32
    /// Nil if it may not be opened: then `tables` are read.
    private let pageMap: OpenedPageMap?
    private let tables: HostPageTables?
    private let frames = FrameSizes()
    private let buffer = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 1 << 15)
    /// Whether PAGEMAP_SCAN is there; found out at the first use.
    private var scans = true
    private var seesFrames = false

    /// Opens the page map of a process.
    ///
    /// - Parameter vm: its VM: where the page map may not be opened, or hides frames (it is its owner's, and frames are for
    ///   CAP_SYS_ADMIN), the process's page tables are read in the kernel's memory. They do not say all of `BackingFlags`.
    public init(process: Int32, vm: KernelVM? = nil) throws(SecondStageError) {
        let source = try Self.source(process, vm)
        self.process = process
        pageMap = source.pageMap
        tables = source.tables
    }

    private static func source(
        _ process: Int32, _ vm: KernelVM?
    ) throws(SecondStageError) -> (pageMap: OpenedPageMap?, tables: HostPageTables?) {
        if let vm, !SecondStageAbilities.seesFrames,
            let tables = try HostPageTables(of: vm, directMap: vm.tables().directMap)
        {
            return (nil, tables)
        }
        do throws(Errno) { return (try OpenedPageMap(process), nil) } catch {
            throw SecondStageError.reading(process: process, error)
        }
    }

    deinit {
        buffer.deallocate()
    }

    /// What is behind the slots.
    public mutating func read(_ slots: [MemorySlot]) throws(SecondStageError) -> BackingPages {
        var runs = RunBuilder()
        for slot in slots {
            runs.beginSlot()
            if let tables {
                try read(slot, from: tables, into: &runs)
                continue
            }
            do throws(Errno) {
                try read(slot, into: &runs)
            } catch {
                throw SecondStageError.reading(process: process, error)
            }
        }
        return BackingPages(
            runs: runs.finish(slots), seesFrames: seesFrames,
            seesPageSizes: tables != nil || scans || frames.isReadable)
    }

    /// The host physical addresses of pages now: nil for one that is not present, or whose frame may not be seen.
    public func hpas(of pages: [HVA]) throws(SecondStageError) -> [HPA?] {
        var found: [HPA?] = []
        found.reserveCapacity(pages.count)
        if let tables {
            for page in pages {
                let entry = PageMapEntry(try tables.chunk(page.rawValue >> 21).entries[Int(page.rawValue >> 12 & 511)])
                found.append(entry.frame.map { HPA($0 << 12 | page.rawValue & 4095) })
            }
            return found
        }
        do throws(Errno) {
            for page in pages { found.append(try hpa(of: page)) }
        } catch {
            throw SecondStageError.reading(process: process, error)
        }
        return found
    }

    private func hpa(of page: HVA) throws(Errno) -> HPA? {
        guard let pageMap else { return nil }
        var entry: UInt64 = 0
        let count = try withUnsafeMutablePointer(to: &entry) { pointer throws(Errno) in
            try pageMap.file.entries(from: page.rawValue, into: UnsafeMutableBufferPointer(start: pointer, count: 1))
        }
        guard count == 1, let frame = PageMapEntry(entry).frame else { return nil }
        return HPA(frame << 12 | page.rawValue & 4095)
    }

    /// Reads the process's page tables, 2 MiB at a time.
    private mutating func read(
        _ slot: MemorySlot, from tables: HostPageTables, into runs: inout RunBuilder
    ) throws(SecondStageError) {
        let end = slot.userspaceAddress.rawValue &+ slot.size
        var position = slot.userspaceAddress.rawValue
        while position < end {
            let chunk = try tables.chunk(position >> 21)
            let first = Int(position >> 12 & 511)
            let count = min(512 - first, Int((end - position) >> 12))
            let sees = chunk.entries.withUnsafeBufferPointer { entries in
                runs.add(
                    UnsafeBufferPointer(rebasing: entries[first..<first + count]), at: HVA(position),
                    categories: chunk.pageSize > 4096 ? 1 << 6 : 0, frames: frames)
            }
            if sees { seesFrames = true }
            position &+= UInt64(count) << 12
        }
    }

    /// Reads the page map of a slot, 128 MiB at a time. Where there is nothing, PAGEMAP_SCAN finds what comes next: it does not
    /// look at every page there.
    private mutating func read(_ slot: MemorySlot, into runs: inout RunBuilder) throws(Errno) {
        guard let pageMap else { return }
        let end = slot.userspaceAddress.rawValue &+ slot.size
        var position = slot.userspaceAddress.rawValue
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
        guard scans, let pageMap, let first = chunk.firstIndex(where: { $0 >> 62 != 0 }) else {
            return add(chunk, start, nil)
        }
        // One entry of the upper level maps all of it, or small ones do: a page tells. PAGEMAP_SCAN looks at every page that it
        // is given, however few it is to find.
        let mayHaveZeros = chunk.contains(where: Self.mayBeZeroPage)
        let range = mayHaveZeros ? 0..<chunk.count : first..<first + 1
        let end = start &+ UInt64(range.upperBound) << 12
        guard let found = try pageMap.file.scan(from: start &+ UInt64(range.lowerBound) << 12, to: end, limit: 512),
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

/// An entry of /proc/PID/pagemap.
struct PageMapEntry {
    let rawValue: UInt64
    init(_ rawValue: UInt64) { self.rawValue = rawValue }

    var isPresent: Bool { rawValue >> 63 != 0 }
    var isSwapped: Bool { rawValue >> 62 & 1 != 0 }
    /// The frame; nil if there is none, or it is not shown (0).
    var frame: UInt64? {
        let frame = rawValue & ((1 << 55) - 1)
        return isPresent && frame != 0 ? frame : nil
    }

    var flags: BackingFlags {
        var flags: BackingFlags = isPresent ? .present : .swapped
        if rawValue >> 61 & 1 != 0 { flags.insert(.shared) }
        if rawValue >> 56 & 1 != 0 { flags.insert(.exclusive) }
        if rawValue >> 55 & 1 != 0 { flags.insert(.softDirty) }
        return flags
    }
}

extension SecondStageError {
    /// What a failure to read about a process means.
    static func reading(process: Int32, _ error: Errno) -> SecondStageError {
        switch error.code {
        case ESRCH, ENOENT: return .processGone(process)
        case EPERM, EACCES:
            return .refused(
                what: "process \(process) is another user's, or more privileged: its page tables may not be read",
                remedy: "run as that user or root, or with CAP_SYS_PTRACE")
        default: return .call(error)
        }
    }
}

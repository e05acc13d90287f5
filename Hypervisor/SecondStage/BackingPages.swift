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

    private mutating func read(_ slot: MemorySlot, into runs: inout RunBuilder) throws(Errno) {
        guard let pageMap else { return }
        let end = slot.userspaceAddress.rawValue &+ slot.size
        var position = slot.userspaceAddress.rawValue
        while position < end {
            guard scans, let (regions, walked) = try pageMap.file.scan(from: position, to: end) else {
                scans = false
                try readEntries(from: position, to: end, categories: nil, of: slot, into: &runs)
                return
            }
            for region in regions {
                try readEntries(
                    from: max(region.start, position), to: min(region.end, end), categories: region.categories,
                    of: slot,
                    into: &runs)
            }
            guard walked > position else { return }
            position = walked
        }
    }

    /// Reads the entries of a range; what the kernel said of all of it comes in `categories`.
    private mutating func readEntries(
        from start: UInt64, to end: UInt64, categories: UInt64?, of slot: MemorySlot, into runs: inout RunBuilder
    ) throws(Errno) {
        guard let pageMap else { return }
        let chunk = 1 << 15
        var position = start
        while position < end {
            let wanted = min(chunk, Int((end - position) / 4096))
            let part = UnsafeMutableBufferPointer(rebasing: buffer[..<wanted])
            let count = try pageMap.file.entries(from: position, into: part)
            guard count > 0 else { return }
            if runs.add(
                UnsafeBufferPointer(rebasing: part[..<count]), at: HVA(position), categories: categories, frames: frames
            ) {
                seesFrames = true
            }
            position += UInt64(count) * 4096
        }
    }
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

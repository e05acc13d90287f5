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

/// Reads what is behind guest memory.
public struct BackingReader: ~Copyable {
    private let process: Int32
    private let source: Source

    private enum Source {
        case pageMap(OpenedPageMap)
        /// Where the page map may not be opened.
        case tables(HostPageTables)
    }

    /// Opens the page map of a process.
    ///
    /// - Parameter vm: its VM: where the page map may not be opened, or hides frames (it is its owner's, and frames are for
    ///   CAP_SYS_ADMIN), the process's page tables are read in the kernel's memory. They do not say all of `BackingFlags`.
    public init(process: Int32, vm: KernelVM? = nil) throws(SecondStageError) {
        source = try Self.source(process, vm)
        self.process = process
    }

    private static func source(_ process: Int32, _ vm: KernelVM?) throws(SecondStageError) -> Source {
        if let vm, !SecondStageAbilities.seesFrames,
            let tables = try HostPageTables(of: vm, directMap: vm.tables().directMap)
        {
            return .tables(tables)
        }
        do throws(Errno) { return .pageMap(try OpenedPageMap(process)) } catch {
            throw SecondStageError.reading(process: process, error)
        }
    }

    /// What is behind the slots.
    public func read(_ slots: [MemorySlot]) throws(SecondStageError) -> BackingPages {
        switch source {
        case .pageMap(let pageMap):
            do throws(Errno) {
                return try PageMapScan.read(slots, pageMap)
            } catch {
                throw SecondStageError.reading(process: process, error)
            }
        case .tables(let tables):
            var runs = RunBuilder()
            let frames = FrameSizes()
            var seesFrames = false
            for (index, slot) in slots.enumerated() {
                runs.beginSlot(index)
                if try read(slot, from: tables, frames, into: &runs) { seesFrames = true }
            }
            return BackingPages(runs: runs.finish(slots), seesFrames: seesFrames, seesPageSizes: true)
        }
    }

    /// The host physical addresses of pages now: nil for one that is not present, or whose frame may not be seen.
    public func hpas(of pages: [HVA]) throws(SecondStageError) -> [HPA?] {
        var found: [HPA?] = []
        found.reserveCapacity(pages.count)
        for page in pages {
            let entry: PageMapEntry?
            switch source {
            case .pageMap(let pageMap):
                do throws(Errno) { entry = try pageMap.entry(of: page) } catch {
                    throw SecondStageError.reading(process: process, error)
                }
            case .tables(let tables):
                entry = PageMapEntry(try tables.chunk(page.rawValue >> 21).entries[Int(page.rawValue >> 12 & 511)])
            }
            found.append(entry?.frame.map { HPA($0 << 12 | page.rawValue & 4095) })
        }
        return found
    }

    /// Reads the process's page tables, 2 MiB at a time; returns whether a frame number was among them.
    private func read(
        _ slot: MemorySlot, from tables: HostPageTables, _ frames: FrameSizes, into runs: inout RunBuilder
    ) throws(SecondStageError) -> Bool {
        var seesFrames = false
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
        return seesFrames
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

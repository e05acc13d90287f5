// Looking into another process: its page tables as /proc/PID/pagemap shows them, and its memory.

import CSystem
import Glibc

/// A run of pages of a process that are present or swapped out and alike (struct page_region of linux/fs.h).
public struct PageRegion: Sendable {
    /// The first virtual address.
    public let start: UInt64
    /// The virtual address after the last.
    public let end: UInt64
    /// PAGE_IS_FILE bit 2, PRESENT 3, SWAPPED 4, PFNZERO 5, HUGE 6, SOFT_DIRTY 7 (linux/fs.h).
    public let categories: UInt64

    /// PAGE_IS_HUGE: mapped by an entry of 2 MiB or more.
    public static let huge: UInt64 = 1 << 6
}

/// /proc/PID/pagemap: what a process's page tables hold (Documentation/admin-guide/mm/pagemap.rst). Reading it never
/// brings a page in.
public struct PageMapFile: ~Copyable, Sendable {
    private let file: FileDescriptor

    /// Opens the map of a process. EACCES without CAP_SYS_PTRACE if the process is another user's, ENOENT if there is none.
    public init(process: Int32) throws(Errno) {
        file = try FileDescriptor(open: "/proc/\(process)/pagemap", O_RDONLY)
    }

    /// The runs of pages from `start` on that are present or swapped out.
    ///
    /// - Parameters:
    ///   - limit: how many runs at most.
    ///   - mostPages: after how many pages the search ends; 0: it does not.
    /// - Returns: the runs, and how far the search came; nil if the kernel cannot do this (before 6.7).
    public func scan(
        from start: UInt64, to end: UInt64, limit: Int = 4096, mostPages: UInt64 = 0
    ) throws(Errno) -> (regions: [PageRegion], walked: UInt64)? {
        var walked = start
        var regions = [csystem_page_region](repeating: csystem_page_region(), count: limit)
        let count: Int
        do throws(Errno) {
            count = try systemCall("ioctl PAGEMAP_SCAN") {
                csystem_pagemap_scan(file.rawValue, start, end, &regions, regions.count, mostPages, &walked)
            }
        } catch {
            if error.code == ENOTTY || error.code == EINVAL { return nil }
            throw error
        }
        let found = regions.prefix(count).map { PageRegion(start: $0.start, end: $0.end, categories: $0.categories) }
        return (found, walked)
    }

    /// The entries of consecutive pages: bits 54-0 the frame (0 without CAP_SYS_ADMIN), 55 soft-dirty, 56 mapped once,
    /// 61 file or shared, 62 swapped, 63 present.
    ///
    /// - Returns: how many entries were read; fewer than asked for at the end of the address space.
    public func entries(from address: UInt64, into entries: UnsafeMutableBufferPointer<UInt64>) throws(Errno) -> Int {
        let bytes = UnsafeMutableRawBufferPointer(entries)
        return try file.readAll(at: address / 4096 * 8, into: bytes) / 8
    }
}

/// /proc/kpageflags: what the kernel knows of each frame of memory (Documentation/admin-guide/mm/pagemap.rst).
public struct PageFlagsFile: ~Copyable, Sendable {
    private let file: FileDescriptor

    /// Opens it: the owner is root, and CAP_SYS_ADMIN is asked for by some kernels.
    public init() throws(Errno) {
        file = try FileDescriptor(open: "/proc/kpageflags", O_RDONLY)
    }

    /// The flags of a frame: KPF_HUGE is bit 17, KPF_THP 22, KPF_ZERO_PAGE 24. Nil past the last frame.
    public func flags(frame: UInt64) throws(Errno) -> UInt64? {
        var flags: UInt64 = 0
        let count = try withUnsafeMutableBytes(of: &flags) { buffer throws(Errno) in
            try file.readAll(at: frame &* 8, into: buffer)
        }
        return count == 8 ? flags : nil
    }
}

extension FileDescriptor {
    /// pread(2) until the buffer is full or the file ends; how many bytes came.
    public func readAll(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
        var done = 0
        while done < buffer.count {
            let start = buffer.baseAddress.map { $0 + done }
            let rest = buffer.count - done
            let position = offset &+ UInt64(done)
            let count = try systemCall("pread") { csystem_process_pread(rawValue, start, rest, position) }
            if count == 0 { break }
            done += count
        }
        return done
    }
}

extension FileDescriptor {
    /// The same into an array, as it is sized.
    public func readAll(at offset: UInt64, into array: inout [UInt8]) throws(Errno) -> Int {
        var failure: Errno?
        let count = array.withUnsafeMutableBytes { buffer -> Int in
            do throws(Errno) {
                return try readAll(at: offset, into: buffer)
            } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw failure }
        return count
    }
}

/// The memory of another process.
public enum ProcessMemory {
    /// process_vm_readv(2): how many bytes came. EPERM without the right to trace the process, ESRCH if it is gone,
    /// EFAULT where nothing is mapped.
    public static func read(
        process: Int32, address: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        try systemCall("process_vm_readv of process \(process)") {
            csystem_process_read(process, buffer.baseAddress, buffer.count, address)
        }
    }
}

extension ProcessMemory {
    /// Whether there is such a process.
    public static func exists(_ process: Int32) -> Bool { kill(process, 0) == 0 || errno == EPERM }
}

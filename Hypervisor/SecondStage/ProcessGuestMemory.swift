// Guest memory out of the process that runs the guest, with no help from it.

import Addresses
import Glibc
import GuestMemory
import Synchronization
import SystemCalls

/// Guest memory, read from another process. Pages that the process does not have are not brought in: an anonymous one is
/// zeros, one of a file is read from the file. Safe on any thread.
public final class ProcessGuestMemory: PhysicalMemory, Sendable {
    /// The slots.
    public let slots: SlotTable
    /// The process.
    public let process: Int32
    /// /proc/PID/mem; nil if it may not be opened: then process_vm_readv, which CAP_SYS_PTRACE is enough for.
    private let memory: SharedDescriptor?
    /// Nil if it may not be opened: then what the process does not have is brought in.
    private let pageMap: SharedPageMap?
    private let areas: [MemoryArea]
    private let copies = PageCopies()
    private let state = Mutex(State())

    private struct State: Sendable {
        var files: [UInt64: SharedDescriptor] = [:]
        var refused: Set<UInt64> = []
        var failure: SecondStageError?
    }

    private final class SharedPageMap: Sendable {
        let file: PageMapFile
        init(process: Int32) throws(Errno) { file = try PageMapFile(process: process) }
    }

    /// Opens the memory of a process.
    public init(process: Int32, slots: SlotTable) throws(SecondStageError) {
        self.process = process
        self.slots = slots
        do throws(Errno) {
            memory = SharedDescriptor(try FileDescriptor(open: "/proc/\(process)/mem", O_RDONLY))
        } catch {
            memory = nil
        }
        pageMap = try? SharedPageMap(process: process)
        do throws(Errno) {
            areas = try MemoryArea.all(of: process)
        } catch {
            throw SecondStageError.reading(process: process, error)
        }
    }

    /// Why a page could not be read, if that has happened: the process ended, for one.
    public var firstFailure: SecondStageError? { state.withLock { $0.failure } }

    /// A copy of the page that holds `address`.
    public func page(at address: GPA) -> UnsafeRawPointer? {
        guard let hva = slots.hva(of: address) else { return nil }
        return copies.page(address.rawValue >> 12) { fill(hva.alignedDown(to: 4096), $0) }
    }

    /// Copies bytes, and keeps no copy: for reading much.
    public func read(_ address: GPA, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var done = 0
        while done < buffer.count {
            guard let current = address.advanced(by: UInt64(done)), let hva = slots.hva(of: current) else {
                return false
            }
            let count = min(4096 - Int(current.rawValue & 4095), buffer.count - done)
            guard fill(hva, UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])) else { return false }
            done += count
        }
        return true
    }

    /// Forgets the copies.
    public func refresh() { copies.refresh() }

    /// Reads bytes of one page.
    private func fill(_ hva: HVA, _ buffer: UnsafeMutableRawBufferPointer) -> Bool {
        do throws(Errno) {
            if try isAbsent(hva), let area = MemoryArea.find(hva.rawValue, in: areas) {
                guard area.isFile else {
                    buffer.initializeMemory(as: UInt8.self, repeating: 0)
                    return true
                }
                if let file = file(of: area) {
                    let offset = area.offset &+ (hva.rawValue &- area.start)
                    let count = try file.descriptor.readAll(at: offset, into: buffer)
                    UnsafeMutableRawBufferPointer(rebasing: buffer[count...]).initializeMemory(
                        as: UInt8.self, repeating: 0)
                    return true
                }
            }
            // The memory of a process that ended reads as empty.
            let count: Int
            if let memory {
                count = try memory.descriptor.readAll(at: hva.rawValue, into: buffer)
            } else {
                count = try ProcessMemory.read(process: process, address: hva.rawValue, into: buffer)
            }
            guard count == buffer.count else {
                return fail(.processGone(process))
            }
            return true
        } catch {
            return fail(error.code == EIO ? .vmGone(process: process) : .reading(process: process, error))
        }
    }

    /// Whether the process's page tables have nothing there.
    private func isAbsent(_ hva: HVA) throws(Errno) -> Bool {
        guard let pageMap else { return false }
        var entry: UInt64 = 0
        _ = try withUnsafeMutablePointer(to: &entry) { pointer throws(Errno) in
            try pageMap.file.entries(from: hva.rawValue, into: UnsafeMutableBufferPointer(start: pointer, count: 1))
        }
        return entry >> 62 == 0
    }

    private func fail(_ error: SecondStageError) -> Bool {
        state.withLock { if $0.failure == nil { $0.failure = error } }
        return false
    }

    /// The file behind an area, by /proc/PID/map_files (CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE); nil if it may not be opened.
    private func file(of area: MemoryArea) -> SharedDescriptor? {
        state.withLock { state in
            if let known = state.files[area.start] { return known }
            guard !state.refused.contains(area.start) else { return nil }
            let range = String(area.start, radix: 16) + "-" + String(area.end, radix: 16)
            guard let file = try? FileDescriptor(open: "/proc/\(process)/map_files/\(range)", O_RDONLY) else {
                state.refused.insert(area.start)
                return nil
            }
            let shared = SharedDescriptor(file)
            state.files[area.start] = shared
            return shared
        }
    }
}

/// An area of a process's address space: a line of /proc/PID/maps.
public struct MemoryArea: Hashable, Sendable {
    /// The first address.
    public let start: UInt64
    /// The address after the last.
    public let end: UInt64
    /// Where in its file it begins.
    public let offset: UInt64
    /// Whether a file or shared memory is behind it.
    public let isFile: Bool

    /// The areas of a process, by ascending address.
    static func all(of process: Int32) throws(Errno) -> [MemoryArea] {
        let file = try FileDescriptor(open: "/proc/\(process)/maps", O_RDONLY)
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let position = UInt64(text.count)
            let count = try file.readAll(at: position, into: &buffer)
            if count == 0 { break }
            text += buffer.prefix(count)
        }
        return text.split(separator: 10).compactMap { MemoryArea(line: $0) }
    }

    /// `7f0000000000-7f0000200000 rw-s 00000000 00:01 1234    /memfd:ram (deleted)`
    package init?(line: ArraySlice<UInt8>) {
        let words = line.split(separator: 32)
        guard words.count >= 5 else { return nil }
        let range = words[0].split(separator: UInt8(ascii: "-"))
        func number(_ bytes: ArraySlice<UInt8>) -> UInt64? { UInt64(String(decoding: bytes, as: UTF8.self), radix: 16) }
        guard range.count == 2, let start = number(range[0]), let end = number(range[1]), let offset = number(words[2])
        else { return nil }
        self.start = start
        self.end = end
        self.offset = offset
        isFile = words[4] != [UInt8(ascii: "0")]
    }

    /// The area that holds an address.
    package static func find(_ address: UInt64, in areas: [MemoryArea]) -> MemoryArea? {
        var low = 0
        var high = areas.count
        while low < high {
            let middle = (low + high) / 2
            if areas[middle].start <= address { low = middle + 1 } else { high = middle }
        }
        guard low > 0, address < areas[low - 1].end else { return nil }
        return areas[low - 1]
    }
}

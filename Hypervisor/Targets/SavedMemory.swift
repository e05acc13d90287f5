// A target's whole memory as an ELF core.

import Addresses
import Cores
import Glibc
import GuestMemory
import SystemCalls

extension MemoryCore {
    /// Bytes that are looked at together.
    private static let piece = 1 << 20

    /// Writes a core of a target: registers and memory. It runs on unless it was paused.
    ///
    /// - Parameters:
    ///   - file: written from its place on. In a regular file pages of zeros are holes; into a pipe they do not go.
    ///   - target: what to write.
    /// - Returns: bytes of memory written, and the size of the core.
    public static func write(
        to file: borrowing FileDescriptor, _ target: any Target
    ) throws(TargetError) -> (memory: UInt64, size: UInt64) {
        let notes = try CoreWriter(registersOf: target)
        let slots = target.slots.slots.map { CoreRun(start: $0.guestPhysicalAddress, size: $0.size) }
        var isRegular = false
        if case .regular? = try? file.kind() { isRegular = true }
        var written: UInt64 = 0
        let core: MemoryCore
        do throws(Errno) {
            if isRegular {
                core = MemoryCore(.file, slots: slots, runs: [], notes: notes)
                // Without runs only the head comes.
                try core.write { (_, piece) throws(Errno) in
                    if case .head(let bytes) = piece { try file.writeAll(bytes) }
                }
                let number = file.rawValue
                let origin = lseek(number, 0, Int32(SEEK_CUR)) - Int(core.headSize)
                try nonzero(target) { (address, bytes) throws(Errno) in
                    guard let offset = core.offset(of: address) else { return }
                    guard lseek(number, origin + Int(offset), Int32(SEEK_SET)) >= 0 else { throw Errno(errno, "lseek") }
                    try writeAll(number, bytes)
                    written += UInt64(bytes.count)
                }
                try file.truncate(to: origin + Int(core.size))
            } else {
                var runs: [CoreRun] = []
                nonzero(target) { (address, bytes) throws(Never) in
                    runs.append(CoreRun(start: address, size: UInt64(bytes.count)))
                }
                core = MemoryCore(.stream, slots: slots, runs: runs, notes: notes)
                let number = file.rawValue
                let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: piece, alignment: 4096)
                defer { buffer.deallocate() }
                try core.write { (_, part) throws(Errno) in
                    switch part {
                    case .head(let bytes): try file.writeAll(bytes)
                    case .memory(let run):
                        var done: UInt64 = 0
                        while done < run.size {
                            let part = UnsafeMutableRawBufferPointer(
                                rebasing: buffer[..<Int(min(UInt64(piece), run.size - done))])
                            // What cannot be read any more is told by `checkReads`.
                            if !target.memory.read(run.start &+ done, into: part) {
                                part.initializeMemory(as: UInt8.self, repeating: 0)
                            }
                            try writeAll(number, UnsafeRawBufferPointer(part))
                            done += UInt64(part.count)
                        }
                        written += run.size
                    }
                }
            }
        } catch { throw .call(error) }
        try target.checkReads()
        return (written, core.size)
    }

    private static func writeAll(_ number: Int32, _ bytes: UnsafeRawBufferPointer) throws(Errno) {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(number, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw Errno(errno, "write") }
            done += count
        }
    }

    /// Runs of pages that are not zeros, by ascending address, none across a slot's end.
    private static func nonzero<Failure: Error>(
        _ target: any Target, _ body: (GPA, UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        if case .mapped(let memory) = target.memory {
            try memory.nonzero(limit: piece, body)
            return
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: piece, alignment: 4096)
        defer { buffer.deallocate() }
        for slot in target.slots.slots {
            var done: UInt64 = 0
            while done < slot.size {
                let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(UInt64(piece), slot.size - done))])
                if target.memory.read(slot.guestPhysicalAddress &+ done, into: part) {
                    try nonzeroRuns(
                        slot.guestPhysicalAddress &+ done, UnsafeRawBufferPointer(part), limit: piece, body)
                }
                done += UInt64(part.count)
            }
        }
    }
}

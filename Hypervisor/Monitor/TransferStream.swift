// A saved guest's way in or out: a file, a pipe or a socket, read and written so that it can be called off.

import Glibc
import GuestMemory
import SavedGuests
import Synchronization
import SystemCalls

/// A descriptor that a guest goes through, used by one thread and cancelled by another.
final class TransferStream: Sendable {
    private let descriptor: SharedDescriptor
    private let cancelled = Atomic<Bool>(false)
    /// Bytes a second; 0: as fast as it goes.
    let limit = Atomic<UInt64>(0)
    private let started = monotonicNanoseconds()
    private let moved = Atomic<UInt64>(0)

    init(_ descriptor: SharedDescriptor) {
        self.descriptor = descriptor
        // Whoever does not read or write can then not hold up the end. Regular files never wait.
        try? descriptor.descriptor.setCloseOnExecAndNonblocking()
    }

    /// Bytes that went through.
    var count: UInt64 { moved.load(ordering: .relaxed) }

    /// Makes the present and every later call throw `cancelled`.
    func cancel() { cancelled.store(true, ordering: .sequentiallyConsistent) }

    /// Writes all of it.
    func write(_ bytes: UnsafeRawBufferPointer) throws(SavedGuestError) {
        var done = 0
        while done < bytes.count {
            try wait(POLLOUT)
            let piece = UnsafeRawBufferPointer(rebasing: bytes[done..<min(bytes.count, done + (256 << 10))])
            done += try attempt { () throws(Errno) in try descriptor.descriptor.write(piece) }
            throttle()
        }
    }

    /// Fills the buffer; fewer bytes at the end.
    func read(_ buffer: UnsafeMutableRawBufferPointer) throws(SavedGuestError) -> Int {
        var done = 0
        while done < buffer.count {
            try wait(POLLIN)
            var isOver = false
            let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            done += try attempt { () throws(Errno) in
                let count = try descriptor.descriptor.read(into: piece)
                isOver = count == 0
                return count
            }
            if isOver { break }
        }
        return done
    }

    private func attempt(_ body: () throws(Errno) -> Int) throws(SavedGuestError) -> Int {
        do throws(Errno) {
            let count = try body()
            moved.wrappingAdd(UInt64(count), ordering: .relaxed)
            return count
        } catch {
            guard error.code == EAGAIN else { throw .call(error) }
            return 0
        }
    }

    private func wait(_ event: Int32) throws(SavedGuestError) {
        while true {
            guard !cancelled.load(ordering: .sequentiallyConsistent) else { throw .cancelled }
            var list = [pollfd(fd: descriptor.rawValue, events: Int16(event), revents: 0)]
            do throws(Errno) {
                if try waitForEvents(&list, milliseconds: 50) > 0 { return }
            } catch { throw .call(error) }
        }
    }

    /// Sleeps as long as it takes to stay below the limit, but never longer than a moment at a time.
    private func throttle() {
        while !cancelled.load(ordering: .relaxed) {
            let limit = limit.load(ordering: .relaxed)
            guard limit != 0 else { return }
            let elapsed = Double(monotonicNanoseconds() &- started) / 1e9
            guard Double(count) > elapsed * Double(limit) else { return }
            sleepThread(milliseconds: 10)
        }
    }
}

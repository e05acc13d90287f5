// Bytes between GDB and a session, and what happens to the guest meanwhile.

import Glibc
import SystemCalls
import Targets

extension GDBSession {
    /// Serves one GDB until it goes away, or the guest does.
    ///
    /// - Parameters:
    ///   - input: where GDB's bytes come from; not closed.
    ///   - output: where ours go; the same for a socket.
    /// - Returns: whether the guest has ended.
    public func serve(input: Int32, output: Int32, guest: GuestDebuggee) throws(Errno) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 16384)
        while !isOver {
            // What came together with an answer is no longer there to be waited for.
            if let hasEnded = try told(guest, output) { return hasEnded }
            var list = [
                pollfd(fd: input, events: Int16(POLLIN), revents: 0),
                pollfd(fd: guest.guest.client.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            try waitForEvents(&list, milliseconds: -1)
            guard list[0].revents != 0 else { continue }
            let count = Glibc.read(input, &buffer, buffer.count)
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard count > 0 else { return false }
            guard try send(receive(buffer[..<count]), output) else { return false }
        }
        return false
    }

    /// Tells GDB what happened; whether the guest has ended if the session is over, nil if it goes on.
    private func told(_ guest: GuestDebuggee, _ output: Int32) throws(Errno) -> Bool? {
        while let stop = guest.nextStop() {
            guard try send(stopped(stop), output) else { return false }
            if case .ended = stop { return true }
        }
        return nil
    }

    /// False if GDB is gone.
    private func send(_ bytes: [UInt8], _ output: Int32) throws(Errno) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { write(output, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            if count > 0 {
                done += count
                continue
            }
            if errno == EINTR { continue }
            guard errno == EAGAIN else { return false }
            var list = [pollfd(fd: output, events: Int16(POLLOUT), revents: 0)]
            try waitForEvents(&list, milliseconds: -1)
        }
        return true
    }
}

// A 16550A.

/// A serial port as its host side sees it. Safe to call from any thread.
public final class SerialPort: Sendable {
    /// Called on a vCPU's thread when output arrives in an empty queue; must not block (write an eventfd, say).
    public func onOutput(_ notify: @escaping @Sendable () -> Void) {}

    /// Takes what the guest has written, oldest first, at most `limit` bytes.
    public func takeOutput(limit: Int = 65536) -> [UInt8] { [] }

    /// Gives bytes to the guest.
    ///
    /// - Returns: how many fitted into the queue of 64 KiB; call again later with the rest (`onInputSpace`).
    public func send(_ bytes: some Collection<UInt8>) -> Int { 0 }

    /// Called on a vCPU's thread when the guest has emptied the input queue; must not block.
    public func onInputSpace(_ notify: @escaping @Sendable () -> Void) {}
}

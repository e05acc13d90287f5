// A serial port: a 16550A with a queue to each side, an interrupt line towards the guest, notices towards the host.
//
//     guest --THR--> output queue (64 KiB) --takeOutput--> host
//     guest <--RBR-- FIFO (16) <-- input queue (64 KiB) <--send-- host
//
// A host side that lags never holds the vCPU up: with the queue full, LSR says that the transmitter is busy, and what a
// guest writes all the same is lost and counted, as on a wire.

import SavedGuests
import Synchronization

/// A serial port as its host side sees it. Safe to call from any thread.
public final class SerialPort: Sendable {
    /// What each queue holds, in bytes.
    public static let queueCapacity = 65536

    private struct Inner: ~Copyable {
        var uart = UART()
        var input = ByteQueue(capacity: SerialPort.queueCapacity)
        var output = ByteQueue(capacity: SerialPort.queueCapacity)
        var level = false
        var dropped: UInt64 = 0
        var outputNotice: (@Sendable () -> Void)?
        var noticeMoment = OutputMoment.byte
        /// The host was told of what is in the output queue.
        var isNoticed = false
        var inputNotice: (@Sendable () -> Void)?
        /// `send` took less than it was given.
        var inputWanted = false
        let interrupt: @Sendable (Bool) -> Void

        mutating func updateInterrupt() {
            let level = uart.interrupt
            guard level != self.level else { return }
            self.level = level
            interrupt(level)
        }

        /// Whether the host is to be told, now that the guest has written this byte.
        mutating func isNoticeDue(_ byte: UInt8) -> Bool {
            guard !isNoticed, noticeMoment == .byte || byte == 10 || output.count >= output.capacity / 2 else {
                return false
            }
            isNoticed = true
            return true
        }

        /// Moves input to the receiver while there is room; whether the host wants to know that the queue is empty.
        mutating func feed() -> Bool {
            while uart.canReceive, let byte = input.pop() { uart.receive(byte) }
            guard inputWanted, input.isEmpty else { return false }
            inputWanted = false
            return true
        }
    }

    /// When the host side is told of output.
    public enum OutputMoment: Sendable {
        /// When the queue was empty.
        case byte
        /// When a line has ended, or the queue is half full: for a reader to whom a part of a line is of no use. A notice a byte costs a
        /// change of threads a byte.
        case line
    }

    private let inner: Mutex<Inner>

    /// A port with an interrupt line; `interrupt` is called with the port locked and only when the level changes.
    package init(interrupt: @escaping @Sendable (Bool) -> Void) {
        inner = Mutex(Inner(interrupt: interrupt))
    }

    /// Called on a vCPU's thread when output has come that the host was not told of; must not block (write an eventfd, say).
    public func onOutput(at moment: OutputMoment = .byte, _ notify: @escaping @Sendable () -> Void) {
        let pending = inner.withLock { inner in
            inner.outputNotice = notify
            inner.noticeMoment = moment
            inner.isNoticed = !inner.output.isEmpty
            return inner.isNoticed
        }
        if pending { notify() }
    }

    /// Called when the input queue has become empty after `send` could not take everything; on a vCPU's thread, must
    /// not block.
    public func onInputSpace(_ notify: @escaping @Sendable () -> Void) {
        inner.withLock { $0.inputNotice = notify }
    }

    /// Takes what the guest has written, oldest first, at most `limit` bytes.
    public func takeOutput(limit: Int = SerialPort.queueCapacity) -> [UInt8] {
        inner.withLock { inner in
            let bytes = inner.output.take(limit)
            inner.isNoticed = false
            if inner.uart.transmitterBlocked && !inner.output.isFull {
                inner.uart.transmitterBlocked = false
                inner.updateInterrupt()
            }
            return bytes
        }
    }

    /// Gives bytes to the guest.
    ///
    /// - Returns: how many were taken; call again with the rest when `onInputSpace` tells.
    public func send(_ bytes: some Collection<UInt8>) -> Int {
        inner.withLock { inner in
            var taken = 0
            for byte in bytes {
                guard inner.input.push(byte) else {
                    inner.inputWanted = true
                    break
                }
                taken += 1
            }
            _ = inner.feed()
            inner.updateInterrupt()
            return taken
        }
    }

    /// Bytes that were lost because the output queue was full.
    public var dropped: UInt64 { inner.withLock { $0.dropped } }

    /// The guest reads a register, 0...7.
    func read(_ offset: UInt16) -> UInt8 {
        var notice: (@Sendable () -> Void)?
        let value = inner.withLock { inner in
            let (value, effect) = inner.uart.read(offset)
            if effect == .received && inner.feed() { notice = inner.inputNotice }
            inner.updateInterrupt()
            return value
        }
        notice?()
        return value
    }

    /// The guest writes a register, 0...7.
    package func write(_ offset: UInt16, _ value: UInt8) {
        var notice: (@Sendable () -> Void)?
        inner.withLock { inner in
            switch inner.uart.write(offset, value) {
            case .none: break
            case .received: if inner.feed() { notice = inner.inputNotice }
            case .transmit(let byte):
                if !inner.output.push(byte) { inner.dropped &+= 1 }
                inner.uart.transmitterBlocked = inner.output.isFull
                if inner.isNoticeDue(byte) { notice = inner.outputNotice }
            }
            inner.updateInterrupt()
        }
        notice?()
    }

    /// The registers as after power-on; input that was not read is lost, output stays for the host.
    func reset() {
        inner.withLock { inner in
            inner.uart = UART()
            inner.uart.transmitterBlocked = inner.output.isFull
            inner.input.removeAll()
            inner.updateInterrupt()
        }
    }

    /// The fields of a saved guest.
    func write(_ fields: inout FieldWriter) {
        let saved = inner.withLock { inner in
            var saved = SavedSerialPort()
            saved.uart = inner.uart.state
            saved.input = inner.input.contents
            saved.output = inner.output.contents
            saved.dropped = inner.dropped
            return saved
        }
        saved.write(&fields)
    }

    /// Becomes the port that was saved; what was not delivered to the host then is delivered now.
    func restore(_ saved: SavedSerialPort) {
        let notice = inner.withLock { inner in
            inner.uart = UART(saved.uart)
            inner.input.removeAll()
            for byte in saved.input { _ = inner.input.push(byte) }
            inner.output.removeAll()
            for byte in saved.output { _ = inner.output.push(byte) }
            inner.uart.transmitterBlocked = inner.output.isFull
            inner.dropped = saved.dropped
            inner.isNoticed = !saved.output.isEmpty
            inner.updateInterrupt()
            return saved.output.isEmpty ? nil : inner.outputNotice
        }
        notice?()
    }
}

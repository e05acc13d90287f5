// One client of the control socket: bytes in, lines out, both bounded.

import Glibc
import GuestMemory
import JSON
import SystemCalls

/// One client of the control socket. Lives on the control thread.
final class QMPConnection {
    /// The most bytes of one line, and of input that waits for its turn.
    static let inputLimit = 1 << 20
    /// The most descriptors that wait for a command to take them.
    private static let descriptorLimit = 8
    /// The most bytes of output that wait for the client to read them.
    static let outputLimit = 4 << 20

    /// The number that names this connection.
    let id: Int
    /// Whether capabilities were negotiated: only then there are commands and events.
    var isNegotiated = false
    /// The id of the command whose answer comes later; nil: none, the next line may be taken.
    var deferred: Deferred?
    /// Whether the connection is to be closed.
    private(set) var isBroken = false
    /// Whether the client will say no more; it may still read.
    private var hasEnded = false

    /// A command that is answered later.
    struct Deferred {
        /// The client's id of it, to be echoed.
        let id: JSON?
    }

    let socket: FileDescriptor
    private var input: [UInt8] = []
    /// Where the next line begins: what was taken is cut off now and then, not line by line.
    private var taken = 0
    /// Up to where there is no line end.
    private var searched = 0
    /// Descriptors that came and that no command has taken.
    private var arrived: [SharedDescriptor] = []
    private var output: [Chunk] = []
    private var outputCount = 0

    private struct Chunk {
        var bytes: ArraySlice<UInt8>
        var descriptors: [SharedDescriptor]
    }

    private let lineEnd: [UInt8]

    /// - Parameter lineEnd: what ends a line that is sent.
    init(id: Int, socket: consuming FileDescriptor, lineEnd: [UInt8]) {
        self.lineEnd = lineEnd
        self.id = id
        self.socket = socket
    }

    /// What to wait for: input while there is room for it and its turn, output while there is some.
    var pollEvents: Int16 {
        var events: Int16 = 0
        if input.count - taken < QMPConnection.inputLimit && !hasEnded { events |= Int16(POLLIN) }
        if !output.isEmpty { events |= Int16(POLLOUT) }
        return events
    }

    /// Whether there is output that the client has not read.
    var hasOutput: Bool { !output.isEmpty }

    /// Whether a whole line waits for its turn.
    var hasLine: Bool { deferred == nil && !isBroken && input[searched...].contains(10) }

    /// Whether nothing is left to do for this client.
    var isOver: Bool { isBroken || hasEnded && deferred == nil && output.isEmpty && !input[searched...].contains(10) }

    /// The other end is gone.
    func disconnect() { isBroken = true }

    /// Reads what has arrived, up to 64 KiB.
    func receive() {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
        defer { buffer.deallocate() }
        do throws(Errno) {
            guard let (count, descriptors) = try UnixSocket.receive(socket, into: buffer) else { return }
            for number in descriptors { arrived.append(SharedDescriptor(FileDescriptor(owning: number))) }
            // Those that no command took are the oldest.
            if arrived.count > QMPConnection.descriptorLimit {
                arrived.removeFirst(arrived.count - QMPConnection.descriptorLimit)
            }
            if count == 0 { hasEnded = true }
            input.append(contentsOf: buffer[..<count])
        } catch {
            isBroken = true
        }
    }

    /// Takes the oldest descriptor that came and that no command has taken (`getfd`).
    func takeDescriptor() -> SharedDescriptor? { arrived.isEmpty ? nil : arrived.removeFirst() }

    /// Closes the descriptors that no command took, once everything that came with them has been run.
    func forgetDescriptors() {
        if input.count == taken && deferred == nil { arrived = [] }
    }

    /// The next line without its end, or nil if none is complete or its turn has not come.
    func nextLine() -> [UInt8]? {
        guard deferred == nil, !isBroken else { return nil }
        guard let end = input[searched...].firstIndex(of: 10) else {
            searched = input.count
            if input.count - taken >= QMPConnection.inputLimit {
                send(line: QMPError.generic("a line has at most \(QMPConnection.inputLimit) bytes").reply(id: nil))
                flush()
                isBroken = true
            }
            return nil
        }
        let line = Array(input[taken..<end])
        taken = end + 1
        if taken == input.count || taken >= 256 << 10 {
            input.removeFirst(taken)
            taken = 0
        }
        searched = taken
        return line
    }

    /// Queues a line; the descriptors go with its first byte.
    func send(line: JSON, descriptors: [SharedDescriptor] = []) {
        guard !isBroken else { return }
        var writer = JSONWriter()
        writer.value(line)
        let bytes = writer.bytes + lineEnd
        outputCount += bytes.count
        // Small lines share a piece; one with descriptors begins its own.
        if descriptors.isEmpty, let last = output.indices.last, output[last].descriptors.isEmpty,
            output[last].bytes.count < 64 << 10
        {
            output[last].bytes += bytes
        } else {
            output.append(Chunk(bytes: bytes[...], descriptors: descriptors))
        }
        if outputCount > QMPConnection.outputLimit { isBroken = true }
    }

    /// Sends what the client takes now.
    func flush() {
        while let chunk = output.first, !isBroken {
            let sent: Int?
            do throws(Errno) {
                sent = try QMPConnection.send(socket, chunk.bytes, chunk.descriptors)
            } catch {
                isBroken = true
                return
            }
            guard let sent else { return }
            outputCount -= sent
            if sent == chunk.bytes.count {
                output.removeFirst()
            } else {
                output[0].bytes.removeFirst(sent)
                output[0].descriptors = []
            }
        }
    }

    private static func send(
        _ socket: borrowing FileDescriptor, _ bytes: ArraySlice<UInt8>, _ descriptors: [SharedDescriptor]
    ) throws(Errno) -> Int? {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { buffer.deallocate() }
        buffer.copyBytes(from: bytes)
        return try UnixSocket.send(
            socket, UnsafeRawBufferPointer(buffer), descriptors: descriptors.map(\.rawValue))
    }
}

// Registers that QEMU's monitor does not show: ARM's translation registers, out of the debugger stub.
//
// The stub speaks GDB's remote protocol (GDB manual, appendix "GDB Remote Serial Protocol"). It is opened for a moment, on
// a socket pair whose one end is handed to QEMU: no path, no port. QEMU stops the machine when a debugger connects; it
// goes on as soon as the registers are read.

import Glibc
import GuestMemory
import JSON
import PageTables
import SystemCalls

/// Reads registers through QEMU's debugger stub.
enum QEMUDebugger {
    /// The name of the descriptor and the character device that are made.
    private static let name = "vitrine-debugger"
    /// How long an answer may take, in seconds.
    private static let patience = 5.0

    /// What decides how a 32-bit ARM processor translates addresses.
    ///
    /// - Parameters:
    ///   - cpu: the number of the CPU, from 0.
    ///   - psr: CPSR, which says the processor's mode.
    static func armRegisters(
        _ client: QMPClient, cpu: Int, psr: UInt64
    ) throws(TargetError) -> (values: [(name: String, value: UInt64)], paging: ARMPagingState) {
        // CPSR.M, bits 4:0 (ARM ARM, B1.3.1): Hyp mode has tables of its own, with long descriptors.
        guard psr & 0x1f != 0x1a else {
            throw .unable("'\(client.name)': CPU \(cpu) is in Hyp mode, whose tables have long descriptors")
        }
        let names = ["SCR", "ID_MMFR0"] + armNames.flatMap { $0.names.flatMap { [$0, $0 + "_S"] } }
        let found = try withConnection(client) { (connection) throws(TargetError) in
            try connection.registers(names, cpu: cpu)
        }
        // Of banked registers the secure ones count if SCR.NS (bit 0) is clear, and in Monitor mode (B1.5.1, B4.1.129).
        let isSecure = found["SCR"].map { $0 & 1 == 0 || psr & 0x1f == 0x16 } ?? false
        var values: [(name: String, value: UInt64)] = []
        for (name, itsNames) in armNames {
            let all = isSecure ? itsNames.map { $0 + "_S" } + itsNames : itsNames
            guard let value = all.lazy.compactMap({ found[$0] }).first else {
                throw .unable(
                    "'\(client.name)': QEMU does not give \(itsNames[0]) of CPU \(cpu); --root PA --paging arm names tables"
                )
            }
            values.append((name, value))
        }
        func value(_ name: String) -> UInt32 {
            UInt32(truncatingIfNeeded: values.first { $0.name == name }?.value ?? 0)
        }
        var paging = ARMPagingState(
            sctlr: value("sctlr"), ttbcr: value("ttbcr"), ttbr0: value("ttbr0"), ttbr1: value("ttbr1"),
            dacr: value("dacr"))
        // ID_MMFR0, VMSA support: 4 and more have PXN (B4.1.89).
        paging.hasPXN = found["ID_MMFR0"].map { $0 & 15 >= 4 } ?? true
        return (values, paging)
    }

    /// Registers, and what QEMU calls them; the 32-bit forms before the 64-bit ones of processors with long descriptors.
    private static let armNames: [(name: String, names: [String])] = [
        ("sctlr", ["SCTLR"]), ("ttbcr", ["TTBCR"]), ("ttbr0", ["TTBR0_EL1", "TTBR0"]),
        ("ttbr1", ["TTBR1_EL1", "TTBR1"]), ("dacr", ["DACR"]),
    ]

    /// Opens the stub, lets `body` talk to it, closes it, and lets the machine go on if it ran before.
    private static func withConnection<Result>(
        _ client: QMPClient, _ body: (borrowing DebuggerConnection) throws(TargetError) -> Result
    ) throws(TargetError) -> Result {
        let state = try client.execute([("query-status", []), ("query-chardev", [])])
        guard state.count == 2 else { throw .badAnswer("query-status and query-chardev") }
        let wasRunning = state[0].value["running"]?.boolean ?? false
        // There is one stub: opening it again would throw the other debugger out.
        if let other = state[1].value.elements?.first(where: { $0["label"]?.text == "gdb" }) {
            throw .unable(
                "'\(client.name)': QEMU's debugger port is in use (\(other["filename"]?.text ?? "gdb")), and the "
                    + "translation registers of ARM are only to be had there; --root PA --paging arm names tables")
        }
        let pair: SocketPair
        do throws(Errno) { pair = try UnixSocket.pair() } catch { throw .call(error) }
        try client.execute("getfd", [JSONMember("fdname", .string(name))], descriptors: [pair.second.rawValue])
        try client.execute(
            "chardev-add",
            [
                JSONMember("id", .string(name)),
                JSONMember(
                    "backend",
                    [
                        "type": "socket",
                        "data": [
                            "server": false, "addr": ["type": "fd", "data": ["str": .string(name)]],
                        ],
                    ]),
            ])
        let result: Swift.Result<Result, TargetError>
        do throws(TargetError) {
            let answer = try client.humanCommand("gdbserver chardev:\(name)")
            guard answer.hasPrefix("Waiting") else {
                throw .unable("'\(client.name)': QEMU does not open its debugger port: \(answer)")
            }
            result = .success(try body(DebuggerConnection(socket: pair.first, name: client.name, patience: patience)))
        } catch {
            result = .failure(error)
        }
        let value: Result
        do throws(TargetError) {
            value = try result.get()
        } catch {
            // The first error is the one to tell.
            try? close(client, resume: wasRunning)
            throw error
        }
        try close(client, resume: wasRunning)
        return value
    }

    private static func close(_ client: QMPClient, resume: Bool) throws(TargetError) {
        _ = try client.humanCommand("gdbserver none")
        // The character device goes with the stub; where it does not, it is removed.
        _ = try? client.execute("chardev-remove", [JSONMember("id", .string(name))])
        if resume { try client.execute("cont") }
    }
}

/// One end of a conversation in GDB's remote protocol.
struct DebuggerConnection: ~Copyable {
    private let socket: FileDescriptor
    private let name: String
    private let deadline: UInt64
    private let seconds: Double
    /// The longest register description that is read.
    private static let descriptionLimit = 1 << 20

    /// Talks on a socket.
    init(socket: borrowing FileDescriptor, name: String, patience seconds: Double) throws(TargetError) {
        do throws(Errno) { self.socket = try socket.duplicate() } catch { throw .call(error) }
        self.name = name
        self.seconds = seconds
        deadline = monotonicNanoseconds() &+ UInt64(seconds * 1e9)
    }

    /// The values of those of these system registers that the CPU has.
    func registers(_ names: [String], cpu: Int) throws(TargetError) -> [String: UInt64] {
        // QEMU describes registers to debuggers that announce that they can read the description.
        let features = try ask("qSupported:xmlRegisters=i386,arm")
        guard features.firstRange(of: Array("qXfer:features:read+".utf8)) != nil else {
            throw .unable("'\(name)': QEMU's debugger stub does not describe registers")
        }
        _ = try description("target.xml")
        guard try ask("Hg" + String(cpu + 1, radix: 16)) == Array("OK".utf8) else {
            throw .unable("'\(name)': QEMU's debugger stub does not know CPU \(cpu)")
        }
        var found: [String: UInt64] = [:]
        for (register, number) in DebuggerText.registers(try description("system-registers.xml"))
        where names.contains(register) {
            if let value = DebuggerText.value(try ask("p" + String(number, radix: 16))) { found[register] = value }
        }
        return found
    }

    /// A part of the target's description.
    private func description(_ file: String) throws(TargetError) -> [UInt8] {
        var text: [UInt8] = []
        while text.count < DebuggerConnection.descriptionLimit {
            let answer = try ask("qXfer:features:read:\(file):\(String(text.count, radix: 16)),ffb")
            text += answer.dropFirst()
            // `m`: there is more; `l`: that was the last.
            if answer.first == UInt8(ascii: "m"), answer.count > 1 { continue }
            if answer.first == UInt8(ascii: "l") { return text }
            break
        }
        throw .unable("'\(name)': QEMU's debugger stub gives no \(file): no machine of 32-bit ARM")
    }

    /// Sends a packet and waits for the answer's contents.
    private func ask(_ packet: String) throws(TargetError) -> [UInt8] {
        var rest = DebuggerText.packet(packet)[...]
        while !rest.isEmpty {
            let sent: Int?
            do {
                sent = try Array(rest).withUnsafeBytes { try UnixSocket.send(socket, $0) }
            } catch {
                throw .wentAway(name)
            }
            if let sent { rest.removeFirst(sent) } else { try wait(POLLOUT, packet) }
        }
        var received: [UInt8] = []
        while received.count < 1 << 20 {
            if let contents = DebuggerText.contents(of: received) { return contents }
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 8192, alignment: 16)
            defer { buffer.deallocate() }
            do throws(Errno) {
                if let (count, _) = try UnixSocket.receive(socket, into: buffer) {
                    guard count > 0 else { throw Errno(ECONNRESET, "recvmsg") }
                    received += buffer[..<count]
                    continue
                }
            } catch {
                throw .wentAway(name)
            }
            try wait(POLLIN, packet)
        }
        throw .badAnswer("an endless packet of the debugger stub")
    }

    private func wait(_ events: Int32, _ packet: String) throws(TargetError) {
        let now = monotonicNanoseconds()
        guard now < deadline else {
            throw .noAnswer(command: "'\(packet.prefix(24))' (debugger stub)", seconds: seconds)
        }
        var list = [pollfd(fd: socket.rawValue, events: Int16(events), revents: 0)]
        do throws(Errno) {
            _ = try waitForEvents(&list, milliseconds: Int32((deadline - now) / 1_000_000 + 1))
        } catch {
            throw .call(error)
        }
    }
}

/// The texts of GDB's remote protocol, as far as they are needed.
package enum DebuggerText {
    /// `$contents#checksum`, with an acknowledgement of what came before.
    package static func packet(_ contents: String) -> [UInt8] {
        let bytes = Array(contents.utf8)
        let sum = bytes.reduce(0 as UInt8) { $0 &+ $1 }
        let digits = Array("0123456789abcdef".utf8)
        return [0x2b, 0x24] + bytes + [0x23, digits[Int(sum >> 4)], digits[Int(sum & 15)]]
    }

    /// The contents of the first whole packet among what was received, without escapes; nil if it is not all there.
    package static func contents(of received: [UInt8]) -> [UInt8]? {
        guard let start = received.firstIndex(of: 0x24), let end = received[start...].firstIndex(of: 0x23),
            received.count - end > 2
        else { return nil }
        var contents: [UInt8] = []
        var isEscaped = false
        for byte in received[(start + 1)..<end] {
            if isEscaped {
                contents.append(byte ^ 0x20)
                isEscaped = false
            } else if byte == 0x7d {
                isEscaped = true
            } else {
                contents.append(byte)
            }
        }
        return contents
    }

    /// Names and numbers out of `<reg name="DACR" bitsize="32" regnum="135" group="cp_regs"/>`.
    package static func registers(_ description: [UInt8]) -> [(name: String, number: UInt64)] {
        var found: [(name: String, number: UInt64)] = []
        for element in String(decoding: description, as: UTF8.self).split(separator: "<")
        where element.hasPrefix("reg ") {
            var attributes: [Substring: Substring] = [:]
            for word in element.split(whereSeparator: { $0 == " " || $0 == "/" || $0 == ">" }) {
                let parts = word.split(separator: "=", maxSplits: 1)
                guard parts.count == 2 else { continue }
                attributes[parts[0]] = parts[1].filter { $0 != "\"" && $0 != "'" }[...]
            }
            guard let name = attributes["name"], let number = attributes["regnum"].flatMap({ UInt64($0) }) else {
                continue
            }
            found.append((String(name), number))
        }
        return found
    }

    /// A register's value: hexadecimal bytes, the lowest first; nil for an error (`E14`) or nonsense.
    package static func value(_ answer: [UInt8]) -> UInt64? {
        guard !answer.isEmpty, answer.count <= 16, answer.count % 2 == 0 else { return nil }
        var value: UInt64 = 0
        for place in stride(from: 0, to: answer.count, by: 2).reversed() {
            guard let byte = UInt8(String(decoding: answer[place..<place + 2], as: UTF8.self), radix: 16) else {
                return nil
            }
            value = value << 8 | UInt64(byte)
        }
        return value
    }
}

// The memory of a QEMU: out of its process where that may be read, else out of its monitor.

import Addresses
import GuestMemory
import JSON
import Synchronization
import SystemCalls

/// The memory of a QEMU. Pages that are asked for one by one are copied; see `refresh()`. Safe on any thread.
final class QEMUMemory: PhysicalMemory, Sendable {
    /// Where the bytes come from.
    enum Source: Sendable {
        /// /proc/PID/mem: what is read is what the guest sees. It stays that process even if its number is used again.
        case process(SharedDescriptor)
        /// `xp` of the human monitor.
        case monitor(QMPClient)
        /// libvirt's memory peek.
        case libvirt(LibvirtSession)
    }

    let slots: SlotTable
    let source: Source
    private let copies = PageCopies()
    private let failure = Mutex<TargetError?>(nil)
    private let name: String

    init(slots: SlotTable, source: Source, name: String) {
        self.slots = slots
        self.source = source
        self.name = name
    }

    /// Why a page of RAM could not be read, if that has happened.
    var firstFailure: TargetError? { failure.withLock { $0 } }

    func page(at address: GPA) -> UnsafeRawPointer? {
        guard slots.slot(containing: address) != nil else { return nil }
        return copies.page(address.rawValue >> 12) { read(address.alignedDown(to: 4096), into: $0) }
    }

    func refresh() { copies.refresh() }

    func read(_ address: GPA, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var done = 0
        while done < buffer.count {
            guard let current = address.advanced(by: UInt64(done)), let slot = slots.slot(containing: current),
                let hva = slot.hva(of: current)
            else { return false }
            let inside = current &- slot.guestPhysicalAddress
            let count = Int(min(UInt64(buffer.count - done), slot.size - inside))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
            do throws(TargetError) {
                switch source {
                case .process(let file): try readProcess(file, hva, into: part)
                case .monitor(let client): try readMonitor(client, current, into: part)
                case .libvirt(let session): try readLibvirt(session.client, current, into: part)
                }
            } catch {
                failure.withLock { if $0 == nil { $0 = error } }
                return false
            }
            done += count
        }
        return true
    }

    private func readProcess(
        _ file: SharedDescriptor, _ address: HVA, into buffer: UnsafeMutableRawBufferPointer
    ) throws(TargetError) {
        let count: Int
        do throws(Errno) {
            count = try file.descriptor.read(at: address.rawValue, into: buffer)
        } catch {
            throw .call(error)
        }
        // The memory of a process that ended reads as empty.
        guard count == buffer.count else { throw .wentAway(name) }
    }

    private func readLibvirt(
        _ client: QMPClient, _ address: GPA, into buffer: UnsafeMutableRawBufferPointer
    ) throws(TargetError) {
        var done = 0
        while done < buffer.count {
            // What libvirt's remote protocol carries in one message.
            let count = min(65536, buffer.count - done)
            let reply = try client.execute(
                "x-libvirt-memory-peek",
                [JSONMember("address", .hex((address &+ UInt64(done)).rawValue)), JSONMember("size", JSON(count))])
            guard let digits = reply.value.text?.utf8, digits.count == count * 2 else {
                throw .badAnswer("no memory at GPA \((address &+ UInt64(done)).hex)")
            }
            var high: UInt8?
            for digit in digits {
                let value = digit > 0x60 ? digit &- 0x57 : digit &- 0x30
                guard value < 16 else { throw .badAnswer("no hexadecimal digits") }
                if let upper = high {
                    buffer[done] = upper << 4 | value
                    done += 1
                    high = nil
                } else {
                    high = value
                }
            }
        }
    }

    private func readMonitor(
        _ client: QMPClient, _ address: GPA, into buffer: UnsafeMutableRawBufferPointer
    ) throws(TargetError) {
        var done = 0
        while done < buffer.count {
            let current = address &+ UInt64(done)
            let start = current.alignedDown(to: 8)
            let offset = Int(current &- start)
            // A page of numbers at a time, and no more of them than are wanted.
            let count = min(4096 - offset, buffer.count - done)
            let words = (offset + count + 7) / 8
            let text = try client.humanCommand("xp /\(words)gx \(start.hex)")
            guard let numbers = QEMUText.numbers(text, count: words) else {
                throw .badAnswer("no memory at GPA \(start.hex): \(text.prefix(80))")
            }
            numbers.withUnsafeBytes { bytes in
                UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count]))
            }
            done += count
        }
    }
}

extension QMPClient {
    /// What the human monitor answers to a command (`human-monitor-command`).
    ///
    /// - Parameter cpu: the CPU that the command is about, if it is about one.
    func humanCommand(_ command: String, cpu: Int? = nil) throws(TargetError) -> String {
        let answers = try humanCommands([command], cpu: cpu)
        return answers.first ?? ""
    }

    /// The same for several commands with one round trip.
    func humanCommands(_ commands: [String], cpu: Int? = nil) throws(TargetError) -> [String] {
        let replies = try execute(
            commands.map { command in
                var arguments = [JSONMember("command-line", .string(command))]
                if let cpu { arguments.append(JSONMember("cpu-index", JSON(cpu))) }
                return ("human-monitor-command", arguments)
            })
        var answers: [String] = []
        for (reply, command) in zip(replies, commands) {
            guard let text = reply.value.text else { throw .badAnswer("no text as the answer to '\(command)'") }
            answers.append(text)
        }
        return answers
    }
}

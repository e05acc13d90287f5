// A machine that QEMU runs, by KVM or TCG: `qmp:SOCKET`.

import Addresses
import Glibc
import GuestMemory
import JSON
import PageTables
import SystemCalls

/// A machine at the other end of a QEMU monitor socket (`-qmp unix:SOCKET,server=on,wait=off`).
///
/// Registers come from the monitor, those of ARM that it does not show from its debugger stub (`QEMUDebugger`). Memory is read out of QEMU's process if this user may do that and the process is what
/// the monitor says it is; else page by page through the monitor. `memorySource` says which.
public final class QEMUTarget: Target {
    /// `qmp:` and the path.
    public let name: String
    /// QEMU's process, or 0 if it is not known.
    public let pid: Int32
    /// The number of vCPUs.
    public let vcpuCount: Int
    /// RAM and ROM as the machine's memory map has them, with QEMU's own addresses.
    public var slots: SlotTable { reader.slots }
    /// That of a vitrine-qemu behind a libvirt; QEMU knows of none.
    public let layout: String?
    /// The connection.
    public let client: QMPClient
    private let reader: QEMUMemory
    private let cpus: [Int]
    private let maxPhysicalAddressBits: Int

    /// The machine's memory.
    public var memory: TargetMemory { .other(reader) }
    /// `process 1234` or `monitor`.
    public var memorySource: String {
        switch reader.source {
        case .process: return "process \(pid)"
        case .monitor: return "monitor"
        case .libvirt: return "libvirt's memory peek"
        }
    }

    /// Whether to read QEMU's process; false is for those who want to see what the monitor says.
    public enum Access: Sendable {
        /// The process if it may be read, else the monitor.
        case best
        /// The monitor.
        case monitor
    }

    /// Connects to a monitor and finds out about the machine: four round trips.
    ///
    /// - Parameters:
    ///   - path: the socket.
    ///   - access: how to read memory.
    ///   - seconds: how long to wait for the monitor's first answer.
    public convenience init(
        socket path: String, access: Access = .best, timeout seconds: Double = 5
    ) throws(TargetError) {
        let client: QMPClient
        do throws(TargetError) {
            client = try QMPClient(path: path, name: "qmp:" + path)
        } catch {
            guard case .noSuchTarget = error else { throw error }
            throw .noSuchTarget("no QEMU listens at \(path)")
        }
        do throws(TargetError) {
            // The process is the one that listens on the socket; where a manager made the socket that is the manager, whose
            // memory does not fit.
            try self.init(client: client, name: "qmp:" + path, timeout: seconds, memory: .monitor(client)) { _ in
                access == .best ? try? client.peer().pid : nil
            }
        } catch {
            guard case .noAnswer = error else { throw error }
            throw .unable(
                "the monitor at \(path) does not answer: QEMU is stopped, or talks to another client (it serves one client "
                    + "at a time on a socket; give it a second -qmp)")
        }
    }

    /// The domain that a helper of libvirt's speaks for.
    ///
    /// - Parameter layout: the one that its emulator says it was started with.
    convenience init(_ session: LibvirtSession, name: String, layout: String?) throws(TargetError) {
        let isLocal = session.isLocal
        try self.init(client: session.client, name: name, timeout: 10, memory: .libvirt(session), layout: layout) {
            cpus in
            isLocal ? cpus.compactMap { $0["thread-id"]?.int }.first.flatMap(QEMUTarget.process(ofThread:)) : nil
        }
    }

    /// The process that a thread of this host belongs to (/proc/TID/status, Tgid); nil if there is no such thread.
    private static func process(ofThread thread: Int) -> Int32? {
        guard thread > 0, let bytes = try? Files.contents(of: "/proc/\(thread)/status") else { return nil }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where line.hasPrefix("Tgid:") {
            return Int32(line.dropFirst(5).filter { $0.isNumber })
        }
        return nil
    }

    /// Finds out about a machine.
    ///
    /// - Parameters:
    ///   - fallback: how to read memory where the process cannot be read.
    ///   - process: the process to try, from the answer to query-cpus-fast.
    private init(
        client: QMPClient, name: String, timeout seconds: Double, memory fallback: QEMUMemory.Source,
        layout: String? = nil, process: ([JSON]) -> Int32?
    ) throws(TargetError) {
        self.client = client
        self.name = name
        self.layout = layout
        let first = try client.execute(
            [
                ("query-cpus-fast", []),
                ("human-monitor-command", [JSONMember("command-line", "info mtree -f")]),
            ], timeout: seconds)
        guard first.count == 2, let list = first[0].value.elements, let view = first[1].value.text else {
            throw .badAnswer("query-cpus-fast and info mtree")
        }
        cpus = list.compactMap { $0["cpu-index"]?.int }
        guard !cpus.isEmpty else { throw .badAnswer("no CPUs") }
        vcpuCount = cpus.count
        maxPhysicalAddressBits = QEMUTarget.physicalBits(client, path: list.first?["qom-path"]?.text)
        let slots = try QEMUTarget.slots(client, QEMUText.memoryView(view))
        let (found, itsMemory) = QEMUTarget.memory(process(list), slots, fallback, name: name)
        pid = found
        reader = QEMUMemory(slots: slots, source: itsMemory, name: name)
    }

    /// MAXPHYADDR of a CPU (its property `phys-bits`); 52 if it does not say.
    private static func physicalBits(_ client: QMPClient, path: String?) -> Int {
        guard let path,
            let reply = try? client.execute(
                "qom-get", [JSONMember("path", .string(path)), JSONMember("property", "phys-bits")]),
            let bits = reply.value.int, (32...52).contains(bits)
        else { return 52 }
        return bits
    }

    /// More pieces than any machine has.
    private static let rangeLimit = 4096

    /// The pieces of RAM that lie at whole pages, with QEMU's addresses; pieces that continue each other are one.
    private static func slots(_ client: QMPClient, _ ranges: [QEMUText.Range]) throws(TargetError) -> SlotTable {
        guard !ranges.isEmpty, ranges.count <= rangeLimit else {
            throw .badAnswer("\(ranges.count) pieces of RAM in info mtree")
        }
        let pages = ranges.filter { $0.first & 4095 == 0 && $0.last & 4095 == 4095 }
        let addresses = try hostAddresses(client, pages)
        var slots: [MemorySlot] = []
        for (range, address) in zip(pages, addresses) {
            // What is not RAM after all, or a piece that went away in between.
            guard let hva = address, hva & 4095 == 0 else { continue }
            let size = range.last &- range.first &+ 1
            if let last = slots.last, last.guestPhysicalAddress &+ last.size == GPA(range.first),
                last.userspaceAddress &+ last.size == HVA(hva), last.name == range.name
            {
                slots[slots.count - 1] = MemorySlot(
                    id: last.id, name: last.name, guestPhysicalAddress: last.guestPhysicalAddress,
                    size: last.size &+ size, userspaceAddress: last.userspaceAddress)
                continue
            }
            slots.append(
                MemorySlot(
                    id: UInt32(truncatingIfNeeded: slots.count), name: range.name,
                    guestPhysicalAddress: GPA(range.first), size: size, userspaceAddress: HVA(hva)))
        }
        guard !slots.isEmpty else { throw .badAnswer("no RAM in info mtree") }
        do throws(SlotError) { return try SlotTable(slots) } catch { throw .memory(.slots(error)) }
    }

    /// QEMU's addresses of pieces (`gpa2hva`). A block lies in one stretch: of one with many pieces the first and the last are asked
    /// for, and the others too unless those two are as far apart as in the block.
    private static func hostAddresses(
        _ client: QMPClient, _ ranges: [QEMUText.Range]
    ) throws(TargetError) -> [UInt64?] {
        var known = [UInt64?](repeating: nil, count: ranges.count)
        func ask(_ indices: [Int]) throws(TargetError) {
            guard !indices.isEmpty else { return }
            let answers = try client.humanCommands(
                indices.map { "gpa2hva 0x" + String(ranges[$0].first, radix: 16) })
            for (index, answer) in zip(indices, answers) { known[index] = QEMUText.hostAddress(answer) }
        }
        let blocks = Dictionary(grouping: ranges.indices) { ranges[$0].name }.values
        try ask(blocks.flatMap { Set([$0[0], $0[$0.count - 1]]) }.sorted())
        var rest: [Int] = []
        for block in blocks where block.count > 2 {
            let (first, last) = (block[0], block[block.count - 1])
            guard let start = known[first], let end = known[last],
                end &- start == ranges[last].offset &- ranges[first].offset
            else {
                rest += block[1..<block.count - 1]
                continue
            }
            for index in block { known[index] = start &+ (ranges[index].offset &- ranges[first].offset) }
        }
        try ask(rest.sorted())
        return known
    }

    /// QEMU's process and its memory, if it may be read and holds what the monitor says it holds; else the other way.
    private static func memory(
        _ process: Int32?, _ slots: SlotTable, _ fallback: QEMUMemory.Source, name: String
    ) -> (Int32, QEMUMemory.Source) {
        guard let pid = process, pid > 0, let file = try? FileDescriptor(open: "/proc/\(pid)/mem", O_RDONLY) else {
            return (0, fallback)
        }
        let source = QEMUMemory.Source.process(SharedDescriptor(file))
        let byProcess = QEMUMemory(slots: slots, source: source, name: name)
        // Through libvirt a piece of memory takes a file: the human monitor says one sooner. The process is that of a thread which the
        // machine itself named, so a piece tells well enough whether it is so in this namespace.
        var other = fallback
        var checked = slots.slots[...]
        var count = 4096
        if case .libvirt(let session) = fallback {
            other = .monitor(session.client)
            checked = checked.prefix(1)
            count = 512
        }
        let otherwise = QEMUMemory(slots: slots, source: other, name: name)
        for slot in checked where !matches(byProcess, otherwise, slot.guestPhysicalAddress, count) {
            return (0, fallback)
        }
        return (pid, source)
    }

    /// Whether so many bytes are the same both ways. A guest that runs may change them in between, so there are several tries.
    private static func matches(_ first: QEMUMemory, _ second: QEMUMemory, _ address: GPA, _ count: Int) -> Bool {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * count, alignment: 8)
        defer { bytes.deallocate() }
        let one = UnsafeMutableRawBufferPointer(rebasing: bytes[..<count])
        let other = UnsafeMutableRawBufferPointer(rebasing: bytes[count...])
        for _ in 0..<5 {
            guard first.read(address, into: one), second.read(address, into: other) else { return false }
            if one.elementsEqual(other) { return true }
        }
        return false
    }

    /// The registers of a CPU (`info registers`).
    public func registers(vcpu: Int) throws(TargetError) -> TargetRegisters {
        guard cpus.indices.contains(vcpu) else {
            throw .input("'\(name)' has \(cpus.count) CPUs, numbered from 0; there is no CPU \(vcpu)")
        }
        let (values, segments) = QEMUText.registers(try client.humanCommand("info registers", cpu: cpus[vcpu]))
        if values.contains(where: { $0.name == "psr" }) {
            let arm = try QEMUDebugger.armRegisters(
                client, cpu: cpus[vcpu], psr: values.first { $0.name == "psr" }?.value ?? 0)
            return TargetRegisters(
                values: values + arm.values, segments: [], maxPhysicalAddressBits: 40, arm: arm.paging)
        }
        for register in ["cr0", "cr3", "cr4"] where !values.contains(where: { $0.name == register }) {
            throw .unable("'\(name)': CPU \(vcpu) has no \(register): machines of x86 and 32-bit ARM can be read")
        }
        return TargetRegisters(values: values, segments: segments, maxPhysicalAddressBits: maxPhysicalAddressBits)
    }

    /// Stops the machine (`stop`).
    @discardableResult
    public func pause() throws(TargetError) -> Bool {
        let replies = try client.execute([("query-status", []), ("stop", [])])
        return replies.first?.value["running"]?.boolean ?? false
    }

    /// Lets it go on (`cont`).
    public func resume() throws(TargetError) { try client.execute("cont") }

    /// What the monitor says of the machine.
    public func info() throws(TargetError) -> JSON {
        let replies = try client.execute([("query-status", []), ("query-version", []), ("query-kvm", [])])
        return .object([
            JSONMember("name", .string(name)), JSONMember("pid", JSON(Int(pid))),
            JSONMember("state", replies[0].value["status"] ?? .null), JSONMember("vcpus", JSON(vcpuCount)),
            JSONMember("memory", JSON(slots.slots.reduce(0) { $0 &+ $1.size })),
            JSONMember("memory-source", .string(memorySource)),
            JSONMember("version", replies[1].value["qemu"] ?? .null),
            JSONMember("kvm", replies[2].value["enabled"] ?? .null),
        ])
    }

    /// Throws what went wrong when memory was read.
    public func checkReads() throws(TargetError) {
        if let error = reader.firstFailure { throw error }
    }
}

// A guest that vitrine-vmm runs: memory by descriptors, the rest by QMP.

import Addresses
import GuestFolders
import GuestMemory
import JSON
import PageTables
import SystemCalls

/// A guest of this user, run by vitrine-vmm.
public final class OwnGuest: Target {
    /// The name it was started with.
    public let name: String
    /// The process of vitrine-vmm.
    public let pid: Int32
    /// The layout it was started with.
    public let layout: String?
    /// The number of vCPUs.
    public let vcpuCount: Int
    /// The memory, mapped read-only.
    public let mapped: MappedMemory
    /// The same.
    public var memory: TargetMemory { .mapped(mapped) }
    /// `mapped`, or by which way the descriptors came.
    public let memorySource: String
    /// The memory slots.
    public var slots: SlotTable { mapped.slots }
    /// The connection, for commands of one's own.
    public let client: QMPClient

    /// Connects to the guest with this name and maps its memory: one round trip.
    public convenience init(named name: String) throws(TargetError) {
        try self.init(client: OwnGuest.client(named: name))
    }

    /// Maps the memory of the guest at the other end of a connection.
    ///
    /// - Parameter source: what `memorySource` says.
    public init(client: QMPClient, source: String = "mapped") throws(TargetError) {
        memorySource = source
        self.client = client
        let reply = try client.execute("x-vitrine-memory")
        guard let list = reply.value["slots"]?.elements, let pid = reply.value["pid"]?.int,
            let vcpus = reply.value["vcpus"]?.int, (1...65536).contains(vcpus)
        else { throw .badAnswer("x-vitrine-memory without slots, pid or vcpus") }
        var pairs: [(slot: MemorySlot, backing: SlotBacking)] = []
        for entry in list {
            guard let id = entry["id"]?.uint64, let gpa = entry["gpa"]?.address, let size = entry["size"]?.uint64,
                let hva = entry["hva"]?.address, let file = entry["fd"]?.int, let offset = entry["offset"]?.uint64,
                reply.descriptors.indices.contains(file)
            else { throw .badAnswer("a slot of x-vitrine-memory: \(entry.encoded)") }
            pairs.append(
                (
                    MemorySlot(
                        id: UInt32(truncatingIfNeeded: id), name: entry["name"]?.text ?? "slot \(id)",
                        guestPhysicalAddress: GPA(gpa), size: size, userspaceAddress: HVA(hva)),
                    SlotBacking(descriptor: reply.descriptors[file], offset: offset)
                ))
        }
        pairs.sort { $0.slot.guestPhysicalAddress < $1.slot.guestPhysicalAddress }
        mapped = try OwnGuest.map(pairs.map(\.slot), pairs.map(\.backing))
        name = client.name
        self.pid = Int32(truncatingIfNeeded: pid)
        layout = reply.value["layout"]?.text
        vcpuCount = vcpus
    }

    private static func map(_ slots: [MemorySlot], _ backings: [SlotBacking]) throws(TargetError) -> MappedMemory {
        let table: SlotTable
        do throws(SlotError) { table = try SlotTable(slots) } catch { throw .memory(.slots(error)) }
        do throws(GuestMemoryError) {
            return try MappedMemory(slots: table, backings: backings)
        } catch {
            throw .memory(error)
        }
    }

    /// A connection to the guest with this name.
    public static func client(named name: String) throws(TargetError) -> QMPClient {
        let socket: String
        do throws(GuestFolderError) {
            try RuntimeFolder.checkName(name)
            socket = RuntimeFolder.defaultPath() + "/\(name)/qmp.sock"
        } catch {
            throw TargetError(error)
        }
        return try QMPClient(path: socket, name: name)
    }

    /// The registers of a vCPU (`x-vitrine-registers`).
    public func registers(vcpu: Int) throws(TargetError) -> TargetRegisters {
        try TargetRegisters(client.execute("x-vitrine-registers", [JSONMember("vcpu", JSON(vcpu))]).value)
    }

    /// KVM's own translation (`x-vitrine-translate`).
    public func translate(_ address: GVA, vcpu: Int) throws(TargetError) -> GPA? {
        let reply = try client.execute(
            "x-vitrine-translate", [JSONMember("vcpu", JSON(vcpu)), JSONMember("va", .hex(address.rawValue))])
        return reply.value["gpa"]?.address.map { GPA($0) }
    }

    /// Parks all vCPUs until `resume()`, at most as long as this connection lasts (`x-vitrine-hold`); returns whether they ran
    /// before.
    @discardableResult
    public func pause() throws(TargetError) -> Bool {
        try client.execute("x-vitrine-hold").value["was-running"]?.boolean ?? false
    }

    /// Lets the vCPUs go on (`cont`).
    public func resume() throws(TargetError) {
        try client.execute("cont")
    }

    /// Runs a command of the kernel's monitor (`x-vitrine-exec`).
    public func exec(_ command: String, timeout: Double) throws(TargetError) -> [String] {
        let reply = try client.execute(
            "x-vitrine-exec", [JSONMember("command-line", .string(command)), JSONMember("timeout", .real(timeout))],
            timeout: timeout + 5)
        if let error = reply.value["error"]?.text {
            throw .refused(command: command, errorClass: "GenericError", reason: error)
        }
        return reply.value["lines"]?.elements?.compactMap(\.text) ?? []
    }

    /// The page tables of a boot stage (`x-vitrine-stage-tables`).
    public func stageTables(_ stage: String) throws(TargetError) -> StageTables {
        let reply = try client.execute("x-vitrine-stage-tables", [JSONMember("stage", .string(stage))])
        guard let cr3 = reply.value["cr3"]?.address, let count = reply.value["pages"]?.int,
            let file = reply.descriptors.first
        else { throw .badAnswer("x-vitrine-stage-tables without cr3, pages or a descriptor") }
        return try StageTables(cr3: cr3, count: count, file: file)
    }

    /// Everything the guest's monitor knows (`x-vitrine-info`).
    public func info() throws(TargetError) -> JSON {
        try client.execute("x-vitrine-info").value
    }

    /// KVM's statistics (`x-vitrine-statistics`).
    public func statistics(vcpu: Int?) throws(TargetError) -> [(name: String, values: [UInt64])] {
        let arguments = vcpu.map { [JSONMember("vcpu", JSON($0))] } ?? []
        let reply = try client.execute("x-vitrine-statistics", arguments)
        return (reply.value.members ?? []).map { member in
            (member.name, member.value.elements?.compactMap(\.uint64) ?? [member.value.uint64 ?? 0])
        }
    }
}

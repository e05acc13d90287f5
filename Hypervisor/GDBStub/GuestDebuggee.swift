// A guest of vitrine-vmm under a debugger: control and registers by QMP, memory as it is mapped.

import Addresses
import GuestMemory
import JSON
import PageTables
import Targets

/// A guest that this process debugs. It stands still from `init` on, and is let go when the connection ends, however it does.
public final class GuestDebuggee: Debuggee {
    /// The guest.
    public let guest: OwnGuest
    /// The registers that the guest announced.
    public let registerNames: [GDBRegister]
    /// The number of vCPUs.
    public var vcpuCount: Int { guest.vcpuCount }
    /// Answers `monitor LINE`.
    private let monitor: (String) -> String
    /// What lies under our INT3s: GDB is not to see them.
    private var hidden: [GPA: UInt8] = [:]

    /// Attaches to a guest.
    ///
    /// - Parameters:
    ///   - abilities: what this host's KVM can do for a debugger, as `x-vitrine-debug-attach` has it; nil: the guest's process finds
    ///     out, which a confined one cannot.
    ///   - monitor: answers what GDB's user asks with `monitor`.
    public init(
        _ guest: OwnGuest, abilities: JSON? = nil, monitor: @escaping (String) -> String
    ) throws(TargetError) {
        self.guest = guest
        self.monitor = monitor
        // Finding out what the host can do takes a few guests.
        let reply = try guest.client.execute(
            "x-vitrine-debug-attach", abilities.map { [JSONMember("abilities", $0)] } ?? [], timeout: 30
        ).value
        var names: [GDBRegister] = []
        for register in reply["registers"]?.elements ?? [] {
            guard let name = register["name"]?.text, let size = register["size"]?.int, (1...16).contains(size) else {
                throw .badAnswer("a register of x-vitrine-debug-attach: \(register.encoded)")
            }
            names.append(GDBRegister(name: name, size: size))
        }
        registerNames = names
    }

    @discardableResult
    private func ask(_ command: String, _ arguments: [JSONMember] = []) throws(DebuggeeError) -> JSON {
        do throws(TargetError) {
            return try guest.client.execute("x-vitrine-debug-\(command)", arguments).value
        } catch {
            throw DebuggeeError(error.description)
        }
    }

    // MARK: Registers

    /// The values of all registers.
    public func registers(of vcpu: Int) throws(DebuggeeError) -> [[UInt8]] {
        let reply = try ask("registers", [JSONMember("vcpu", JSON(vcpu))])
        let values = reply["values"]?.elements?.compactMap { $0.text.flatMap { hexBytes(Array($0.utf8)[...]) } } ?? []
        guard values.map(\.count) == registerNames.map(\.size) else {
            throw DebuggeeError("the guest's registers do not have the sizes that were announced")
        }
        return values
    }

    /// Writes a register.
    public func setRegister(_ index: Int, _ bytes: [UInt8], vcpu: Int) throws(DebuggeeError) {
        try ask(
            "set-register",
            [
                JSONMember("vcpu", JSON(vcpu)), JSONMember("name", .string(registerNames[index].name)),
                JSONMember("value", .string(text(bytes))),
            ])
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: hexDigits(bytes), as: UTF8.self) }

    /// A line about a vCPU: its ring and its tables.
    public func describe(_ vcpu: Int) -> String {
        guard let registers = try? guest.registers(vcpu: vcpu), let cs = registers.segment("cs") else {
            return "vCPU \(vcpu)"
        }
        let activity = (try? ask("registers", [JSONMember("vcpu", JSON(vcpu))]))?["activity"]?.text
        let isHalted = activity == "halted" ? ", halted" : activity == "uninitialized" ? ", not started" : ""
        return "vCPU \(vcpu), ring \(cs.selector & 3), CR3 0x\(String(registers.cr3, radix: 16))\(isHalted)"
    }

    // MARK: Memory

    /// Where an address lies now, by a vCPU's tables.
    private func place(_ address: UInt64, _ space: AddressSpace?) -> GPA? {
        guard let space else { return GPA(address) }
        return space.translate(GVA(address), in: guest.memory).mapping?.gpa
    }

    /// Nil: the vCPU does not translate.
    private func space(_ vcpu: Int) throws(DebuggeeError) -> AddressSpace? {
        do throws(TargetError) {
            switch try guest.registers(vcpu: vcpu).translation {
            case .tables(let space): return space
            case .off: return nil
            case .unsupported(let name): throw TargetError.unable("vCPU \(vcpu) translates in a way not known: \(name)")
            }
        } catch {
            throw DebuggeeError(error.description)
        }
    }

    /// The parts of a range that lie in one page each.
    private func pages(_ address: UInt64, _ count: Int) -> [(address: UInt64, count: Int)] {
        var parts: [(UInt64, Int)] = []
        var done = 0
        while done < count {
            let start = address &+ UInt64(done)
            let size = min(count - done, 4096 - Int(start & 4095))
            parts.append((start, size))
            done += size
        }
        return parts
    }

    /// Memory at a linear address, up to the first page that is not mapped.
    public func read(_ address: UInt64, count: Int, vcpu: Int) throws(DebuggeeError) -> [UInt8] {
        let space = try space(vcpu)
        var bytes: [UInt8] = []
        for part in pages(address, count) {
            guard let gpa = place(part.address, space), let more = guest.memory.bytes(at: gpa, count: part.count) else {
                break
            }
            bytes += shown(more, at: gpa)
        }
        guard !bytes.isEmpty else {
            throw DebuggeeError(
                "0x\(String(address, radix: 16)) is not mapped by the tables of vCPU \(vcpu), or not in RAM")
        }
        return bytes
    }

    /// Memory at a physical address.
    public func readPhysical(_ address: UInt64, count: Int) throws(DebuggeeError) -> [UInt8] {
        var bytes: [UInt8] = []
        for part in pages(address, count) {
            guard let more = guest.memory.bytes(at: GPA(part.address), count: part.count) else { break }
            bytes += shown(more, at: GPA(part.address))
        }
        guard !bytes.isEmpty else { throw DebuggeeError("0x\(String(address, radix: 16)) is not in the guest's RAM") }
        return bytes
    }

    /// Memory as the guest has it without breakpoints.
    private func shown(_ bytes: [UInt8], at gpa: GPA) -> [UInt8] {
        var bytes = bytes
        for (place, byte) in hidden where place >= gpa && place &- gpa < UInt64(bytes.count) {
            if bytes[Int(place &- gpa)] == 0xcc { bytes[Int(place &- gpa)] = byte }
        }
        return bytes
    }

    /// Writes memory at a linear address, if all of it is mapped.
    public func write(_ bytes: [UInt8], at address: UInt64, vcpu: Int) throws(DebuggeeError) {
        let space = try space(vcpu)
        var parts: [(gpa: GPA, bytes: ArraySlice<UInt8>)] = []
        var done = 0
        for part in pages(address, bytes.count) {
            guard let gpa = place(part.address, space) else {
                throw DebuggeeError("0x\(String(part.address, radix: 16)) is not mapped by the tables of vCPU \(vcpu)")
            }
            parts.append((gpa, bytes[done..<done + part.count]))
            done += part.count
        }
        for part in parts { try writePhysical(Array(part.bytes), at: part.gpa.rawValue) }
    }

    /// Writes memory at a physical address.
    public func writePhysical(_ bytes: [UInt8], at address: UInt64) throws(DebuggeeError) {
        try ask("write", [JSONMember("gpa", .hex(address)), JSONMember("bytes", .string(text(bytes)))])
        for (offset, byte) in bytes.enumerated() {
            let place = GPA(address &+ UInt64(offset))
            if hidden[place] != nil { hidden[place] = byte }
        }
    }

    // MARK: Control

    /// Where to stop from now on.
    public func setBreakpoints(_ breakpoints: [GDBBreakpoint], vcpu: Int) throws(DebuggeeError) {
        let space = try space(vcpu)
        var list: [JSON] = []
        var places: [GPA: UInt8] = [:]
        for breakpoint in breakpoints {
            guard let gpa = place(breakpoint.address, space), let byte = guest.memory.bytes(at: gpa, count: 1) else {
                throw DebuggeeError(
                    "0x\(String(breakpoint.address, radix: 16)) is not mapped by the tables of vCPU \(vcpu): a breakpoint "
                        + "needs a page that is there")
            }
            let kind: String
            switch breakpoint.kind {
            case .software:
                kind = "software"
                places[gpa] = hidden[gpa] ?? byte[0]
            case .hardware: kind = "hardware"
            case .write: kind = "write"
            // The processor cannot watch for reading alone (Intel SDM volume 3, 18.2.4).
            case .read, .access: kind = "access"
            }
            let length = breakpoint.kind == .software || breakpoint.kind == .hardware ? 1 : max(1, breakpoint.length)
            list.append([
                "kind": .string(kind), "address": .hex(breakpoint.address), "gpa": .hex(gpa.rawValue),
                "length": JSON(length),
            ])
        }
        try ask("breakpoints", [JSONMember("breakpoints", .array(list))])
        hidden = places
    }

    /// Lets the guest go on.
    public func go(_ actions: [GDBAction]) throws(DebuggeeError) {
        try ask("go", [JSONMember("actions", .array(actions.map { .string($0.rawValue) }))])
    }

    /// Stops every vCPU.
    public func stop() throws(DebuggeeError) {
        do throws(TargetError) { try guest.client.execute("stop") } catch { throw DebuggeeError(error.description) }
    }

    /// Lets go of the guest.
    public func detach() throws(DebuggeeError) { try ask("detach") }

    /// Ends the guest.
    public func kill() throws(DebuggeeError) {
        do throws(TargetError) { try guest.client.execute("quit") } catch { throw DebuggeeError(error.description) }
    }

    /// The answer to `monitor LINE`.
    public func answer(_ line: String) -> String { monitor(line) }

    /// What happened to the guest since it was last asked, as far as a debugger is told; nil if nothing did.
    public func nextStop() -> GDBStop? {
        while true {
            let event: QMPEvent?
            do throws(TargetError) { event = try guest.client.nextEvent(timeout: 0) } catch { return .ended }
            guard let event else { return nil }
            switch event.name {
            case "X_VITRINE_DEBUG_STOP":
                let vcpu = event.data["vcpu"]?.int ?? 0
                switch event.data["reason"]?.text {
                case "hardware": return .breakpoint(vcpu: vcpu, isHardware: true)
                case "software": return .breakpoint(vcpu: vcpu, isHardware: false)
                case "watch": return .watch(vcpu: vcpu, address: event.data["address"]?.address ?? 0)
                default: return .step(vcpu: vcpu)
                }
            case "STOP": return .interrupted
            case "GUEST_PANICKED": return .crashed
            case "SHUTDOWN": return .ended
            default: break
            }
        }
    }
}

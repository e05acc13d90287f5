// The commands of a debugger. One connection at a time has them; when it ends, however it does, the guest is as it was before.

import Addresses
import JSON
import KVM
import Machine

/// Which connection debugs the guest. Lives on the control thread.
final class Debugger {
    /// Nil: none.
    fileprivate(set) var connection: Int?
    /// What this host's KVM can do for debuggers; found out when the first comes.
    fileprivate var abilities: DebugAbilities?

    /// Lets go of the guest if whoever debugged it is gone.
    func check(_ server: QMPServer, _ machine: Machine) {
        guard let id = connection, !server.connections.contains(where: { $0.id == id }) else { return }
        connection = nil
        let ran = machine.state
        machine.debugDetach()
        if ran != .running, machine.state == .running { server.broadcast("RESUME") }
    }
}

extension QMPCommand {
    /// What debuggers ask.
    static var debugging: [QMPCommand] {
        [
            QMPCommand(name: "x-vitrine-debug-attach") { (monitor, arguments, connection) throws(QMPError) in
                let brought = try arguments.optionalObject("abilities")
                try arguments.end()
                return try monitor.debugAttach(connection, brought)
            },
            debugging("x-vitrine-debug-detach") { (monitor, arguments) throws(QMPError) in
                try arguments.end()
                monitor.debugger.connection = nil
                monitor.machine.debugDetach()
                if monitor.machine.state == .running { monitor.server.broadcast("RESUME") }
                return .done
            },
            debugging("x-vitrine-debug-go") { (monitor, arguments) throws(QMPError) in
                let names = try arguments.texts("actions")
                try arguments.end()
                let actions = names.compactMap(DebugAction.init)
                guard actions.count == names.count else {
                    throw .generic("an action is \(DebugAction.allCases.map(\.rawValue).joined(separator: ", "))")
                }
                let pending = try machineResult { () throws(MachineError) in try monitor.machine.debugGo(actions) }
                if let pending {
                    monitor.tellDebugStop(pending.vcpu, pending.reason)
                } else {
                    monitor.record.heldAt = nil
                    monitor.server.broadcast("RESUME")
                }
                return .done
            },
            debugging("x-vitrine-debug-breakpoints") { (monitor, arguments) throws(QMPError) in
                let list = try arguments.objects("breakpoints")
                try arguments.end()
                guard list.count <= 1024 else { throw .generic("there may be 1024 breakpoints") }
                var breakpoints: [DebugBreakpoint] = []
                for entry in list {
                    guard let kind = entry["kind"]?.text.flatMap(DebugBreakpoint.Kind.init),
                        let address = entry["address"]?.address, let gpa = entry["gpa"]?.address,
                        let length = entry["length"]?.int, (1...8).contains(length)
                    else {
                        throw .generic("a breakpoint has a kind, an address, a gpa and a length from 1 to 8")
                    }
                    breakpoints.append(DebugBreakpoint(kind, at: GVA(address), gpa: GPA(gpa), length: length))
                }
                let places = breakpoints
                try machineResult { () throws(MachineError) in try monitor.machine.setBreakpoints(places) }
                return .done
            },
            debugging("x-vitrine-debug-registers") { (monitor, arguments) throws(QMPError) in
                let vcpu = try monitor.vcpuArgument(&arguments)
                try arguments.end()
                let values = try machineResult { () throws(MachineError) in
                    try monitor.machine.namedRegisters(vcpu: vcpu)
                }
                let activity = try machineResult { () throws(MachineError) in
                    try monitor.machine.activity(vcpu: vcpu)
                }
                return .value([
                    "values": .array(values.map { .string(hexText($0)) }),
                    "activity": activity.map { .string("\($0)") } ?? .null,
                ])
            },
            debugging("x-vitrine-debug-set-register") { (monitor, arguments) throws(QMPError) in
                let vcpu = try monitor.vcpuArgument(&arguments)
                let name = try arguments.text("name")
                let bytes = try arguments.bytes("value")
                try arguments.end()
                try machineResult { () throws(MachineError) in
                    try monitor.machine.setNamedRegister(name, bytes, vcpu: vcpu)
                }
                return .done
            },
            debugging("x-vitrine-debug-write") { (monitor, arguments) throws(QMPError) in
                let gpa = GPA(try arguments.address("gpa"))
                let bytes = try arguments.bytes("bytes")
                try arguments.end()
                try machineResult { () throws(MachineError) in try monitor.machine.debugWrite(bytes, at: gpa) }
                return .done
            },
        ]
    }

    /// A command that only the connection that has attached may give.
    private static func debugging(
        _ name: String, _ run: @escaping (GuestMonitor, inout QMPArguments) throws(QMPError) -> QMPResult
    ) -> QMPCommand {
        QMPCommand(name: name) { (monitor, arguments, connection) throws(QMPError) in
            guard monitor.debugger.connection == connection.id else {
                throw .generic("this connection has not attached as a debugger (x-vitrine-debug-attach)")
            }
            return try run(monitor, &arguments)
        }
    }
}

/// Two digits a byte, the first byte first.
private func hexText(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

extension QMPArguments {
    /// Bytes as hexadecimal digits, two each, that must be given.
    mutating func bytes(_ name: String) throws(QMPError) -> [UInt8] {
        let text = Array(try text(name).utf8)
        var bytes: [UInt8] = []
        guard text.count.isMultiple(of: 2), text.count <= 1 << 20 else {
            throw .generic("'\(name)' must be bytes, two hexadecimal digits each")
        }
        for index in stride(from: 0, to: text.count, by: 2) {
            guard let byte = UInt8(String(decoding: text[index..<index + 2], as: UTF8.self), radix: 16),
                text[index] != UInt8(ascii: "+")
            else { throw .generic("'\(name)' must be bytes, two hexadecimal digits each") }
            bytes.append(byte)
        }
        return bytes
    }
}

extension GuestMonitor {
    /// - Parameter brought: what this host's KVM can do, as the client found out; nil: it is found out here.
    fileprivate func debugAttach(_ connection: QMPConnection, _ brought: JSON?) throws(QMPError) -> QMPResult {
        let abilities: DebugAbilities
        if let known = debugger.abilities {
            abilities = known
        } else if let brought {
            abilities = DebugAbilities(brought)
            debugger.abilities = abilities
        } else {
            guard sandbox == nil else {
                throw .generic(
                    "the sandbox of this guest makes no guests to find out what KVM can do for a debugger: give 'abilities', as "
                        + "vitrine gdb does, or start the guest with --sandbox off")
            }
            let system = try machineResult { () throws(MachineError) in
                do throws(KVMError) { return try KVMSystem() } catch { throw .kvm(error) }
            }
            abilities = DebugAbilities(system)
            debugger.abilities = abilities
        }
        let ran = try machineResult { () throws(MachineError) in try machine.debugAttach(abilities) }
        debugger.connection = connection.id
        if ran { server.broadcast("STOP") }
        let registers = VCPU.registerNames.map { register in
            JSON.object([JSONMember("name", .string(register.name)), JSONMember("size", JSON(register.size))])
        }
        return .value([
            "registers": .array(registers), "running": .bool(ran),
            "abilities": abilities.json,
        ])
    }

    /// Tells everybody where the guest stopped.
    func tellDebugStop(_ vcpu: Int, _ reason: DebugReason) {
        let (name, address): (String, GVA?)
        switch reason {
        case .step: (name, address) = ("step", nil)
        case .hardware(let at): (name, address) = ("hardware", at)
        case .software(let at): (name, address) = ("software", at)
        case .watch(let at): (name, address) = ("watch", at)
        }
        server.broadcast(
            "X_VITRINE_DEBUG_STOP",
            [
                "vcpu": JSON(vcpu), "reason": .string(name),
                "address": address.map { .hex($0.rawValue) } ?? .null,
            ])
        server.broadcast("STOP")
    }
}

extension DebugAbilities {
    /// As clients see them.
    public var json: JSON {
        [
            "steps": .bool(steps), "hardware-breakpoints": .bool(hardwareBreakpoints),
            "software-breakpoints": .bool(softwareBreakpoints), "watchpoints": .bool(watchpoints),
            "blocks-interrupts": .bool(blocksInterrupts),
        ]
    }

    /// As a client brings them: what it does not name is not there.
    init(_ json: JSON) {
        self.init()
        steps = json["steps"]?.boolean ?? false
        hardwareBreakpoints = json["hardware-breakpoints"]?.boolean ?? false
        softwareBreakpoints = json["software-breakpoints"]?.boolean ?? false
        watchpoints = json["watchpoints"]?.boolean ?? false
        blocksInterrupts = json["blocks-interrupts"]?.boolean ?? false
    }
}

/// The result of what a machine was asked for, or its error as a client gets it.
func machineResult<Result>(_ body: () throws(MachineError) -> Result) throws(QMPError) -> Result {
    do throws(MachineError) { return try body() } catch { throw .generic(error.description) }
}

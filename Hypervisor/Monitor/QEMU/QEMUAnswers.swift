// What vitrine-qemu says of itself: the same to libvirt's probe, which asks a process without a machine, and later.

import JSON
import KVM

/// A command whose answer does not depend on a machine.
struct QEMUAnswer: Sendable {
    /// The name after `execute`.
    let name: String
    /// The answer.
    let answer: @Sendable (inout QMPArguments) throws(QMPError) -> JSON

    /// An answer that takes no arguments.
    init(_ name: String, _ answer: @escaping @Sendable () -> JSON) {
        self.name = name
        self.answer = { (arguments) throws(QMPError) in
            try arguments.end()
            return answer()
        }
    }

    init(name: String, answer: @escaping @Sendable (inout QMPArguments) throws(QMPError) -> JSON) {
        self.name = name
        self.answer = answer
    }

    /// How many vCPUs KVM gives a machine at most; nil: there is no KVM. Asked once, and before the process is confined: then it
    /// may not open KVM any more.
    static let mostVCPUs: Int? = (try? KVMSystem())?.maxVCPUs
    private static var hasKVM: Bool { mostVCPUs != nil }

    /// Every one of them.
    static let all: [QEMUAnswer] = [
        QEMUAnswer("query-target") { ["arch": "x86_64"] },
        QEMUAnswer("query-kvm") { ["enabled": .bool(hasKVM), "present": .bool(hasKVM)] },
        QEMUAnswer("query-machines") { machines },
        // Of the details that a schema would tell there are none but the documented ones.
        QEMUAnswer("query-qmp-schema") { [] },
        // The state of a machine is saved and read in one piece, and events tell how that goes: there is nothing to choose.
        QEMUAnswer("query-migrate-capabilities") { [["capability": "events", "state": true]] },
        QEMUAnswer(name: "migrate-set-capabilities") { (arguments) throws(QMPError) in
            let list = try arguments.list("capabilities")
            try arguments.end()
            for entry in list where entry["state"]?.boolean != false && entry["capability"] != "events" {
                throw .generic("there is no capability '\(entry["capability"]?.text ?? "")'")
            }
            return [:]
        },
        QEMUAnswer(name: "query-command-line-options") { (arguments) throws(QMPError) in
            _ = try arguments.optionalText("option")
            try arguments.end()
            return []
        },
        QEMUAnswer(name: "qom-list-types") { (arguments) throws(QMPError) in
            let parent = try arguments.optionalText("implements")
            _ = try arguments.optionalFlag("abstract")
            try arguments.end()
            let types = devices.map { (name: $0.name, parent: $0.parent) }.filter { type in
                parent.map { $0 == type.parent || $0 == type.name || $0 == "object" } ?? true
            }
            return .array(types.map { ["name": .string($0.name), "parent": .string($0.parent)] })
        },
        QEMUAnswer(name: "device-list-properties") { (arguments) throws(QMPError) in
            let name = try arguments.text("typename")
            try arguments.end()
            guard let device = devices.first(where: { $0.name == name }) else {
                throw QMPError(errorClass: "DeviceNotFound", reason: "there is no device '\(name)'")
            }
            return .array(device.properties.map { ["name": .string($0.name), "type": .string($0.type)] })
        },
        // libvirt 9.0 ends if this is refused.
        QEMUAnswer(name: "qom-list-properties") { (arguments) throws(QMPError) in
            let name = try arguments.text("typename")
            try arguments.end()
            let properties = devices.first { $0.name == name }?.properties ?? []
            return .array(properties.map { ["name": .string($0.name), "type": .string($0.type)] })
        },
    ]

    /// The types that `-device` and `-object` can make.
    private static let devices: [(name: String, parent: String, properties: [(name: String, type: String)])] = [
        ("isa-serial", "isa-device", [("chardev", "str"), ("index", "uint32")]),
        ("memory-backend-memfd", "memory-backend", [("size", "int"), ("hugetlb", "bool"), ("hugetlbsize", "int")]),
        ("secret", "object", []),
    ]

    private static var machines: JSON {
        .array(
            QEMUMachineType.all.enumerated().map { index, type in
                var members = [
                    JSONMember("name", .string(type.name)), JSONMember("cpu-max", JSON(mostVCPUs ?? 1)),
                    JSONMember("hotpluggable-cpus", false), JSONMember("numa-mem-supported", false),
                    JSONMember("deprecated", false),
                ]
                if index == 0 { members.append(JSONMember("is-default", true)) }
                return .object(members)
            })
    }
}

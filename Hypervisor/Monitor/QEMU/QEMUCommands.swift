// The commands that a manager of QEMU needs besides those every face has.

import JSON
import Machine

extension QMPCommand {
    /// What the face of QEMU has besides.
    static var qemu: [QMPCommand] {
        QEMUAnswer.all.map { answer in
            QMPCommand(name: answer.name) { (_, arguments, _) throws(QMPError) in
                .value(try answer.answer(&arguments))
            }
        } + memoryFiles + [
            QMPCommand(name: "query-name") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(monitor.emulator?.guestName.map { ["name": .string($0)] } ?? [:])
            },
            QMPCommand(name: "query-uuid") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(["UUID": .string(monitor.emulator?.uuid ?? "00000000-0000-0000-0000-000000000000")])
            },
            QMPCommand(name: "query-chardev") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(monitor.chardevsJSON)
            },
            // There are no disks, and no jobs on them.
            nothing("query-block"), nothing("query-blockstats", also: "query-nodes"),
            nothing("query-named-block-nodes", also: "flat"), nothing("query-jobs"),
            QMPCommand(name: "human-monitor-command") { (monitor, arguments, connection) throws(QMPError) in
                let line = try arguments.text("command-line")
                let vcpu = try monitor.vcpuArgument(&arguments, "cpu-index")
                try arguments.end()
                return .value(.string(HumanCommand.run(line, monitor, vcpu: vcpu, connection)))
            },
            QMPCommand(name: "qom-list") { (monitor, arguments, _) throws(QMPError) in
                let path = try arguments.text("path")
                try arguments.end()
                return .value(try monitor.objects(at: path))
            },
            QMPCommand(name: "qom-get") { (monitor, arguments, _) throws(QMPError) in
                let path = try arguments.text("path")
                let property = try arguments.text("property")
                try arguments.end()
                return .value(try monitor.property(property, of: path))
            },
        ]
    }

    /// A command that lists what there is none of.
    private static func nothing(_ name: String, also flag: String? = nil) -> QMPCommand {
        QMPCommand(name: name) { (_, arguments, _) throws(QMPError) in
            if let flag { _ = try arguments.optionalFlag(flag) }
            try arguments.end()
            return .value([])
        }
    }
}

extension GuestMonitor {
    /// The character devices, as `query-chardev` lists them.
    var chardevsJSON: JSON {
        .array(
            (emulator?.chardevs ?? []).map { chardev in
                [
                    "label": .string(chardev.id), "frontend-open": true,
                    "filename": .string(chardev.filename(terminal: console.terminalPath)),
                ]
            })
    }

    /// The tree of objects: the machine, its vCPUs, and the devices that have names.
    func objects(at path: String) throws(QMPError) -> JSON {
        func child(_ name: String, _ type: String) -> JSON {
            ["name": .string(name), "type": .string("child<\(type)>")]
        }
        switch path {
        case "/": return [child("machine", "machine")]
        case "/machine":
            let vcpus = (0..<options.machine.vcpus).map { child("cpu[\($0)]", "host-x86_64-cpu") }
            return .array([child("peripheral", "container")] + vcpus)
        case "/machine/peripheral":
            return .array((emulator?.serialDevice).map { [child($0, "isa-serial")] } ?? [])
        default:
            guard vcpu(at: path) != nil else {
                throw QMPError(errorClass: "DeviceNotFound", reason: "there is no object at '\(path)'")
            }
            return [["name": "phys-bits", "type": "uint32"]]
        }
    }

    /// A property of an object.
    func property(_ name: String, of path: String) throws(QMPError) -> JSON {
        guard vcpu(at: path) != nil else {
            throw QMPError(errorClass: "DeviceNotFound", reason: "there is no object at '\(path)'")
        }
        guard name == "phys-bits" else { throw .generic("'\(path)' has no property '\(name)'") }
        return JSON(machine.maxPhysicalAddressBits)
    }

    private func vcpu(at path: String) -> Int? {
        (0..<options.machine.vcpus).first { path == "/machine/cpu[\($0)]" }
    }
}

// The human monitor (`human-monitor-command`): those of QEMU's commands that look at the machine, and a few that drive it.

import Addresses
import GuestMemory
import JSON
import Machine
import PageTables

/// A command of the human monitor, as data.
struct HumanCommand: Sendable {
    /// Its words: `info mem`.
    let name: String
    /// What stands for its arguments in help.
    let parameters: String
    /// What it does, in one line.
    let summary: String
    /// Does it: the words after its name, the number of the vCPU; gives the text, which is empty where nothing is to be said.
    let run: @Sendable (GuestMonitor, [String], Int) throws(HumanError) -> String
}

/// What is printed instead of an answer.
struct HumanError: Error {
    let text: String
}

extension HumanCommand {
    /// Every command, by name.
    static let all: [HumanCommand] = [
        HumanCommand(
            name: "gpa2hva", parameters: "addr",
            summary: "print the host virtual address corresponding to a guest physical address"
        ) { (monitor, words, _) throws(HumanError) in
            let address = try HumanCommand.address(words, "gpa2hva")
            guard let slot = monitor.machine.slots.slot(containing: GPA(address)), let hva = slot.hva(of: GPA(address))
            else {
                return LocalAPIC.contains(address)
                    ? "Memory at address \(prefixedHex(address)) is not RAM\n"
                    : "No memory is mapped at address \(prefixedHex(address))\n"
            }
            return "Host virtual address for 0x\(String(address, radix: 16)) (\(slot.name)) is \(hva.hex)\n"
        },
        HumanCommand(
            name: "gva2gpa", parameters: "addr",
            summary: "print the guest physical address corresponding to a guest virtual address"
        ) { (monitor, words, vcpu) throws(HumanError) in
            let address = try HumanCommand.address(words, "gva2gpa")
            let state = try monitor.paging(vcpu)
            guard let gpa = HumanPages.physical(address, state, monitor.machine.ram) else { return "Unmapped\n" }
            return "gpa: \(prefixedHex(gpa))\n"
        },
        HumanCommand(name: "help", parameters: "[cmd]", summary: "show the help") { (_, words, _) throws(HumanError) in
            HumanCommand.help(words.joined(separator: " "))
        },
        HumanCommand(
            name: "info", parameters: "[subcommand]", summary: "show various information about the system state"
        ) {
            (_, words, _) throws(HumanError) in
            guard words.isEmpty else {
                throw HumanError(text: "unknown command: 'info \(words.joined(separator: " "))'\n")
            }
            return HumanCommand.help("info")
        },
        HumanCommand(name: "info cpus", parameters: "", summary: "show infos for each CPU") {
            (monitor, words, vcpu) throws(HumanError) in
            try HumanCommand.end(words, "info cpus")
            return monitor.machine.threadIDs.enumerated()
                .map { "\($0.offset == vcpu ? "*" : " ") CPU #\($0.offset): thread_id=\($0.element)\n" }.joined()
        },
        HumanCommand(name: "info kvm", parameters: "", summary: "show KVM information") {
            (_, words, _) throws(HumanError) in
            try HumanCommand.end(words, "info kvm")
            return "kvm support: enabled\n"
        },
        HumanCommand(name: "info mem", parameters: "", summary: "show the active virtual memory mappings") {
            (monitor, words, vcpu) throws(HumanError) in
            try HumanCommand.end(words, "info mem")
            return HumanPages.stretches(try monitor.paging(vcpu), monitor.machine.ram)
        },
        HumanCommand(name: "info mtree", parameters: "-f", summary: "show memory tree (-f: dump flat view)") {
            (monitor, words, _) throws(HumanError) in
            guard words == ["-f"] else { throw HumanError(text: "only the flat view is known: info mtree -f\n") }
            return monitor.flatView
        },
        HumanCommand(name: "info name", parameters: "", summary: "show the current VM name") {
            (monitor, words, _) throws(HumanError) in
            try HumanCommand.end(words, "info name")
            return monitor.options.name + "\n"
        },
        HumanCommand(
            name: "info registers", parameters: "[-a|vcpu]",
            summary: "show the cpu registers (-a: all; vcpu: that one; show the current CPU's if none is given)"
        ) { (monitor, words, vcpu) throws(HumanError) in
            var numbers = [vcpu]
            switch words.first {
            case nil: break
            case "-a": numbers = Array(0..<monitor.options.machine.vcpus)
            case let word?:
                guard let number = Int(word), (0..<monitor.options.machine.vcpus).contains(number) else {
                    throw HumanError(text: "CPU#\(word) not available\n")
                }
                numbers = [number]
            }
            try HumanCommand.end(Array(words.dropFirst()), "info registers")
            var text = ""
            for number in numbers { text += "\nCPU#\(number)\n" + HumanRegisters(try monitor.view(number)).text }
            return text
        },
        HumanCommand(name: "info status", parameters: "", summary: "show the current VM status (running|paused)") {
            (monitor, words, _) throws(HumanError) in
            try HumanCommand.end(words, "info status")
            let state = monitor.runState
            if state == "running" { return "VM status: running\n" }
            return "VM status: paused\(state == "paused" ? "" : " (\(state))")\n"
        },
        HumanCommand(name: "info tlb", parameters: "", summary: "show virtual to physical memory mappings") {
            (monitor, words, vcpu) throws(HumanError) in
            try HumanCommand.end(words, "info tlb")
            return HumanPages.leaves(try monitor.paging(vcpu), monitor.machine.ram)
        },
        HumanCommand(name: "info uuid", parameters: "", summary: "show the current VM UUID") {
            (monitor, words, _) throws(HumanError) in
            try HumanCommand.end(words, "info uuid")
            return (monitor.emulator?.uuid ?? "00000000-0000-0000-0000-000000000000") + "\n"
        },
        HumanCommand(name: "info version", parameters: "", summary: "show the version of QEMU") {
            (monitor, words, _) throws(HumanError) in
            try HumanCommand.end(words, "info version")
            let version = monitor.face.version
            return "\(version.0).\(version.1).\(version.2) \(monitor.face.package)\n"
        },
        HumanCommand(name: "x", parameters: "/fmt addr", summary: "virtual memory dump starting at 'addr'") {
            (monitor, words, vcpu) throws(HumanError) in
            let state = try monitor.paging(vcpu)
            let memory = monitor.machine.ram
            return try HumanMemory.dump(words, "x") {
                HumanPages.physical($0, state, memory).flatMap { memory.page(at: GPA($0)) }
            }
        },
        HumanCommand(name: "xp", parameters: "/fmt addr", summary: "physical memory dump starting at 'addr'") {
            (monitor, words, _) throws(HumanError) in
            let memory = monitor.machine.ram
            return try HumanMemory.dump(words, "xp") { memory.page(at: GPA($0)) }
        },
    ]

    /// The registers of the local APIC, and those of the I/O APIC: addresses with something behind them that is no RAM.
    private enum LocalAPIC {
        static func contains(_ address: UInt64) -> Bool {
            (0xfee0_0000..<0xfee0_1000).contains(address) || (0xfec0_0000..<0xfec0_1000).contains(address)
        }
    }

    /// Runs a line; what went wrong is text as well, as in QEMU. Lines end with CR and LF.
    static func run(_ line: String, _ monitor: GuestMonitor, vcpu: Int, _ connection: QMPConnection) -> String {
        let words = line.split(separator: " ").map(String.init)
        guard !words.isEmpty else { return "" }
        let text: String
        do throws(HumanError) {
            let two = words.prefix(2).joined(separator: " ")
            if let command = all.first(where: { $0.name == two && words.count > 1 }) {
                text = try command.run(monitor, Array(words.dropFirst(2)), vcpu)
            } else if let command = all.first(where: { $0.name == words[0] }) {
                text = try command.run(monitor, Array(words.dropFirst()), vcpu)
            } else if let driver = drivers.first(where: { $0.name == words[0] }) {
                try end(Array(words.dropFirst()), words[0])
                text = drive(driver.command, monitor, connection)
            } else {
                throw HumanError(text: "unknown command: '\(words[0])'\n")
            }
        } catch {
            text = error.text
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count + text.utf8.count / 32)
        for byte in text.utf8 {
            if byte == 10 { bytes.append(13) }
            bytes.append(byte)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The commands that drive the machine: their names, and those of QMP.
    private static let drivers: [(name: String, command: String, summary: String)] = [
        ("c", "cont", "resume emulation"), ("cont", "cont", "resume emulation"),
        ("quit", "quit", "quit the emulator"), ("stop", "stop", "stop emulation"),
        ("system_powerdown", "system_powerdown", "send system power down event"),
        ("system_reset", "system_reset", "reset the system"),
    ]

    /// Runs a command of QMP that takes and answers nothing.
    private static func drive(_ name: String, _ monitor: GuestMonitor, _ connection: QMPConnection) -> String {
        do throws(QMPError) {
            var none = try QMPArguments(nil)
            _ = try QMPCommand.common.first { $0.name == name }?.run(monitor, &none, connection)
            return ""
        } catch {
            return "Error: \(error.reason)\n"
        }
    }

    private static func help(_ name: String) -> String {
        let lines =
            all.map { ($0.name, "\($0.name) \($0.parameters) -- \($0.summary)\n") }
            + drivers.map { ($0.name, "\($0.name)  -- \($0.summary)\n") }
        return lines.filter { name.isEmpty || $0.0 == name || $0.0.hasPrefix(name + " ") }.map(\.1).sorted().joined()
    }

    /// The one number that a command takes.
    private static func address(_ words: [String], _ name: String) throws(HumanError) -> UInt64 {
        let hint = "Try \"help \(name)\" for more information\n"
        guard let word = words.first else { throw HumanError(text: "unexpected end of expression\n" + hint) }
        guard let number = HumanMemory.number(word) else { throw HumanError(text: "invalid number '\(word)'\n" + hint) }
        try end(Array(words.dropFirst()), name)
        return number
    }

    private static func end(_ words: [String], _ name: String) throws(HumanError) {
        guard words.isEmpty else {
            let last = name.split(separator: " ").last ?? ""
            throw HumanError(
                text: "\(last): extraneous characters at the end of line\nTry \"help \(name)\" for more information\n")
        }
    }
}

extension GuestMonitor {
    fileprivate func view(_ vcpu: Int) throws(HumanError) -> ProcessorView {
        do throws(MachineError) { return try machine.view(vcpu: vcpu) } catch { throw HumanError(text: "\(error)\n") }
    }

    fileprivate func paging(_ vcpu: Int) throws(HumanError) -> PagingState { try view(vcpu).paging }

    /// `info mtree -f`: RAM as the machine has it.
    fileprivate var flatView: String {
        var text = "FlatView #0\n AS \"memory\", root: system\n Root memory region: system\n"
        for slot in machine.slots.slots {
            let first = slot.guestPhysicalAddress.rawValue
            text +=
                "  \(hexDigits(first, 16))-\(hexDigits(first &+ (slot.size &- 1), 16)) (prio 0, ram): \(slot.name) KVM\n"
        }
        return text + "\n"
    }
}

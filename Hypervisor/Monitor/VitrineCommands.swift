// The commands that are ours: registers, memory, stages, console, the kernel's monitor.

import Addresses
import Glibc
import GuestMemory
import JSON
import KVM
import Machine
import SystemCalls

extension QMPCommand {
    static var vitrine: [QMPCommand] {
        [
            QMPCommand(name: "x-vitrine-info") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return .value(monitor.infoJSON)
            },
            hold,
            QMPCommand(name: "x-vitrine-registers") { (monitor, arguments, _) throws(QMPError) in
                let vcpu = try monitor.vcpuArgument(&arguments)
                try arguments.end()
                do throws(MachineError) {
                    return .value(registersJSON(try monitor.machine.registers(vcpu: vcpu)))
                } catch {
                    throw .generic(error.description)
                }
            },
            QMPCommand(name: "x-vitrine-memory") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                return try monitor.memory()
            },
            QMPCommand(name: "x-vitrine-translate") { (monitor, arguments, _) throws(QMPError) in
                let vcpu = try monitor.vcpuArgument(&arguments)
                let address = GVA(try arguments.address("va"))
                try arguments.end()
                do throws(MachineError) {
                    let translation = try monitor.machine.translate(address, vcpu: vcpu)
                    return .value([
                        "gpa": translation.map { .hex($0.gpa) } ?? .null,
                        "writable": translation.map { .bool($0.writable) } ?? .null,
                        "user": translation.map { .bool($0.user) } ?? .null,
                    ])
                } catch {
                    throw .generic(error.description)
                }
            },
            QMPCommand(name: "x-vitrine-stage-tables") { (monitor, arguments, _) throws(QMPError) in
                let name = try arguments.text("stage")
                try arguments.end()
                return try monitor.stageTables(name)
            },
            QMPCommand(name: "x-vitrine-statistics") { (monitor, arguments, _) throws(QMPError) in
                let vcpu = try arguments.optionalInt("vcpu", in: 0..<monitor.options.machine.vcpus)
                try arguments.end()
                do throws(MachineError) {
                    let statistics = try monitor.machine.statistics(vcpu: vcpu)
                    return .value(
                        .object(
                            statistics.map { statistic in
                                JSONMember(
                                    statistic.name,
                                    statistic.values.count == 1
                                        ? countJSON(statistic.values[0])
                                        : .array(statistic.values.map(countJSON)))
                            }))
                } catch {
                    throw .generic(error.description)
                }
            },
            QMPCommand(name: "x-vitrine-console") { (monitor, arguments, _) throws(QMPError) in
                try arguments.end()
                do throws(Errno) {
                    return .value([:], [try monitor.console.attach()])
                } catch {
                    throw .generic(error.description)
                }
            },
            QMPCommand(name: "x-vitrine-watch-tables") { (monitor, arguments, connection) throws(QMPError) in
                let vcpu = try arguments.optionalInt("vcpu", in: 0..<monitor.options.machine.vcpus)
                try arguments.end()
                return try monitor.watchTables(vcpu: vcpu, connection)
            },
            QMPCommand(name: "x-vitrine-exec") { (monitor, arguments, connection) throws(QMPError) in
                let command = try arguments.text("command-line")
                let timeout = try arguments.seconds("timeout", default: 10)
                try arguments.end()
                return try monitor.exec(command, timeout: timeout, connection)
            },
        ]
    }
}

/// Statistics are unsigned; the parsers of many clients stop at 2^63.
private func countJSON(_ value: UInt64) -> JSON { JSON(min(value, UInt64(Int64.max))) }

/// Registers as a flat object; the segments are objects in it.
private func registersJSON(_ registers: VCPURegisters) -> JSON {
    let plain: [(String, UInt64)] = [
        ("rax", registers.rax), ("rbx", registers.rbx), ("rcx", registers.rcx), ("rdx", registers.rdx),
        ("rsi", registers.rsi), ("rdi", registers.rdi), ("rsp", registers.rsp), ("rbp", registers.rbp),
        ("r8", registers.r8), ("r9", registers.r9), ("r10", registers.r10), ("r11", registers.r11),
        ("r12", registers.r12), ("r13", registers.r13), ("r14", registers.r14), ("r15", registers.r15),
        ("rip", registers.rip), ("rflags", registers.rflags), ("cr0", registers.cr0), ("cr2", registers.cr2),
        ("cr3", registers.cr3), ("cr4", registers.cr4), ("cr8", registers.cr8), ("efer", registers.efer),
        ("apic-base", registers.apicBase), ("pat", registers.pat), ("kernel-gs-base", registers.kernelGSBase),
    ]
    let segments = [
        ("cs", registers.cs), ("ds", registers.ds), ("es", registers.es), ("fs", registers.fs), ("gs", registers.gs),
        ("ss", registers.ss), ("tr", registers.tr), ("ldt", registers.ldt),
    ]
    var members = plain.map { JSONMember($0.0, .hex($0.1)) }
    members.append(JSONMember("maxphyaddr", JSON(registers.maxPhysicalAddressBits)))
    for (name, segment) in segments {
        members.append(
            JSONMember(
                name,
                [
                    "selector": JSON(segment.selector), "base": .hex(segment.base), "limit": JSON(segment.limit),
                    "attributes": .hex(UInt64(accessRights(segment))),
                ]))
    }
    for (name, table) in [("gdt", registers.gdt), ("idt", registers.idt)] {
        members.append(JSONMember(name, ["base": .hex(table.base), "limit": JSON(table.limit)]))
    }
    return .object(members)
}

/// Access rights in VMX's form (Intel SDM volume 3, 25.4.1).
func accessRights(_ segment: Segment) -> UInt32 {
    func bit(_ flag: Bool, _ position: UInt32) -> UInt32 { flag ? 1 << position : 0 }
    return UInt32(segment.type & 15) | bit(segment.codeOrData, 4) | UInt32(segment.privilege & 3) << 5
        | bit(segment.present, 7) | bit(segment.available, 12) | bit(segment.long, 13) | bit(segment.big, 14)
        | bit(segment.granular, 15) | bit(segment.unusable, 16)
}

extension GuestMonitor {
    /// Everything this process knows of its guest.
    var infoJSON: JSON {
        let counters = machine.counters
        let programs = options.machine.programs.enumerated().map { index, path in
            JSON.object([
                JSONMember("number", JSON(index)), JSONMember("name", .string(path.lastPathComponent)),
                JSONMember("status", record.programs[UInt8(truncatingIfNeeded: index)].map { JSON($0) } ?? .null),
            ])
        }
        return [
            "name": .string(options.name), "pid": JSON(process), "state": .string(runState),
            "halted": .bool(record.isHalted), "layout": .string(options.machine.layout),
            "memory": JSON(options.machine.memory), "vcpus": JSON(options.machine.vcpus),
            "kernel": .string(options.machine.kernel), "command-line": .string(options.machine.commandLine),
            "started": JSON(started), "stage": machine.stage.map { .string($0.rawValue) } ?? .null,
            "held-at": record.heldAt.map { .string($0.rawValue) } ?? .null,
            "stages": .array(machine.stages.map(stageJSON)), "programs": .array(programs),
            "console": console.terminalPath.map { .string($0) } ?? .null,
            "panic-code": record.panicCode.map { JSON($0) } ?? .null,
            "sandbox": sandboxJSON,
            "crash": .array(record.crash.map { .string($0) }),
            "counters": [
                "unknown-port-reads": countJSON(counters.unknownPortReads),
                "unknown-port-writes": countJSON(counters.unknownPortWrites),
                "unbacked-reads": countJSON(counters.unbackedReads),
                "unbacked-writes": countJSON(counters.unbackedWrites),
                "protocol-errors": countJSON(counters.protocolErrors),
                "dropped-serial-bytes": countJSON(counters.droppedSerialBytes),
                "surplus-program-ends": countJSON(record.surplusProgramEnds),
            ],
        ]
    }

    /// The slot table and the read-only descriptors, each file once.
    func memory() throws(QMPError) -> QMPResult {
        var files: [SharedDescriptor] = []
        var slots: [JSON] = []
        for (slot, backing) in zip(machine.slots.slots, readOnlyMemory) {
            let index = files.firstIndex { $0 === backing.descriptor } ?? files.count
            if index == files.count { files.append(backing.descriptor) }
            slots.append([
                "id": JSON(slot.id), "name": .string(slot.name), "gpa": .hex(slot.guestPhysicalAddress.rawValue),
                "size": JSON(slot.size), "hva": .hex(slot.userspaceAddress.rawValue), "fd": JSON(index),
                "offset": JSON(backing.offset),
            ])
        }
        return .value(
            [
                "slots": .array(slots), "pid": JSON(process), "layout": .string(options.machine.layout),
                "vcpus": JSON(options.machine.vcpus),
            ], files)
    }

    /// The tables of a stage in a sealed file.
    func stageTables(_ name: String) throws(QMPError) -> QMPResult {
        guard let stage = Stage.allCases.first(where: { $0.rawValue == name }), stage != .entry else {
            throw .generic("there is no stage '\(name)' with tables; there are A, B, C and ready")
        }
        guard let snapshot = machine.snapshot(of: stage) else {
            throw .generic("the guest has not reached stage \(name)")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(snapshot.pages.count * (8 + 4096))
        for page in snapshot.pages {
            withUnsafeBytes(of: page.address.rawValue.littleEndian) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: page.bytes)
        }
        do throws(Errno) {
            let file = try FileDescriptor.sealedFile(named: "vitrine-stage-\(name)", bytes)
            return .value(
                [
                    "cr3": .hex(snapshot.cr3), "pages": JSON(snapshot.pages.count),
                    "truncated": .bool(snapshot.truncated),
                ],
                [SharedDescriptor(file)])
        } catch {
            throw .generic(error.description)
        }
    }

    /// Hands a command to the kernel's monitor.
    func exec(_ command: String, timeout: Double, _ connection: QMPConnection) throws(QMPError) -> QMPResult {
        switch machine.state {
        case .running: break
        case .prelaunch, .paused:
            throw .generic("the guest is paused; resume it first (vitrine resume \(options.name))")
        case .shutdown, .panicked, .crashed:
            throw .generic(
                "the guest does not run any more: it is \(runState) (vitrine reset \(options.name) starts it again)")
        }
        guard machine.stage == .ready else {
            let reached = machine.stage.map { "is at stage \($0.rawValue)" } ?? "has reported no stage yet"
            throw .generic("the kernel's monitor answers from stage ready on; the guest \(reached)")
        }
        try exec.submit(
            ExecRequest(command: command, timeout: UInt64(timeout * 1e9), connection: connection.id))
        return .later
    }
}

extension String {
    /// What follows the last slash.
    fileprivate var lastPathComponent: String {
        lastIndex(of: "/").map { String(self[index(after: $0)...]) } ?? self
    }
}

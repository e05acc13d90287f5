// Our ARM guest under QEMU's TCG: what its own processor says of its tables, what QEMU says, and what the walk says.

import Addresses
import Cores
import Foundation
import GuestImages
import GuestMemory
import JSON
import PageTables
import Targets
import Testing

/// A board and a processor.
struct ARMMachine: Sendable, CustomTestStringConvertible {
    let arguments: [String]
    var testDescription: String { arguments.joined(separator: " ") }

    static let all = [
        // No PXN.
        ARMMachine(arguments: ["-machine", "versatilepb", "-cpu", "cortex-a8", "-m", "64"]),
        // PXN; starts in Hyp mode.
        ARMMachine(arguments: ["-machine", "versatilepb", "-cpu", "cortex-a15", "-m", "64"]),
        // The security extensions, hence banked registers; four CPUs.
        ARMMachine(arguments: ["-machine", "raspi2b", "-m", "1G"]),
    ]
}

/// What the guest prints: `vitrine-arm VARIANT SCTLR TTBCR TTBR0 TTBR1 DACR ID_MMFR0`, then a line an address.
struct ARMReport {
    struct Line {
        let va: UInt64
        /// PAR after ATS1CPR, ATS1CPW, ATS1CUR, ATS1CUW.
        let pars: [UInt64]
        /// Whether PL1 and PL0 could run what is there; nil if that was not tried.
        let runs: [Bool?]
    }
    let registers: [UInt64]
    let lines: [Line]

    init(_ text: String) throws {
        let rows = text.split(whereSeparator: \.isNewline).map { $0.split(separator: " ") }
        let head = try #require(rows.first { $0.first == "vitrine-arm" })
        registers = head.dropFirst().compactMap { UInt64($0, radix: 16) }
        try #require(registers.count == 7)
        lines = rows.compactMap { row in
            let numbers = row.prefix(5).compactMap { UInt64($0, radix: 16) }
            guard row.count == 7, numbers.count == 5 else { return nil }
            return Line(
                va: numbers[0], pars: Array(numbers.dropFirst()),
                runs: row.dropFirst(5).map { $0 == "-" ? nil : $0 == "1" })
        }
    }
}

@Suite(.serialized, .enabled(if: QEMU.hasARM, "qemu-system-arm is not installed")) struct ARMGuestTests {
    static func start(_ machine: ARMMachine, variant: Int) throws -> QEMU {
        let image = try #require(GuestImages.path(of: "arm/paging.elf"), "the images are built")
        let qemu = try QEMU(
            machine.arguments + [
                "-kernel", image, "-device", "loader,addr=0x100,data=\(variant),data-len=4",
            ], executable: QEMU.armExecutable)
        try qemu.wait("READY") { qemu.consoleText.hasSuffix("READY\n") }
        return qemu
    }

    @Test(arguments: ARMMachine.all, 0..<3) func againstTheProcessorAndQEMU(machine: ARMMachine, variant: Int) throws {
        let qemu = try Self.start(machine, variant: variant)
        let target = try QEMUTarget(socket: qemu.socket)
        let report = try ARMReport(qemu.consoleText)
        #expect(report.registers[0] == UInt64(variant))
        let registers = try target.registers(vcpu: 0)
        for (index, name) in ["sctlr", "ttbcr", "ttbr0", "ttbr1", "dacr"].enumerated() {
            #expect(registers[name] == report.registers[index + 1], "\(name)")
        }
        // The machine stood still for it, and goes on.
        #expect(try target.info()["state"]?.text == "running")
        let arm = try #require(registers.arm)
        #expect(arm.hasPXN == (report.registers[6] & 15 >= 4))
        let space = try target.addressSpace()
        #expect(space.regions.count == (variant == 0 ? 1 : 2))
        try compare(report, space, target.memory, arm: arm)
        try compareWithQEMU(target, space, arm: arm)
        try compareWithDumps(target, qemu)
        // The processor with PXN.
        if machine.arguments.contains("cortex-a15") {
            try Recording.keep(["arm-short", "arm-split", "arm-courseos"][variant], target, report: qemu.consoleText)
        }
        withExtendedLifetime(qemu) {}
    }

    /// What PL1 and PL0 may do with an address as QEMU has it: nothing where AP[0] is the access flag (SCTLR.AFE) and clear,
    /// until software sets it. In a domain that DACR makes a manager QEMU does not look at the flag.
    static func usableFlags(_ translation: Translation, arm: ARMPagingState) -> PageFlags {
        guard let flags = translation.mapping?.flags, let first = translation.entries.first?.value else { return [] }
        let isSupersection = first & 3 > 1 && first & ARMBit.supersection != 0
        let domain = isSupersection ? 0 : UInt32(first >> 5 & 15)
        let isManager = arm.dacr >> (2 * domain) & 3 == 3
        return arm.sctlr >> 29 & 1 == 0 || isManager || flags.contains(.accessed) ? flags : []
    }

    /// Each address that the guest asked its processor about: where it leads, who may read, write and run it.
    func compare(_ report: ARMReport, _ space: AddressSpace, _ memory: TargetMemory, arm: ARMPagingState) throws {
        var mapped = 0
        var ran = 0
        for line in report.lines {
            let translation = space.translate(GVA(line.va), in: memory)
            let mapping = translation.mapping
            let flags = Self.usableFlags(translation, arm: arm)
            let expected = [
                flags.contains(.readable), flags.contains(.writable), flags.isSuperset(of: [.readable, .user]),
                flags.isSuperset(of: [.writable, .user]) && !flags.contains(.userReadOnly),
            ]
            let name: Comment =
                "VA \(GVA(line.va).hex), \(String(describing: mapping)), PAR \(line.pars.map { GPA($0).hex })"
            #expect(line.pars.map { $0 & 1 == 0 } == expected, name)
            for par in line.pars where par & 1 == 0 {
                mapped += 1
                let mask: UInt64 = par & 2 == 0 ? 0xffff_f000 : 0xff00_0000
                #expect(mapping.map { $0.gpa.rawValue & mask } == par & mask, name)
                #expect((par & 2 != 0) == (mapping?.pageSize == 16 << 20), name)
            }
            let privileged = flags.contains(.executable) && !flags.contains(.noSupervisorExecute)
            for (did, may) in zip(line.runs, [privileged, flags.isSuperset(of: [.executable, .user])]) {
                guard let did else { continue }
                if did { ran += 1 }
                #expect(did == may, name)
            }
        }
        #expect(mapped > 100 && ran > 10 && report.lines.count > 1000)
    }

    /// Random addresses and the borders of every run against `gva2gpa`, which reads as PL1.
    func compareWithQEMU(_ target: QEMUTarget, _ space: AddressSpace, arm: ARMPagingState) throws {
        let (runs, summary) = space.runs(in: target.memory)
        #expect(summary.isComplete && runs.count > 50)
        var addresses: Set<UInt64> = [0, 0xffff_ffff]
        for run in runs {
            for address in [run.va.rawValue, run.va.rawValue &- 1, run.lastVA.rawValue, run.lastVA.rawValue &+ 1] {
                addresses.insert(address & 0xffff_ffff)
            }
            addresses.insert(run.va.rawValue + UInt64.random(in: 0..<run.size))
        }
        for _ in 0..<1000 { addresses.insert(UInt64.random(in: 0...0xffff_ffff)) }
        let asked = addresses.sorted()
        var answers: [String] = []
        for start in stride(from: 0, to: asked.count, by: 200) {
            answers += try target.client.human(
                asked[start..<min(start + 200, asked.count)].map { "gva2gpa \(GVA($0).hex)" })
        }
        var mapped = 0
        for (address, answer) in zip(asked, answers) {
            let translation = space.translate(GVA(address), in: target.memory)
            let isReadable = Self.usableFlags(translation, arm: arm).contains(.readable)
            let mapping = isReadable ? translation.mapping : nil
            let theirs = PrintedRun.gpa(answer)
            if theirs != nil { mapped += 1 }
            #expect(mapping?.gpa.rawValue == theirs, "VA \(GVA(address).hex): QEMU says \(answer)")
        }
        #expect(mapped > 100 && mapped < asked.count)
    }

    /// A dump of the tables, and QEMU's core with the root by hand, say the same as the live machine.
    func compareWithDumps(_ target: QEMUTarget, _ qemu: QEMU) throws {
        let space = try target.addressSpace()
        let live = space.runs(in: target.memory).runs
        var bytes: [UInt8] = []
        try CoreWriter(tablesOf: target).write { bytes += $0 }
        let path = qemu.folder + "/tables"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let saved = try CoreTarget(path: path)
        #expect(saved.isARM && saved.vcpuCount == target.vcpuCount)
        #expect(try saved.addressSpace() == space)
        #expect(space.runs(in: saved.memory).runs == live)
        #expect(saved.slots.slots.map(\.size) == target.slots.slots.map(\.size))
        try target.client.execute(
            "dump-guest-memory",
            [JSONMember("paging", false), JSONMember("protocol", .string("file:\(path).core"))], timeout: 180)
        let core = try CoreTarget(path: path + ".core")
        #expect(core.isARM && core.vcpuCount == 0)
        #expect(space.runs(in: core.memory).runs == live)
        let slow = try QEMUTarget(socket: qemu.secondSocket, access: .monitor)
        #expect(slow.memorySource == "monitor" && target.memorySource.hasPrefix("process"))
        #expect(space.runs(in: slow.memory).runs == live)
    }

    /// A machine that was paused stays so; one whose debugger port is taken is told apart, and not disturbed.
    @Test func theDebuggerPort() throws {
        let qemu = try Self.start(ARMMachine.all[0], variant: 0)
        let target = try QEMUTarget(socket: qemu.socket)
        try target.pause()
        for _ in 0..<3 { #expect(try target.registers(vcpu: 0)["ttbr0"] == 0x4000) }
        #expect(try target.info()["state"]?.text == "paused")
        try target.resume()
        #expect(try target.info()["state"]?.text == "running")
        _ = try target.client.human("gdbserver unix:\(qemu.folder)/gdb,server=on,wait=off")
        #expect { try target.registers(vcpu: 0) } throws: { error in
            guard case .unable(let text) = error as? TargetError else { return false }
            return text.contains("debugger port is in use") && text.contains("--paging arm")
        }
        let devices = try target.client.execute("query-chardev").value.elements ?? []
        #expect(devices.contains { $0["label"]?.text == "gdb" })
        #expect(!devices.contains { $0["label"]?.text == "vitrine-debugger" })
    }

    /// A machine whose translation is off says so; a second CPU has registers of its own.
    @Test func otherProcessors() throws {
        let qemu = try Self.start(ARMMachine.all[2], variant: 0)
        let target = try QEMUTarget(socket: qemu.socket)
        #expect(target.vcpuCount == 4)
        #expect { try target.addressSpace(vcpu: 1) } throws: { error in
            guard case .unable(let text) = error as? TargetError else { return false }
            return text.contains("paging is off on vCPU 1")
        }
        withExtendedLifetime(qemu) {}
    }
}

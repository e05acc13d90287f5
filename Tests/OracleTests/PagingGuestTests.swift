import Addresses
import Cores
import Foundation
import GuestImages
import GuestMemory
import JSON
import PageTables
import Targets
import Testing

/// Our own small guests, one for each mode of x86, under QEMU's TCG.
@Suite(.enabled(if: QEMU.isInstalled, "qemu-system-x86 is not installed")) struct PagingGuestTests {
    func start(_ name: String, arguments: [String] = []) throws -> (QEMU, QEMUTarget) {
        let image = try #require(GuestImages.path(of: "paging/\(name).elf"), "the images are built")
        let machine = try QEMU(
            ["-machine", "q35", "-cpu", "max", "-m", "64", "-kernel", image] + arguments)
        // The firmware changes the memory map until the guest starts, so the target is opened after that.
        do {
            let early = try QEMUTarget(socket: machine.secondSocket)
            try machine.wait("the end of \(name)") {
                let registers = try early.registers(vcpu: 0)
                return registers["rax"] == 0x5649_5452 && registers.cr0 >> 31 == 1
            }
        }
        return (machine, try QEMUTarget(socket: machine.socket))
    }

    @Test(
        arguments: zip(
            ["thirty-two-bit", "pae", "four-level", "five-level"], ["32-bit", "PAE", "4-level", "5-level"]))
    func againstQEMU(image: String, mode: String) throws {
        let (machine, target) = try start(image)
        withExtendedLifetime(machine) {}
        guard case .paging(let format, _) = try target.registers(vcpu: 0).paging.mode else {
            Issue.record("no paging")
            return
        }
        #expect(format.name == mode)
        let leaves = try compare(target, randomAddresses: 400)
        #expect(leaves > 1000)
        try Recording.keep(image, target)
        // The core of the same moment says the same.
        let path = machine.folder + "/core"
        try target.client.execute(
            "dump-guest-memory", [JSONMember("paging", false), JSONMember("protocol", .string("file:\(path)"))],
            timeout: 180)
        let core = try CoreTarget(path: path)
        #expect(core.vcpuCount == 1)
        #expect(try core.registers(vcpu: 0).cr3 == target.registers(vcpu: 0).cr3)
        guard case .paging(let coreFormat, _) = try core.registers(vcpu: 0).paging.mode else {
            Issue.record("no paging in the core")
            return
        }
        #expect(coreFormat.name == mode)
        #expect(try dump(core).map(\.va) == dump(target).map(\.va))
        #expect(try dump(core).map(\.gpa) == dump(target).map(\.gpa))
        // So does a dump of the tables alone.
        let saved = path + ".tables"
        let writer = try CoreWriter(tablesOf: target)
        var bytes: [UInt8] = []
        try writer.write { bytes += $0 }
        try Data(bytes).write(to: URL(fileURLWithPath: saved))
        let tables = try CoreTarget(path: saved)
        #expect(try tables.registers(vcpu: 0).paging == target.registers(vcpu: 0).paging)
        #expect(try dump(tables) == dump(target))
        #expect(tables.slots.slots.map(\.size) == target.slots.slots.map(\.size))
        // A dump by virtual addresses too.
        try target.client.execute(
            "dump-guest-memory",
            [JSONMember("paging", true), JSONMember("protocol", .string("file:\(path).paging"))], timeout: 180)
        let byPages = try CoreTarget(path: path + ".paging")
        #expect(try byPages.registers(vcpu: 0).cr3 == target.registers(vcpu: 0).cr3)
    }

    /// The monitor gives the same memory as the process.
    @Test func throughTheMonitor() throws {
        let (machine, target) = try start("pae")
        #expect(target.memorySource == "process \(machine.process.processIdentifier)")
        #expect(target.pid == machine.process.processIdentifier)
        let slow = try QEMUTarget(socket: machine.secondSocket, access: .monitor)
        #expect(slow.memorySource == "monitor")
        #expect(slow.slots == target.slots)
        #expect(try dump(slow) == dump(target))
        #expect(slow.memory.bytes(at: GPA(0x20_0ffc), count: 8) == target.memory.bytes(at: GPA(0x20_0ffc), count: 8))
        #expect(slow.memory.bytes(at: GPA(0x4000_0000), count: 1) == nil)
        try slow.checkReads()
    }

    /// RAM on both sides of the hole, at the addresses that QEMU has them at.
    @Test func memoryAboveTheHole() throws {
        let (machine, target) = try start("four-level", arguments: ["-m", "5G"])
        let slots = target.slots.slots
        #expect(slots.contains { $0.guestPhysicalAddress == GPA(0x1_0000_0000) && $0.name == "pc.ram" })
        for slot in slots {
            let answer = try target.client.human("gpa2hva \(slot.guestPhysicalAddress.hex)")
            #expect(answer.contains("is \(slot.userspaceAddress.hex)"))
        }
        // What the guest wrote.
        #expect(target.memory.bytes(at: GPA(0x20_0000), count: 2) == [0x34, 0x12])
        withExtendedLifetime(machine) {}
    }

    @Test func pauseAndResume() throws {
        let (machine, target) = try start("pae")
        #expect(try target.pause())
        #expect(try target.info()["state"]?.text == "paused")
        #expect(try !target.pause())
        try target.resume()
        #expect(try target.info()["state"]?.text == "running")
        withExtendedLifetime(machine) {}
    }

    /// A QEMU that is killed: reads say that it went away, and so does its monitor.
    @Test func aMachineThatEnds() throws {
        let (machine, target) = try start("pae")
        _ = try dump(target)
        kill(machine.process.processIdentifier, SIGKILL)
        machine.process.waitUntilExit()
        target.memory.refresh()
        #expect(target.memory.page(at: GPA(0x20_0000)) == nil)
        #expect { try target.checkReads() } throws: { error in
            guard case .wentAway = error as? TargetError else { return false }
            return true
        }
        #expect { try target.registers(vcpu: 0) } throws: { error in
            guard case .wentAway = error as? TargetError else { return false }
            return true
        }
    }

    /// A monitor that is busy with another client says so after the time.
    @Test func aMonitorInUse() throws {
        let (machine, target) = try start("pae")
        #expect { try QEMUTarget(socket: machine.socket, timeout: 0.3) } throws: { error in
            guard case .unable(let text) = error as? TargetError else { return false }
            return text.contains("one client at a time")
        }
        withExtendedLifetime(target) {}
    }

    /// A QEMU that stands still (SIGSTOP): an error after the time, not a hang.
    @Test func aMachineThatStalls() throws {
        let (machine, target) = try start("pae")
        kill(machine.process.processIdentifier, SIGSTOP)
        #expect { try target.client.execute("query-status", timeout: 0.2) } throws: { error in
            guard case .noAnswer = error as? TargetError else { return false }
            return true
        }
        kill(machine.process.processIdentifier, SIGCONT)
    }
}

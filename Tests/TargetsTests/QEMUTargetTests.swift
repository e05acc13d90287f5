import Addresses
import Glibc
import GuestMemory
import JSON
import Targets
import Testing

/// What a QEMU that is broken or hostile may say.
@Suite struct QEMUTargetTests {
    static let view = """
        FlatView #0
         AS "I/O", root: io
          0000000000000000-0000000000000fff (prio 0, ram): not.ram

        FlatView #1
         AS "memory", root: system
         Root memory region: system
          0000000000000000-00000000000bffff (prio 0, ram): pc.ram
          00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
          00000000000e0000-00000000000e07ff (prio 0, ram): odd
          0000000000100000-0000000003ffffff (prio 0, ram): pc.ram @0000000000100000
          0000000004000000-0000000004ffffff (prio 0, ram): pc.ram @0000000004000000
          00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
        """

    static let registers = """
        EAX=00000001 EBX=00000000
        EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
        CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]
        LDT=0000 0000000000000000 0000ffff 00008200 DPL=0 LDT
        CR0=80050033 CR2=0000000000000000 CR3=0000000000001000 CR4=00000020
        EFER=0000000000000d01
        """

    /// A monitor that answers these human commands, and nothing else but what every QEMU knows.
    func fake(_ answer: @escaping @Sendable (String) -> String?) throws -> FakeMonitor {
        try FakeMonitor { connection in
            while let request = connection.next() {
                switch request["execute"]?.text {
                case "query-cpus-fast":
                    connection.answer(request, [["cpu-index": 0, "qom-path": "/cpu"], ["cpu-index": 7]])
                case "qom-get": connection.answer(request, 40)
                case "human-monitor-command":
                    let command = request["arguments"]?["command-line"]?.text ?? ""
                    guard let text = answer(command) else { return }
                    connection.answer(request, .string(text))
                default: connection.answer(request, [:])
                }
            }
        }
    }

    /// What a good one says; this process holds nothing at such addresses, so memory goes through the monitor.
    static func good(_ command: String) -> String {
        switch command {
        case "info mtree -f": return view
        case "info registers": return registers
        case "gpa2hva 0x0": return "Host virtual address for 0x0 (pc.ram) is 0x10000\r\n"
        case "gpa2hva 0xc0000": return "Host virtual address for 0xc0000 (pc.rom) is 0x900000\r\n"
        case "gpa2hva 0x100000": return "Host virtual address for 0x100000 (pc.ram) is 0x110000\r\n"
        case "gpa2hva 0x4000000": return "Host virtual address for 0x4000000 (pc.ram) is 0x4010000\r\n"
        default:
            let words = command.split(separator: " ")
            guard words.count == 3, words[0] == "xp", words[1].hasPrefix("/"), words[1].hasSuffix("gx"),
                let count = Int(words[1].dropFirst().dropLast(2)), let start = UInt64(words[2].dropFirst(2), radix: 16)
            else { return "unknown command" }
            return stride(from: 0, to: count, by: 2).map { number in
                let address = start + UInt64(number) * 8
                let second = number + 1 < count ? " " + GVA(address + 8).hex16 : ""
                return GVA(address).hex16.dropFirst(2) + ": " + GVA(address).hex16 + second
            }.joined(separator: "\r\n")
        }
    }

    @Test func whatAGoodOneSays() throws {
        let fake = try fake(Self.good)
        do {
            let target = try QEMUTarget(socket: fake.path)
            #expect(target.vcpuCount == 2)
            #expect(target.memorySource == "monitor")
            #expect(target.pid == 0)
            #expect(
                target.slots.slots.map { [$0.guestPhysicalAddress.rawValue, $0.size, $0.userspaceAddress.rawValue] }
                    == [
                        [0, 0xc_0000, 0x1_0000], [0xc_0000, 0x2_0000, 0x90_0000], [0x10_0000, 0x4f0_0000, 0x11_0000],
                    ])
            #expect(target.slots.slots.map(\.name) == ["pc.ram", "pc.rom", "pc.ram"])
            let registers = try target.registers(vcpu: 1)
            #expect(registers.cr3 == 0x1000 && registers.efer == 0xd01 && registers.rip == 0xfff0)
            #expect(registers["rax"] == 1 && registers["rflags"] == 2)
            #expect(registers.maxPhysicalAddressBits == 40)
            #expect(registers.segment("cs")?.attributes == 0xa09b)
            #expect(registers.segment("ldt")?.limit == 0xffff)
            #expect(target.memory.page(at: GPA(0x10_2000))?.load(fromByteOffset: 8, as: UInt64.self) == 0x10_2008)
            #expect(
                target.memory.bytes(at: GPA(0xbfff8), count: 16) == [0xf8, 0xff, 0x0b] + [UInt8](repeating: 0, count: 7)
                    + [0x0c, 0, 0, 0, 0, 0])
            #expect(target.memory.page(at: GPA(0x500_0000)) == nil)
            try target.checkReads()
        }
    }

    enum Kind { case wentAway, badAnswer, unable, noSuchTarget, memory, input }

    func kind(_ error: (any Error)?) -> Kind? {
        switch error as? TargetError {
        case .wentAway: return .wentAway
        case .badAnswer: return .badAnswer
        case .unable: return .unable
        case .noSuchTarget: return .noSuchTarget
        case .memory: return .memory
        case .input: return .input
        default: return nil
        }
    }

    func openingError(_ answer: @escaping @Sendable (String) -> String?) throws -> Kind? {
        let fake = try fake(answer)
        do {
            _ = try QEMUTarget(socket: fake.path, timeout: 2)
            return nil
        } catch { return kind(error) }
    }

    @Test func memoryMaps() throws {
        for text in [
            "", "garbage\n\n\u{0}", "FlatView #0\n AS \"memory\"\n",
            "FlatView #0\n AS \"memory\"\n  zz-ff (prio 0, ram): x",
            "FlatView #0\n AS \"memory\"\n  fff-0 (prio 0, ram): x",
            "FlatView #0\n AS \"memory\"\n  0-ffffffffffffffff (prio 0, ram): x",
            "FlatView #0\n AS \"memory\"\n  0-fff (prio 0, i/o): x", "unknown command: 'info mtree -f'",
            String(repeating: "FlatView #0\n AS \"memory\"\n  0-fff (prio 0, ram): x\n", count: 5000),
        ] {
            let kind = try openingError { $0 == "info mtree -f" ? text : Self.good($0) }
            #expect(kind == .badAnswer || kind == .memory, "\(text.prefix(60))")
        }
        // Two pieces at one place.
        let overlapping = Self.view.replacing("00000000000c0000", with: "0000000000000000")
        #expect(try openingError { $0 == "info mtree -f" ? overlapping : Self.good($0) } == .memory)
        // No host address for any.
        #expect(try openingError { $0.hasPrefix("gpa2hva") ? "No memory is mapped" : Self.good($0) } == .badAnswer)
        #expect(try openingError { $0.hasPrefix("gpa2hva") ? "is 0xfffffffffffff001" : Self.good($0) } == .badAnswer)
    }

    /// It closes the connection in the middle of any step.
    @Test(arguments: ["info mtree", "gpa2hva"]) func goneWhileOpening(step: String) throws {
        #expect(try openingError { $0.hasPrefix(step) ? nil : Self.good($0) } == .wentAway)
    }

    @Test(arguments: ["", "CR0=80000011", "CR0=x CR3=1000 CR4=20", "no such command"])
    func registersThatMakeNoSense(text: String) throws {
        let fake = try fake { $0 == "info registers" ? text : Self.good($0) }
        do {
            let target = try QEMUTarget(socket: fake.path)
            #expect { try target.registers(vcpu: 0) } throws: { kind($0) == .unable }
            #expect { try target.registers(vcpu: 2) } throws: { kind($0) == .input }
        }
    }

    /// Memory that the monitor does not give is missing, and said to be.
    @Test(arguments: ["Cannot access memory", "", "0000: 0x1 0x2", "0000: 0x1 zz"]) func memoryThatCannotBeRead(
        text: String
    ) throws {
        let fake = try fake { $0 == "xp /512gx 0x2000" ? text : Self.good($0) }
        do {
            let target = try QEMUTarget(socket: fake.path)
            #expect(target.memory.page(at: GPA(0x1000)) != nil)
            try target.checkReads()
            #expect(target.memory.page(at: GPA(0x2000)) == nil)
            #expect { try target.checkReads() } throws: { kind($0) == .badAnswer }
        }
    }

    @Test func noSocket() {
        #expect { try QEMUTarget(socket: "/nonexistent/qmp") } throws: { kind($0) == .noSuchTarget }
        #expect { try Targets.open("qmp:/nonexistent/qmp") } throws: { kind($0) == .noSuchTarget }
        #expect { try Targets.open("core:/nonexistent") } throws: { kind($0) == .noSuchTarget }
        #expect { try Targets.open("core:/etc/passwd") } throws: { kind($0) == .input }
        #expect { try Targets.connect("core:/etc/passwd") } throws: { kind($0) == .unable }
    }
}

import Addresses
import Glibc
import GuestMemory
import JSON
import PageTables
import SystemCalls
import Targets
import Testing

@Suite struct OwnGuestTests {
    private static let slots: JSON = [
        [
            "id": 1, "name": "high", "gpa": "0x100000000", "size": 4096, "hva": "0x7f0000010000", "fd": 1, "offset": 0,
        ],
        ["id": 0, "name": "low", "gpa": "0x0", "size": 8192, "hva": "0x7f0000000000", "fd": 0, "offset": 4096],
    ]

    /// A fake whose memory is two sealed files: three pages of 0, 1, 2 and one of 9.
    private func fake(_ memory: JSON, files: Int = 2) throws -> FakeMonitor {
        try FakeMonitor { connection in
            guard
                let first = try? FileDescriptor.sealedFile(
                    named: "a", (0..<3).flatMap { [UInt8](repeating: $0, count: 4096) }),
                let second = try? FileDescriptor.sealedFile(named: "b", [UInt8](repeating: 9, count: 4096))
            else { return }
            while let request = connection.next() {
                switch request["execute"]?.text {
                case "x-vitrine-memory":
                    connection.answer(request, memory, Array([first.rawValue, second.rawValue].prefix(files)))
                case "x-vitrine-registers":
                    connection.answer(
                        request,
                        [
                            "rip": "0x200000", "cr0": "0x80000011", "cr3": "0x1000", "cr4": "0x20", "efer": "0xd00",
                            "maxphyaddr": 39,
                            "cs": ["base": "0x0", "limit": 4_294_967_295, "selector": 8, "attributes": "0xa09b"],
                        ])
                case "x-vitrine-exec":
                    connection.answer(
                        request,
                        request["arguments"]?["command-line"] == "bad"
                            ? ["lines": [], "error": "no"] : ["lines": ["a=1", "b=2"], "error": .null])
                case "x-vitrine-translate": connection.answer(request, ["gpa": "0x5000"])
                case "x-vitrine-hold": connection.answer(request, ["was-running": true])
                default: connection.answer(request, [:])
                }
            }
        }
    }

    @Test func everythingOfAGuest() throws {
        let fake = try fake(["slots": Self.slots, "pid": 1234, "vcpus": 2, "layout": "osv"])
        do {
            let guest = try OwnGuest(client: QMPClient(path: fake.path, name: "g"))
            #expect(guest.pid == 1234 && guest.vcpuCount == 2 && guest.layout == "osv" && guest.name == "g")
            #expect(guest.slots.slots.map(\.name) == ["low", "high"])
            #expect(guest.memory.page(at: GPA(0))?.load(as: UInt8.self) == 1)
            #expect(guest.memory.page(at: GPA(0x1fff))?.load(as: UInt8.self) == 2)
            #expect(guest.memory.page(at: GPA(0x1_0000_0000))?.load(as: UInt8.self) == 9)
            #expect(guest.memory.page(at: GPA(0x2000)) == nil)
            #expect(guest.slots.hva(of: GPA(0x1004)) == HVA(0x7f00_0000_1004))
            let registers = try guest.registers(vcpu: 0)
            #expect(registers.cr3 == 0x1000 && registers["rip"] == 0x20_0000 && registers["zzz"] == nil)
            #expect(registers.segment("cs")?.attributes == 0xa09b)
            #expect(registers.paging.maxPhysicalAddressBits == 39)
            #expect(try guest.exec("x") == ["a=1", "b=2"])
            #expect(throws: TargetError.self) { try guest.exec("bad") }
            #expect(try guest.translate(GVA(0), vcpu: 0) == GPA(0x5000))
            #expect(try guest.pause())
        }
    }

    @Test func hostileMemory() throws {
        func slot(_ change: (inout [String: JSON]) -> Void) -> JSON {
            var members: [String: JSON] = [
                "id": 0, "name": "low", "gpa": "0x0", "size": 8192, "hva": "0x7f0000000000", "fd": 0, "offset": 0,
            ]
            change(&members)
            let list: [JSON] = [.object(members.map { JSONMember($0.key, $0.value) })]
            return ["slots": .array(list), "pid": 1, "vcpus": 1]
        }
        let answers: [JSON] = [
            [:], ["slots": 7, "pid": 1, "vcpus": 1], ["slots": Self.slots, "pid": 1, "vcpus": 0],
            slot { $0["fd"] = 2 }, slot { $0["fd"] = -1 }, slot { $0["size"] = 16384 }, slot { $0["size"] = 0 },
            slot { $0["size"] = -4096 }, slot { $0["size"] = 100 }, slot { $0["gpa"] = "0xfffffffffffff000" },
            slot { $0["gpa"] = "0x10" }, slot { $0["gpa"] = 0 }, slot { $0["hva"] = "zz" },
            slot { $0["offset"] = 8192 },
            slot { $0["offset"] = -1 }, slot { $0["offset"] = 9_223_372_036_854_771_712 }, slot { $0["offset"] = 1 },
        ]
        for answer in answers {
            let fake = try fake(answer)
            do {
                let guest = try OwnGuest(client: QMPClient(path: fake.path, name: "g"))
                Issue.record("accepted: \(answer.encoded) as \(guest.slots)")
            } catch {}
        }
        let fake = try fake(["slots": Self.slots, "pid": 1, "vcpus": 1], files: 0)
        #expect(throws: TargetError.self) { try OwnGuest(client: QMPClient(path: fake.path, name: "g")) }
    }

    /// A file that can still shrink would be a trap: reading past its new end is SIGBUS.
    @Test func memoryThatCanShrinkIsRefused() throws {
        let path = "/tmp/vitrine-shrinkable-\(getpid())"
        let fake = try FakeMonitor { connection in
            guard let file = try? FileDescriptor(open: path, O_RDWR | O_CREAT), (try? file.truncate(to: 65536)) != nil,
                let request = connection.next()
            else { return }
            unlink(path)
            connection.answer(
                request,
                [
                    "pid": 1, "vcpus": 1,
                    "slots": [["id": 0, "gpa": "0x0", "size": 8192, "hva": "0x1000", "fd": 0, "offset": 0]],
                ],
                [file.rawValue])
            _ = connection.next()
        }
        do {
            _ = try OwnGuest(client: QMPClient(path: fake.path, name: "g"))
            Issue.record("mapped")
        } catch {
            guard case .memory = error else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test func tablesOfAStage() throws {
        func record(_ address: UInt64, _ byte: UInt8) -> [UInt8] {
            withUnsafeBytes(of: address.littleEndian) { Array($0) } + [UInt8](repeating: byte, count: 4096)
        }
        let good = record(0x1000, 1) + record(0x5000, 5)
        let files: [(bytes: [UInt8], pages: JSON, isGood: Bool)] = [
            (good, 2, true), (good, 1, true), (good, 3, false), (good, -1, false), (good, 5000, false),
            (Array(good.dropLast()), 2, false), (record(0x5000, 5) + record(0x1000, 1), 2, false), ([], 0, true),
        ]
        let memory: JSON = ["slots": Self.slots, "pid": 1, "vcpus": 1]
        for file in files {
            let fake = try FakeMonitor { connection in
                guard let first = try? FileDescriptor.sealedFile(named: "a", [UInt8](repeating: 0, count: 12288)),
                    let tables = try? FileDescriptor.sealedFile(named: "t", file.bytes)
                else { return }
                while let request = connection.next() {
                    if request["execute"] == "x-vitrine-memory" {
                        connection.answer(request, memory, [first.rawValue, first.rawValue])
                    } else {
                        connection.answer(request, ["cr3": "0x1000", "pages": file.pages], [tables.rawValue])
                    }
                }
            }
            let guest = try OwnGuest(client: QMPClient(path: fake.path, name: "g"))
            guard file.isGood else {
                #expect(throws: TargetError.self) { try guest.stageTables("A") }
                continue
            }
            let tables = try guest.stageTables("A")
            #expect(tables.cr3 == 0x1000)
            if tables.count == 2 {
                #expect(tables.page(at: GPA(0x5fff))?.load(as: UInt8.self) == 5)
                #expect(tables.page(at: GPA(0x1000))?.load(as: UInt64.self) == 0x0101_0101_0101_0101)
            }
            #expect(tables.page(at: GPA(0x2000)) == nil && tables.page(at: GPA(.max)) == nil)
        }
    }
}

import Addresses
import Inspection
import JSON
import Layouts
import PageTables
import Testing

@Suite struct AuditTests {
    func failed(_ report: AuditReport) -> Set<String> { Set(report.results.filter { !$0.passed }.map(\.rule)) }

    /// How a table is broken, and the rules that must notice it on the live tables.
    struct Damage: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let rules: Set<String>
        let apply: @Sendable (OSvImage) -> Void

        init(_ description: String, _ rules: Set<String>, _ apply: @escaping @Sendable (OSvImage) -> Void) {
            testDescription = description
            self.rules = rules
            self.apply = apply
        }
    }

    static let damages = [
        Damage("a hole in page", ["now, page, first GiB"]) {
            $0.map(OSv.Area.page.base + 0x1000_0000, level: 2, leaf: 0)
        },
        Damage("a wrong address in mempool", ["now, mempool, first GiB"]) {
            $0.map2M(OSv.Area.mempool.base + 0x1000_0000, 0x1020_0000)
        },
        Damage("a global leaf", ["now, main, first GiB", "now, leaf bits"]) {
            $0.map(OSv.Area.main.base + 0x1000_0000, level: 2, leaf: 0x1000_0000 | OSv.leafBits2M | 1 << 8)
        },
        Damage("a leaf with NX", ["now, page, first GiB", "now, leaf bits"]) {
            $0.map(OSv.Area.page.base + 0x1000_0000, level: 2, leaf: 0x1000_0000 | OSv.leafBits2M | 1 << 63)
        },
        Damage("a leaf that is not writable", ["now, page, first GiB", "now, leaf bits"]) {
            $0.map(OSv.Area.page.base + 0x1000_0000, level: 2, leaf: 0x1000_0000 | OSv.leafBits2M & ~2)
        },
        Damage("main's first 2 MiB in one leaf", ["now, main, first GiB"]) {
            $0.map2M(OSv.Area.main.base, 0)
        },
        Damage("page's first 2 MiB split", ["now, page, first GiB"]) { image in
            image.map(OSv.Area.page.base, level: 2, leaf: 0)
            for page in 0..<512 as Range<UInt64> { image.map4K(OSv.Area.page.base + page << 12, page << 12) }
        },
        Damage("more than RAM above 1 GiB", ["now, RAM above 1 GiB"]) {
            $0.map2M(OSv.Area.main.base + 0x8000_0000, 0x8000_0000)
        },
        Damage("Core moved", ["now, Core"]) { $0.map2M(0x20_0000, 0x40_0000) },
        Damage("Core with a gap", ["now, Core"]) { $0.map2M(0xa0_0000, 0xa0_0000) },
        Damage("Core too large", ["now, Core", "now, elsewhere"]) { image in
            for page in 1...12 as ClosedRange<UInt64> { image.map2M(page << 21, page << 21) }
        },
        Damage("page 0 mapped", ["now, below Core"]) { $0.map4K(0, 0) },
        Damage("a device in mempool", ["now, devices", "now, RAM above 1 GiB"]) {
            $0.map2M(OSv.Area.mempool.base + 0xfee0_0000, 0xfee0_0000)
        },
        Damage("a leaf between the regions", ["now, elsewhere"]) { $0.map4K(0x1800_0000_0000, 0x100_0000) },
        Damage("a table outside the arena", ["now, page tables"]) { image in
            image.map4K(OSv.mmapBase, 0x100_0000)
            let at = image.entryAddress(OSv.mmapBase, level: 2) ?? 0
            image.memory[at] = 0x500_0000 | OSv.tableBits
        },
        Damage("a fifth name of Core", ["aliases of Core"]) { $0.map4K(OSv.mmapBase + 0x4000_0000, 0x20_0000) },
        Damage("a 1 GiB leaf", ["now, mempool, first GiB", "now, leaf bits"]) {
            $0.map(OSv.Area.mempool.base, level: 3, leaf: OSv.leafBits2M)
        },
    ]

    @Test(arguments: [64 << 20, 256 << 20, 6 << 30] as [UInt64]) func aSoundGuestPasses(size: UInt64) throws {
        let guest = FakeGuest(try OSvImage(size: size))
        let report = Audit.run(.osv, guest)
        #expect(failed(report) == [], "\(report.text)")
        #expect(report.passed)
        #expect(guest.owned.isEmpty)
        #expect(report.text.split(separator: "\n").allSatisfy { $0.count <= 100 })
        let json = try JSON.parse(report.json)
        #expect(json["schema"]?.text == "vitrine.audit/1")
        #expect(json["passed"]?.boolean == true)
        #expect(json["rules"]?.elements?.count == report.results.count)
        // What cannot be checked says so.
        let skipped = json["rules"]?.elements?.filter { $0["skipped"]?.boolean == true }.compactMap { $0["rule"]?.text }
        #expect((skipped ?? []).contains("RAM above the hole") == (size < 4 << 30))
    }

    @Test(arguments: damages) func brokenTablesAreFound(damage: Damage) throws {
        let image = try OSvImage()
        let guest = FakeGuest(image)
        damage.apply(image)
        let report = Audit.run(.osv, guest)
        #expect(failed(report).isSuperset(of: damage.rules), "\(report.text)")
        #expect(!report.passed)
        // Only rules about the live tables may notice: those of the stages look at other tables.
        #expect(failed(report).allSatisfy { !$0.hasPrefix("stage") })
        #expect(try JSON.parse(report.json)["passed"]?.boolean == false)
    }

    @Test(arguments: Fault.allCases) func aFaultyKernelIsFound(fault: Fault) throws {
        let guest = FakeGuest(try OSvImage(), fault: fault)
        let report = Audit.run(.osv, guest)
        #expect(failed(report).isSuperset(of: fault.rules), "\(report.text)")
        #expect(guest.owned.isEmpty, "what the audit took is given back")
    }

    /// Each stage's rules on the tables of another stage.
    @Test func stagesInDisorder() throws {
        struct Disorder: AuditGuest {
            let guest: FakeGuest
            let names: [String: String]
            var subject: Subject { guest.subject }
            func stage(_ name: String) throws -> Subject { try guest.stage(names[name] ?? name) }
            func command(_ line: String) throws -> MonitorAnswer { try guest.command(line) }
            func oracle(_ address: GVA) throws -> GPA? { try guest.oracle(address) }
            func hostBytes(at address: HVA, count: Int) -> [UInt8]? { guest.hostBytes(at: address, count: count) }
        }
        func failures(_ names: [String: String]) throws -> Set<String> {
            failed(Audit.run(.osv, Disorder(guest: FakeGuest(try OSvImage()), names: names)))
        }
        #expect(try failures(["A": "B"]) == ["stage A, root"])
        #expect(try failures(["B": "A"]) == ["stage B, root", "stage B, leaves"])
        #expect(
            try failures(["C": "B"]).isSuperset(of: ["stage C, root", "stage B, below Core", "stage B, page tables"]))
    }

    @Test func debugUsedTooEarly() throws {
        struct Early: AuditGuest {
            let guest: FakeGuest
            var subject: Subject { guest.subject }
            func stage(_ name: String) throws -> Subject {
                guard name == "C" else { return try guest.stage(name) }
                let image = try OSvImage()
                image.map4K(OSv.Area.debug.base, 0x100_0000)
                return image.subject
            }
            func command(_ line: String) throws -> MonitorAnswer { try guest.command(line) }
            func oracle(_ address: GVA) throws -> GPA? { try guest.oracle(address) }
            func hostBytes(at address: HVA, count: Int) -> [UInt8]? { guest.hostBytes(at: address, count: count) }
        }
        #expect(failed(Audit.run(.osv, Early(guest: FakeGuest(try OSvImage())))) == ["stage C, debug"])
    }
}

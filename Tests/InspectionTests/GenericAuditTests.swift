import Addresses
import GuestMemory
@testable import Inspection
import JSON
import Layouts
import PageTables
import Testing

@Suite struct GenericAuditTests {
    typealias Name = GenericRules.Name

    func failed(_ report: AuditReport) -> Set<String> { Set(report.results.filter { !$0.passed }.map(\.rule)) }

    /// How sound tables of a Linux are broken, and the rules that must notice; no other may.
    struct Damage: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let rules: Set<String>
        let apply: @Sendable (LinuxImage64) -> Void

        init(_ description: String, _ rules: Set<String>, _ apply: @escaping @Sendable (LinuxImage64) -> Void) {
            testDescription = description
            self.rules = rules
            self.apply = apply
        }
    }

    static let free: UInt64 = 0x7f00_0000_0000

    static let damages = [
        Damage("a user page to write and execute", [Name.userWX]) {
            $0.tables.map(free, 0x600_0000, size: 0x3000, bits: Leaf.userWX)
        },
        Damage("a page of the kernel to write and execute", [Name.kernelWX]) {
            $0.tables.map($0.vmalloc + 0x10_0000, 0x600_0000, size: 0x1000, bits: Leaf.kernelWX)
        },
        Damage("user code that user mode writes elsewhere", [Name.userAliases]) {
            $0.tables.map(free, 0x500_0000, size: 0x1000, bits: Leaf.userData)
        },
        Damage("user code in the middle of a large page that user mode writes", [Name.userAliases]) {
            $0.tables.map(free, 0x400_0000 + 0x100_0000, size: 2 << 20, level: 2, bits: Leaf.userData)
        },
        Damage("code of a module that is writable in vmalloc", [Name.kernelAliases]) {
            $0.tables.map($0.vmalloc + 0x10_0000, 0x330_0000, size: 0x1000, bits: Leaf.kernelData)
        },
        Damage("code of the kernel that user mode writes", [Name.kernelAliases]) {
            $0.tables.map(free, 0x330_0000, size: 0x1000, bits: Leaf.userData)
        },
        Damage("text writable in the direct map", [Name.kernelAliases, Name.kernelText]) {
            $0.tables.map(
                $0.directMap + $0.textPA, $0.textPA, size: 2 << 20, level: 2, bits: Leaf.kernelData)
        },
        Damage("read-only data writable elsewhere", [Name.kernelText]) {
            $0.tables.map($0.vmalloc + 0x10_0000, $0.textPA + (4 << 20), size: 0x1000, bits: Leaf.kernelData)
        },
        Damage("a user page in the upper half", [Name.userInKernelHalf]) {
            $0.tables.map(0xffff_ff80_0000_0000, 0x600_0000, size: 0x1000, bits: Leaf.userReadOnly)
        },
        Damage("a writable vsyscall page", [Name.userInKernelHalf]) {
            $0.tables.map(0xffff_ffff_ff60_0000, 0x600_0000, size: 0x1000, bits: Leaf.userData)
        },
        Damage("a table that user mode writes", [Name.tablesForUser]) {
            $0.tables.map(free, $0.tables.root, size: 0x1000, bits: Leaf.userData)
        },
        Damage("a recursive entry for user mode", [Name.tablesForUser, Name.userInKernelHalf]) {
            // All leaves below inherit NX, all entries are user's and writable.
            $0.tables.memory[$0.tables.root + 400 * 8] = $0.tables.root | 0x67 | Leaf.nx
        },
        Damage("reserved bits in a leaf", [Name.reservedBits]) {
            $0.tables.map(free, 0x600_0000, size: 0x1000, bits: Leaf.userData | 1 << 45)
        },
        Damage("a table outside RAM", [Name.tablesInRAM]) {
            $0.tables.memory[$0.tables.entry(free, level: 3)] = 0x50_0000_0000 | 0x67
        },
        Damage("a loop", [Name.loops]) { image in
            let at = image.tables.entry(free, level: 3)
            image.tables.memory[at] = at & ~4095 | 0x63 | Leaf.nx
        },
        Damage("a write-back page outside memory", [Name.leavesInMemory]) {
            $0.tables.map($0.vmalloc + 0x10_0000, 0x9000_0000, size: 0x1000, bits: Leaf.kernelData)
        },
        Damage("a large page over the end of RAM", [Name.largePages, Name.leavesInMemory]) {
            $0.tables.map($0.vmalloc + 0x4000_0000, 0, size: 1 << 30, level: 3, bits: Leaf.kernelReadOnly)
        },
    ]

    @Test func soundTablesPass() throws {
        for image in [try LinuxImage64.randomised(), try .randomised(levels: 5), try .plain()] {
            // The vsyscall page is where user mode may use the upper half.
            image.tables.map(0xffff_ffff_ff60_0000, 0x600_0000, size: 0x1000, bits: Leaf.userCode)
            let report = Audit.generic(image.tables.subject())
            #expect(failed(report) == [], "\(report.text)")
            #expect(report.text.contains("nothing but the vsyscall page at 0xffffffffff600000"))
            #expect(report.results.count == 14)
            #expect(report.text.split(separator: "\n").allSatisfy { $0.count <= 100 })
            let json = try JSON.parse(report.json)
            #expect(json["schema"]?.text == "vitrine.audit/1" && json["passed"]?.boolean == true)
            #expect(json["ruleSet"]?.text == "generic" && json["layout"]?.text == "linux")
        }
    }

    @Test(arguments: damages) func brokenTablesAreFound(damage: Damage) throws {
        let image = try LinuxImage64.randomised()
        let subject = image.tables.subject()
        #expect(subject.linux != nil)
        damage.apply(image)
        let report = Audit.generic(subject)
        #expect(failed(report) == damage.rules, "\(report.text)")
        #expect(report.text.contains("\nFAIL  ") && report.text.contains("\n        expected: "))
        let json = try JSON.parse(report.json)
        #expect(json["passed"]?.boolean == false)
        for rule in json["rules"]?.elements ?? [] where rule["passed"]?.boolean == false {
            guard let count = rule["count"]?.int else { continue }
            #expect(rule["examples"]?.elements?.count == min(count, 5))
        }
    }

    /// Every rule that can fail is broken above; the one about reading everything below; one is for information.
    @Test func everyRuleCanFail() throws {
        let broken = Self.damages.reduce(into: Set<String>()) { $0.formUnion($1.rules) }
        let all = Set(Audit.generic(try LinuxImage64.plain().tables.subject()).results.map(\.rule))
        #expect(all.subtracting(broken) == [Name.readInFull, Name.tablesElsewhere])
    }

    /// For information: where the kernel can write tables besides the direct map and recursive entries.
    @Test func tablesElsewhere() throws {
        func found(_ change: (LinuxImage64) -> Void) throws -> String? {
            let image = try LinuxImage64.randomised()
            change(image)
            return Audit.generic(image.tables.subject()).results.first { $0.rule == Name.tablesElsewhere }?.finding.text
        }
        #expect(try found { _ in } == "none")
        let recursive = try found {
            $0.tables.memory[$0.tables.root + 300 * 8] = $0.tables.root | 0x63 | Leaf.nx
        }
        #expect(recursive == "none")
        let mapped = try found {
            $0.tables.map($0.vmalloc + 0x10_0000, $0.tables.root, size: 4096, bits: Leaf.kernelData)
        }
        #expect(mapped?.hasPrefix("1 of ") == true && mapped?.contains("0xffffd11740100000") == true)
    }

    /// Tables whose entries refer to each other at random, with random permissions, 65,536 ways and more: an end, soon.
    @Test(.timeLimit(.minutes(5))) func tangledTables() throws {
        var state: UInt64 = 9
        for _ in 0..<2 {
            let tables = try BareTables(ram: [0..<0x40_0000], tableBase: 0x1000)
            for page in 0..<6 as Range<UInt64> {
                for index in stride(from: 0 as UInt64, to: 512, by: 3) {
                    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    tables.memory[0x1000 + page << 12 + index << 3] =
                        (state >> 20) % 6 << 12 + 0x1000 | state >> 40 & 6 | 0x61 | state & Leaf.nx
                }
            }
            let report = Audit.generic(tables.subject())
            #expect(!report.passed && report.results.count == 14)
        }
    }

    @Test func moreTablesThanAreRead() throws {
        let tables = try BareTables()
        for index in 0..<40 as Range<UInt64> {
            tables.map(index << 30, 0x500_0000, size: 0x1000, bits: Leaf.userReadOnly)
        }
        let results = GenericRules(tables.subject(), types: .atReset, tableLimit: 20).results()
        #expect(results.filter { !$0.passed }.map(\.rule) == [Name.readInFull])
    }

    /// A page of RAM may be seen at 65,536 addresses, and a table by many ways: that costs no more than one.
    @Test(.timeLimit(.minutes(5))) func manyAliases() throws {
        let tables = try BareTables()
        tables.map(0x10_0000, 0x500_0000, size: 0x1000, bits: Leaf.userData)
        let level1 = tables.memory[tables.entry(0, level: 2)]
        let level2 = tables.memory[tables.entry(0, level: 3)]
        for index in 0..<512 as Range<UInt64> {
            tables.memory[tables.entry(index << 21, level: 2)] = level1
            tables.memory[tables.entry(index << 30, level: 3)] = level2
        }
        let subject = tables.subject()
        #expect(Audit.generic(subject).passed)
        #expect(GenericMappings(subject).runs.count < 2000)
        tables.map(0x7000_0000_0000, 0x500_0000, size: 0x1000, bits: Leaf.userCode)
        let report = Audit.generic(tables.subject())
        #expect(failed(report) == [Name.userAliases])
        #expect(report.results.first { $0.rule == Name.userAliases }?.count == 1)
    }

    /// The permissions that count are those of the way that grants the most, however late it comes.
    @Test func aWayThatGrantsMore() throws {
        let tables = try BareTables()
        tables.map(0x10_0000, 0x500_0000, size: 0x1000, bits: Leaf.userWX)
        let at = tables.entry(0x10_0000, level: 2)
        let table = tables.memory[at] & X86Bit.address
        tables.memory[at] = table | 0x65 | Leaf.nx
        // More ways than a walk reads again, with a gap between each, then one that grants writing and execution.
        for index in 1...300 as ClosedRange<UInt64> {
            tables.memory[tables.entry(index << 22, level: 2)] = table | 0x65 | Leaf.nx
        }
        #expect(failed(Audit.generic(tables.subject())) == [])
        tables.memory[tables.entry(0x4000_0000_0000, level: 2)] = table | 0x67
        #expect(failed(Audit.generic(tables.subject())) == [Name.userWX])
        tables.memory[tables.entry(0x4000_0000_0000, level: 2)] = 0
        tables.memory[tables.entry(0xffff_c000_0000_0000, level: 2)] = table | 0x65 | Leaf.nx
        #expect(failed(Audit.generic(tables.subject())) == [Name.userInKernelHalf])
    }

    /// What a sweep over intervals finds is what a look at every page finds.
    @Test func theSweepAgainstEveryPage() throws {
        var state: UInt64 = 7
        func random(_ below: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % below
        }
        for _ in 0..<300 {
            var runs: [MappedRun] = []
            for number in 0..<random(12) {
                runs.append(
                    MappedRun(
                        va: GVA(number << 32), gpa: GPA(random(30) << 12), pageCount: 1 + random(8), pageShift: 12,
                        repeatsPage: random(5) == 0, flags: random(2) == 0 ? .writable : .executable, leafBits: 0))
            }
            func pages(_ flag: PageFlags) -> Set<UInt64> {
                runs.filter { $0.flags == flag }.reduce(into: []) { pages, run in
                    for page in run.gpa.rawValue >> 12...run.lastGPA.rawValue >> 12 { pages.insert(page) }
                }
            }
            let writable = PhysicalCover(runs) { $0.flags == .writable }
            let executable = PhysicalCover(runs) { $0.flags == .executable }
            var found: Set<UInt64> = []
            for both in writable.intersection(executable) {
                #expect(runs[both.mine].flags == .writable && runs[both.others].flags == .executable)
                for page in both.first >> 12...both.last >> 12 {
                    #expect(found.insert(page).inserted)
                    for run in [runs[both.mine], runs[both.others]] {
                        #expect(run.gpa.rawValue <= page << 12 && page << 12 <= run.lastGPA.rawValue)
                    }
                }
            }
            #expect(found == pages(.writable).intersection(pages(.executable)))
        }
    }

    /// osv maps everything user, writable and executable: a fault for the rules of any system, none where both are checked.
    @Test func whatALayoutDoesByDesign() throws {
        let image = try OSvImage(size: 64 << 20)
        let plain = Audit.generic(image.subject)
        #expect(
            failed(plain).isSuperset(of: [Name.userWX, Name.userInKernelHalf, Name.tablesForUser, Name.leavesInMemory]))
        #expect(plain.results.contains { $0.finding.text.contains("and") && !$0.examples.isEmpty })
        let excused = Audit.generic(image.subject, excusing: true)
        #expect(failed(excused) == [], "\(excused.text)")
        // What no layout does is a fault there too.
        image.map(OSv.mmapBase, level: 1, leaf: 0x50_0000 | 0x67 | 1 << 45)
        #expect(failed(Audit.generic(image.subject, excusing: true)) == [Name.reservedBits])
    }

    /// 32-bit tables cannot forbid execution, PAE has no halves.
    @Test func rulesThatDoNotApply() throws {
        let memory = SparseMemory(ranges: [0..<1 << 20])
        let slots = try SlotTable([
            MemorySlot(
                id: 0, name: "low", guestPhysicalAddress: GPA(0), size: 1 << 20, userspaceAddress: HVA(0x7f00_0000_0000)
            )
        ])
        memory[0x1000] = 0x0000_0000_0000_2067
        memory[0x2000] = 0x0000_0000_0000_5067
        let subject = Subject(
            name: "a", layout: nil, slots: slots, memory: .other(memory), format: .x86ThirtyTwoBit(), root: GPA(0x1000))
        let report = Audit.generic(subject)
        #expect(report.passed)
        for rule in [Name.userWX, Name.kernelWX, Name.userInKernelHalf, Name.kernelText, Name.largePages] {
            let result = try #require(report.results.first { $0.rule == rule })
            guard case .notApplicable = result.finding else {
                Issue.record("\(result)")
                continue
            }
        }
    }
}

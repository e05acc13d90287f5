import Addresses
import GuestMemory
@testable import Inspection
import JSON
import Layouts
import PageTables
import Testing

/// Tables built as Linux builds them, and tables that only look a little like it. Real kernels: OracleTests.
@Suite struct LinuxTests {
    static let twoPieces: [Range<UInt64>] = [0..<0x1000_0000, 4 << 30..<(4 << 30) + 0x0800_0000]

    @Test(arguments: [4, 5], [[0..<0x1000_0000], twoPieces] as [[Range<UInt64>]])
    func whatKASLRMovesIsFound(levels: Int, ram: [Range<UInt64>]) throws {
        let image = try LinuxImage64.randomised(levels: levels, ram: ram)
        let subject = image.tables.subject()
        let linux = try #require(subject.linux)
        #expect(linux.directMapBase == GVA(image.directMap))
        #expect(linux.vmallocBase == GVA(image.vmalloc))
        #expect(linux.vmemmapBase == GVA(image.vmemmap))
        #expect(linux.imageBase == GVA(image.text))
        #expect(linux.imagePhysicalBase == GPA(image.textPA))
        #expect(linux.isMemoryRandomised && !linux.isUserCopy)
        for name in ["direct map", "vmalloc", "vmemmap", "kernel text", "kernel rodata", "kernel data"] {
            #expect(linux.region(name)?.certainty == .measured)
        }
        #expect(linux.region("kernel text")?.last == GVA(image.text + (2 << 20) + 0x1fff))
        #expect(linux.region("kernel rodata")?.first == GVA(image.text + (4 << 20)))
        #expect(linux.region("kernel rodata")?.last == GVA(image.text + (4 << 20) + 0x7fff))
        #expect(linux.region("kernel data")?.first == GVA(image.text + (6 << 20)))
        #expect(linux.region("kernel data")?.last == GVA(image.text + (10 << 20) - 1))
        // Regions are in order, and none overlaps another.
        for (region, next) in zip(linux.regions, linux.regions.dropFirst()) { #expect(region.last < next.first) }
        let layout = try #require(subject.layout)
        for (va, name) in [
            (0x40_0000, "user"), (image.directMap + 0x123_4567, "direct map"), (image.vmalloc + 0x6000, "vmalloc"),
            (image.vmemmap, "vmemmap"), (0xffff_fe00_0000_0123, "cpu_entry_area"), (0xffff_ffff_c000_0000, "modules"),
            (0xffff_ffff_ff5f_d000, "fixmap"), (0xffff_ffff_ff60_0000, "vsyscall"),
        ] as [(UInt64, String)] { #expect(layout.region(of: GVA(va))?.name == name) }
    }

    @Test func withoutKASLR() throws {
        let linux = try #require(try LinuxImage64.plain().tables.subject().linux)
        #expect(!linux.isMemoryRandomised)
        #expect(linux.region("direct map")?.last == GVA(0xffff_c87f_ffff_ffff))
        #expect(linux.region("vmalloc")?.last == GVA(0xffff_e8ff_ffff_ffff))
        #expect(linux.region("vmemmap")?.last == GVA(0xffff_eaff_ffff_ffff))
    }

    /// The root that user mode runs with: little of the kernel is in it, the names are the same.
    @Test func theCopyForUserMode() throws {
        let image = try LinuxImage64.randomised()
        let tables = image.tables
        // The copy lies behind the root; the builder's first table lies there, so both move.
        let root: UInt64 = 0x200_0000 - 0x8000
        let copy = root | 0x1000
        for index in 0..<512 as Range<UInt64> {
            let entry = tables.memory[tables.root + index * 8]
            tables.memory[root + index * 8] = index < 256 && entry != 0 ? entry | Leaf.nx : entry
            if index < 256 { tables.memory[copy + index * 8] = entry }
        }
        tables.map(0xffff_fe00_0000_0000, 0x320_0000, size: 0x1000, bits: Leaf.kernelReadOnly, root: copy)
        tables.map(image.directMap + 0x500_0000, 0x500_0000, size: 0x1000, bits: Leaf.kernelData, root: copy)
        let whole = try #require(tables.subject(root: root).linux)
        let half = try #require(tables.subject(root: copy).linux)
        #expect(half.isUserCopy && !whole.isUserCopy)
        #expect(half.kernelRoot == GPA(root))
        #expect(half.regions == whole.regions)
        // A page behind a root that is no copy of it has no names.
        tables.memory[copy] = 0x123_4067
        #expect(tables.subject(root: copy).linux == nil)
    }

    /// What must be missing or wrong for the tables not to be Linux's.
    struct Damage: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let apply: @Sendable (LinuxImage64) -> Void

        init(_ description: String, _ apply: @escaping @Sendable (LinuxImage64) -> Void) {
            testDescription = description
            self.apply = apply
        }
    }

    static let damages = [
        Damage("no CPU entry area") { $0.tables.memory[$0.tables.entry(0xffff_fe00_0000_0000, level: 1)] = 0 },
        Damage("a CPU entry area for user mode") {
            $0.tables.map(0xffff_fe00_0000_0000, 0x320_0000, size: 0x1000, bits: Leaf.userReadOnly)
        },
        Damage("a leaf in the direct map that leads elsewhere") {
            $0.tables.map($0.directMap + 0x600_0000, 0x700_0000, size: 2 << 20, level: 2, bits: Leaf.kernelData)
        },
        Damage("a direct map without the image") {
            $0.tables.memory[$0.tables.entry($0.directMap + $0.textPA, level: 2)] = 0
        },
        Damage("an image that begins with data") {
            $0.tables.map($0.text, $0.textPA, size: 2 << 20, level: 2, bits: Leaf.kernelData)
        },
        Damage("an image for user mode") {
            $0.tables.map($0.text, $0.textPA, size: 2 << 20, level: 2, bits: Leaf.userCode)
        },
        Damage("an image outside RAM") { image in
            for offset in stride(from: 0 as UInt64, to: 10 << 20, by: 2 << 20) {
                image.tables.map(
                    image.text + offset, 0x8000_0000 + offset, size: 2 << 20, level: 2,
                    bits: offset < 4 << 20 ? Leaf.kernelCode : Leaf.kernelData)
            }
        },
    ]

    @Test(arguments: damages) func notLinux(damage: Damage) throws {
        let image = try LinuxImage64.randomised()
        #expect(image.tables.subject().linux != nil)
        damage.apply(image)
        #expect(image.tables.subject().linux == nil)
    }

    /// Where something is missing that a kernel may be without, the rest has its names.
    @Test func withoutVmemmap() throws {
        let image = try LinuxImage64.randomised()
        image.tables.memory[image.tables.entry(image.vmemmap, level: 2)] = 0
        let linux = try #require(image.tables.subject().linux)
        #expect(linux.vmemmapBase == nil && linux.vmallocBase == nil)
        #expect(linux.directMapBase == GVA(image.directMap))
    }

    /// Other systems keep their own names: OSv's three linear areas lie where Linux's direct map may.
    @Test func osvIsNotLinux() throws {
        for size in [64 << 20, 256 << 20, 6 << 30] as [UInt64] {
            let image = try OSvImage(size: size)
            for subject in [image.subject, image.stage("A"), image.stage("B")] {
                #expect(
                    LinuxKernel.find(
                        root: subject.root, format: subject.format, memory: subject.memory, slots: subject.slots)
                        == nil)
            }
        }
    }

    @Test func otherFormatsAreNotLinux() throws {
        let image = try LinuxImage64.randomised()
        for format in [PageTableFormat.x86PAE(), .x86ThirtyTwoBit(), .x86FiveLevel()] {
            #expect(
                LinuxKernel.find(
                    root: GPA(image.tables.root), format: format, memory: image.tables.memory, slots: image.tables.slots
                )
                    == nil)
        }
    }

    /// Tables of random entries are nobody's, and end the search soon.
    @Test func randomTables() throws {
        var state: UInt64 = 42
        func random() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
        for _ in 0..<5 {
            let tables = try BareTables(ram: [0..<0x40_0000], tableBase: 0x1000)
            for page in 0..<64 as Range<UInt64> {
                for index in 0..<512 as Range<UInt64> where random() & 3 != 0 {
                    tables.memory[0x1000 + page << 12 + index << 3] =
                        random() & 0x8000_0000_0000_01ff | (random() & 0x3f) << 12 | 1
                }
            }
            #expect(tables.subject().linux == nil)
        }
    }

    @Test func softwareBitsHaveNames() throws {
        let subject = try LinuxImage64.randomised().tables.subject()
        let layout = try #require(subject.layout)
        #expect(layout.meaning(of: 1 | 1 << 9)?.name == "special")
        #expect(layout.meaning(of: 1 | 1 << 9 | 1 << 11 | 1 << 58)?.name == "special,soft-dirty,softw5")
        #expect(layout.meaning(of: 0x67) == nil)
        #expect(layout.meaning(of: 1 << 8)?.name == "prot-none" && layout.absentMask == 1 << 8)
        var options = PagesOptions()
        options.filter = try RangeFilter(parsing: "meaning=soft-dirty and region=user")
        var bytes: [UInt8] = []
        try writePages(subject, options: options) { bytes += $0 }
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.contains("user special,soft-dirty\n"))
        #expect(text.split(separator: "\n").count == 4)
    }

    @Test func theExplanation() throws {
        let image = try LinuxImage64.randomised()
        let subject = image.tables.subject()
        func pages(_ form: ReportForm, _ subject: Subject) throws -> [UInt8] {
            var options = PagesOptions()
            options.form = form
            options.explains = true
            var bytes: [UInt8] = []
            try writePages(subject, options: options) { bytes += $0 }
            return bytes
        }
        let lines = String(decoding: try pages(.text, subject), as: UTF8.self).split(separator: "\n")
        #expect(lines[0] == "a: layout linux (found), 4-level tables, root 0x1000000, live")
        #expect(lines[1].hasPrefix("Linux, found in these tables; KASLR moved its regions"))
        #expect(lines.contains("  direct map      0xffff8c2040000000-0xffffd1173fffffff  measured"))
        for line in lines.prefix(while: { !$0.hasPrefix("virtual") }) { #expect(line.count <= 100, "\(line)") }
        #expect(lines.contains { $0.hasPrefix("virtual addresses                       size page") })
        let json = try JSON.parse(try pages(.json, subject))
        #expect(json["names"]?["directMapBase"]?.address == image.directMap)
        #expect(json["names"]?["vmemmapBase"]?.address == image.vmemmap)
        #expect(json["names"]?["regions"]?.elements?.count == subject.linux?.regions.count)
        let osv = String(decoding: try pages(.text, try OSvImage().subject), as: UTF8.self)
        #expect(osv.contains("names of layout osv: cloudius-systems/osv"))
    }

    /// The picture has room for what is mapped only.
    @Test func thePicture() throws {
        let text = mapText(try LinuxImage64.randomised().tables.subject(), pid: 1, ascii: false)
        for word in ["user", "direct map", "vmalloc", "vmemmap", "kernel", "modules"] { #expect(text.contains(word)) }
        for line in text.split(separator: "\n") { #expect(line.count <= 100) }
        #expect(!text.contains("EFI"))
    }
}

import Addresses
import GuestMemory
import Inspection
import JSON
import Layouts
import PageTables
import Testing

@Suite struct ReportTests {
    let image: OSvImage

    init() throws {
        image = try OSvImage(size: 6 << 30)
        image.map4K(OSv.programBase, 0x3a0_0000)
        image.map4K(OSv.namespaceBase(1), 0x3a1_5000)
        image.map4K(OSv.mmapBase, 0x3a2_0000, bits: 0x65 | 1 << 51 | 1 << 63)
        image.map4K(OSv.mmapBase + 4096, 0x3a2_1000, bits: 0x65 | 1 << 53)
        image.map(OSv.mmapBase + 8192, level: 1, leaf: OSv.protNoneSoftwareBit)
    }

    func pages(_ view: PagesView, _ form: ReportForm, range: ClosedRange<GVA>? = nil, of subject: Subject? = nil) throws
        -> [UInt8]
    {
        var options = PagesOptions()
        options.form = form
        options.view = view
        options.range = range
        var bytes: [UInt8] = []
        try writePages(subject ?? image.subject, options: options) { bytes += $0 }
        return bytes
    }

    func text(_ bytes: [UInt8]) -> [Substring] { String(decoding: bytes, as: UTF8.self).split(separator: "\n") }

    @Test func rangesAsText() throws {
        let lines = text(try pages(.ranges, .text))
        #expect(lines.first == "a: layout osv, 4-level tables, root 0x1800000, live")
        #expect(
            lines.contains(
                "0xffff800100000000-0xffff8001bfffffff     3G   2M     0x100000000  urwx-ad ram      main"))
        #expect(lines.contains { $0.hasSuffix("mmap prot-none") && $0.contains("ur---ad") })
        #expect(lines.contains { $0.hasSuffix("mmap cow") })
        #expect(lines.contains { $0.contains("absent   mmap prot-none") })
        #expect(lines.contains { $0.contains("mmio     main") })
        #expect(lines.contains { $0.contains("no table changed meanwhile") })
    }

    @Test(arguments: PagesView.allCases) func nothingIsWiderThanAHundredColumns(view: PagesView) throws {
        for subject in [image.subject, image.stage("A"), image.stage("B")] {
            let lines = text(try pages(view, .text, of: subject))
            #expect(lines.count > 3)
            for line in lines { #expect(line.count <= 100, "\(line)") }
        }
    }

    /// One page many times in one line; a table that refers to one above it, with the place.
    @Test func repetitionsAndLoops() throws {
        for index in 16..<24 as Range<UInt64> { image.map4K(OSv.mmapBase + index * 4096, 0x3a4_0000) }
        let at = try #require(image.entryAddress(OSv.mmapBase, level: 2))
        let above = try #require(image.entryAddress(OSv.mmapBase, level: 3))
        image.memory[at + 8] = image.memory[above]
        let lines = text(try pages(.ranges, .text))
        #expect(lines.contains { $0.contains("0x3a40000") && $0.contains("(one page, 8 times)") }, "\(lines)")
        #expect(
            lines.contains {
                $0.contains("loop, the entry refers to a table above it") && $0.contains(GPA(at + 8).hex)
            },
            "\(lines)")
    }

    /// Small RAM: a part of the first GiB has nothing behind it, and that is shown.
    @Test func whatHasNoRAMBehindIt() throws {
        let small = try OSvImage(size: 64 << 20).subject
        let json = try JSON.parse(try pages(.ranges, .json, of: small))
        let page = json["ranges"]?.elements?.filter { $0["region"]?.text == "page" } ?? []
        #expect(page.map { $0["kind"]?.text } == ["ram", "unbacked"])
        #expect(page.map { $0["size"]?.int } == [64 << 20, (1 << 30) - (64 << 20)])
        #expect(page.last?["gpa"]?.address == 64 << 20)
    }

    @Test func rangesAsJSON() throws {
        let json = try JSON.parse(try pages(.ranges, .json))
        #expect(json["schema"]?.text == "vitrine.pages/1")
        #expect(json["root"]?.address == 0x180_0000)
        #expect(json["mode"]?.text == "4-level")
        #expect(json["complete"]?.boolean == true)
        #expect(json["tablesChanged"]?.int == 0)
        let ranges = try #require(json["ranges"]?.elements)
        let high = try #require(ranges.first { $0["va"]?.address == 0xffff_8001_0000_0000 })
        #expect(high["gpa"]?.address == 4 << 30)
        #expect(high["size"]?.int == 3 << 30)
        #expect(high["page"]?.text == "2M")
        #expect(high["flags"]?.text == "urwxad")
        #expect(high["kind"]?.text == "ram")
        #expect(high["region"]?.text == "main")
        #expect(ranges.compactMap { $0["meaning"]?.text } == ["prot-none", "cow", "prot-none"])
        #expect(ranges.contains { $0["region"]?.text == "program 1" })
    }

    /// Every view tells the same number of leaves.
    @Test func viewsAgree() throws {
        let entries = try JSON.parse(try pages(.entries, .json))
        let present = entries["entries"]?.elements?.filter { $0["level"] != nil }.count
        #expect(present == entries["leaves"]?.int)
        let tree = try JSON.parse(try pages(.tree, .json))
        let tables = tree["entries"]?.elements?.filter { $0["leaf"]?.boolean == false }.count
        #expect(tables.map { $0 + 1 } == tree["tableCount"]?.int)
        let list = try JSON.parse(try pages(.tables, .json))
        #expect(list["tables"]?.elements?.count == tree["tableCount"]?.int)
        #expect(list["tables"]?.elements?.allSatisfy { $0["slot"]?.int == 1 } == true)
    }

    @Test func outputThatFailsEndsTheReport() {
        struct Full: Error {}
        #expect(throws: Full.self) {
            try writePages(image.subject, options: PagesOptions()) { _ in throw Full() }
        }
    }

    /// A paused guest waits for the walk, never for the reader.
    @Test func nothingIsWrittenWhileTheGuestIsPaused() throws {
        var isPaused = true
        var bytes: [UInt8] = []
        var options = PagesOptions()
        options.view = .entries
        try writePages(
            image.subject, options: options, holdsOutput: true,
            afterWalk: {
                isPaused = false
                return 1234
            },
            emit: { piece in
                #expect(!isPaused)
                bytes += piece
            })
        #expect(text(bytes).contains("the vCPUs stood still for 1.234 ms"))
    }

    @Test func translations() throws {
        let addresses: [UInt64] = [
            0xffff_8000_0020_0123, OSv.mmapBase, OSv.mmapBase + 8192, 0x3000_0000_0000, 0x8000_0000_0000,
            0xffff_8000_fee0_0020,
        ]
        let ways = addresses.map { AddressWay(GVA($0), in: image.subject, pageMap: nil) }
        #expect(
            ways.map(\.status) == ["mapped", "reserved-bits", "not-mapped", "not-mapped", "non-canonical", "mapped"])
        let text = translateText(ways, subject: image.subject, pid: 42)
        #expect(text.contains("PD[1]       0x2000e7             at 0x1802008  P RW US A D PS\n"))
        #expect(text.contains("HVA         0x7f1200200123       in process 42\n"))
        #expect(text.contains("not mapped: the PML4 entry (level 4) is empty\n"))
        #expect(text.contains("holds 0x200, which means prot-none\n"))
        #expect(text.contains("4K page, urwx-ad, mmio\n"))
        let json = try JSON.parse(translateJSON(ways, subject: image.subject, pid: 42))
        #expect(json["schema"]?.text == "vitrine.translate/1")
        let first = try #require(json["translations"]?.elements?.first)
        #expect(first["gpa"]?.address == 0x20_0123)
        #expect(first["hva"]?.address == 0x7f12_0020_0123)
        #expect(first["slot"]?.int == 0)
        #expect(first["page"]?.text == "2M")
        #expect(first["entries"]?.elements?.count == 3)
        #expect(json["translations"]?.elements?[3]["gpa"] == nil)
    }

    @Test func theAliasesOfCore() throws {
        let page = GPA(0x20_0000)...GPA(0x20_0fff)
        let json = try JSON.parse(aliasesReport(of: page, subject: image.subject, form: .json).text)
        #expect(json["schema"]?.text == "vitrine.aliases/1")
        #expect(
            json["aliases"]?.elements?.compactMap { $0["va"]?.address } == [
                0x20_0000, 0xffff_8000_0020_0000, 0xffff_9000_0020_0000, 0xffff_a000_0020_0000,
            ])
        #expect(json["aliases"]?.elements?.compactMap { $0["region"]?.text } == ["Core", "main", "page", "mempool"])
        let none = aliasesReport(of: GPA(0xf0_0000_0000)...GPA(0xf0_0000_0fff), subject: image.subject, form: .text)
        #expect(none.count == 0)
    }

    @Test func layoutsAsTextAndJSON() throws {
        let lines = layoutsText(Layout.all, inFull: true).split(separator: "\n")
        #expect(lines.contains { $0.hasPrefix("0xffff800000000000-0xffff8fffffffffff") && $0.contains("main") })
        #expect(layoutsText(Layout.all, inFull: false).hasPrefix("osv "))
        let json = try JSON.parse(layoutsJSON(Layout.all))
        #expect(json["schema"]?.text == "vitrine.layouts/1")
        #expect(json["layouts"]?.elements?.first?["regions"]?.elements?.count == Layout.osv.regions.count)
    }

    @Test func theDoctor() throws {
        let report = DoctorReport(
            [DoctorItem("KVM", .missing, "no /dev/kvm", advice: "modprobe", needed: true)] + HostChecks.all())
        #expect(!report.canRunGuests)
        #expect(report.text.contains("no guest can run here"))
        let json = try JSON.parse(report.json)
        #expect(json["schema"]?.text == "vitrine.doctor/1")
        #expect(json["canRunGuests"]?.boolean == false)
        #expect(json["items"]?.elements?.count == report.items.count)
        #expect(DoctorReport(HostChecks.all()).canRunGuests)
    }
}

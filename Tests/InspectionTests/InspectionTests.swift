import Addresses
import GuestMemory
import Inspection
import JSON
import Layouts
import PageTables
import Testing

@Suite struct ReportTests {
    func pages(_ subject: Subject, _ form: ReportForm, view: PagesView = .ranges) throws -> String {
        var options = PagesOptions()
        options.form = form
        options.view = view
        var bytes: [UInt8] = []
        try writePages(subject, options: options) { bytes += $0 }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func show() throws {
        for size in [256 << 20, 6 << 30] as [UInt64] {
            let image = try OSvImage(size: size)
            image.map4K(OSv.programBase, 0x3a0_0000)
            image.map4K(OSv.programBase + 4096, 0x3a0_5000)
            image.map4K(OSv.namespaceBase(1), 0x3a1_5000)
            image.map4K(OSv.mmapBase, 0, bits: 1 | 1 << 51 | 1 << 63)
            print(mapText(image.subject, pid: 1234, ascii: false))
            print(try pages(image.subject, .text))
            print(try pages(image.subject, .text, view: .tables).prefix(900))
            print(try pages(image.subject, .text, view: .tree).prefix(900))
            print(try pages(image.subject, .text, view: .entries).prefix(900))
            print(translateText([
                AddressWay(GVA(0xffff_8000_0020_0123), in: image.subject, pageMap: nil),
                AddressWay(GVA(OSv.mmapBase), in: image.subject, pageMap: nil),
                AddressWay(GVA(OSv.mmapBase + 0x4000_0000), in: image.subject, pageMap: nil),
                AddressWay(GVA(0x8000_0000_0000), in: image.subject, pageMap: nil),
            ], subject: image.subject, pid: 1234))
            print(String(decoding: aliasesReport(of: GPA(0x20_0000)...GPA(0x20_0fff), subject: image.subject, form: .text).text, as: UTF8.self))
        }
        let image = try OSvImage()
        print(mapText(image.stage("A"), pid: 1234, ascii: true))
        print(mapText(image.stage("B"), pid: 1234, ascii: false))
    }
}

// Colours say nothing that the text does not say: without them it is the same text.

import Addresses
import Inspection
import Layouts
import PageTables
import Testing

@Suite struct ColourTests {
    /// The text without sequences that switch looks on and off, and whether there were any.
    func plain(_ text: String) -> (text: String, hasColour: Bool) {
        var result = ""
        var isInside = false
        var hasColour = false
        for scalar in text.unicodeScalars {
            if isInside {
                isInside = scalar != "m"
            } else if scalar == "\u{1b}" {
                isInside = true
                hasColour = true
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return (result, hasColour)
    }

    func expectSame(_ coloured: String, _ text: String) {
        let (stripped, hasColour) = plain(coloured)
        #expect(stripped == text)
        #expect(hasColour)
        #expect(!plain(text).hasColour)
    }

    @Test(arguments: PagesView.allCases) func pages(view: PagesView) throws {
        let image = try OSvImage(size: 64 << 20)
        image.map4K(OSv.programBase, 0x3a0_0000, bits: 0x65 | 1 << 63)
        func text(_ isColoured: Bool) throws -> String {
            var options = PagesOptions()
            options.view = view
            options.isColoured = isColoured
            var bytes: [UInt8] = []
            try writePages(image.subject, options: options) { bytes += $0 }
            return String(decoding: bytes, as: UTF8.self)
        }
        let coloured = try text(true)
        expectSame(coloured, try text(false))
        if view != .tables {
            #expect(coloured.contains("\u{1b}[31murwx-ad\u{1b}[0m"))
            #expect(coloured.contains("\u{1b}[36mur---ad\u{1b}[0m"))
            #expect(coloured.contains("\u{1b}[2munbacked\u{1b}[0m"))
        }
    }

    @Test func everyOtherReport() throws {
        let image = try OSvImage()
        let subject = image.subject
        let ways = [0x20_0000, 0x1000].map { AddressWay(GVA($0), in: subject, pageMap: nil) }
        expectSame(
            translateText(ways, subject: subject, pid: 1, isColoured: true),
            translateText(ways, subject: subject, pid: 1))
        func aliases(_ isColoured: Bool) -> String {
            let page = GPA(0x20_0000)...GPA(0x20_0fff)
            return String(
                decoding: aliasesReport(of: page, subject: subject, form: .text, isColoured: isColoured).text,
                as: UTF8.self)
        }
        expectSame(aliases(true), aliases(false))
        expectSame(
            mapText(subject, pid: 1, ascii: false, isColoured: true), mapText(subject, pid: 1, ascii: false))
        expectSame(
            layoutsText(Layout.all, inFull: true, isColoured: true), layoutsText(Layout.all, inFull: true))
        let audit = Audit.run(.osv, FakeGuest(image, fault: .noGuardPage))
        expectSame(audit.text(isColoured: true), audit.text)
        #expect(audit.text(isColoured: true).contains("\u{1b}[31mFAIL\u{1b}[0m"))
        let doctor = DoctorReport([DoctorItem("KVM", .missing, "none", needed: true), DoctorItem("x", .ok, "y")])
        expectSame(doctor.text(isColoured: true), doctor.text)
    }
}

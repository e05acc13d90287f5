// The picture and the page: well-formed, bounded, and safe with names that want to be more than names.

import Addresses
import Foundation
import FoundationXML
import GuestMemory
import Inspection
import JSON
import Layouts
import PageTables
import Testing

/// Elements of an XML document; what is not well-formed is an error.
final class XMLElements: NSObject, XMLParserDelegate {
    private(set) var names: [String: Int] = [:]
    private(set) var text = ""

    static func of(_ bytes: [UInt8]) throws -> XMLElements {
        let elements = XMLElements()
        let parser = XMLParser(data: Data(bytes))
        parser.delegate = elements
        let isWellFormed = parser.parse()
        try #require(isWellFormed, "line \(parser.lineNumber): \(parser.parserError.map { "\($0)" } ?? "")")
        return elements
    }

    func parser(
        _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
        attributes: [String: String]
    ) {
        names[name, default: 0] += 1
        for attribute in attributes.keys where attribute.hasPrefix("on") { names["on", default: 0] += 1 }
    }

    func parser(_ parser: XMLParser, foundCharacters characters: String) { text += characters }
}

/// Tables with so many ranges that none continues another, in memory of their own.
func scatteredTables(ranges: Int) throws -> Subject {
    let memory = SparseMemory(ranges: [0..<(64 << 20)])
    var next: UInt64 = 0x10_0000
    memory[0x1000] = next | 0x67
    memory[next] = next + 4096 | 0x67
    let directory = next + 4096
    next += 8192
    for number in 0..<UInt64(ranges) {
        let slot = directory + number / 512 * 8
        precondition(number / 512 < 512)
        if memory[slot] == 0 {
            memory[slot] = next | 0x67
            next += 4096
        }
        // Every other page of RAM, back and forth, with changing permissions.
        let frame = (number &* 7919) % 0x3000 + 0x800
        memory[memory[slot] & X86Bit.address + number % 512 * 8] =
            frame << 12 | (number % 3 == 0 ? 0x61 : 0x67) | 1 << 63
    }
    let slots = try SlotTable([
        MemorySlot(
            id: 0, name: "ram", guestPhysicalAddress: GPA(0), size: 64 << 20, userspaceAddress: HVA(0x7f00_0000_0000))
    ])
    return Subject(
        name: "scattered", layout: nil, slots: slots, memory: .other(memory), format: .x86FourLevel(), root: GPA(0x1000)
    )
}

@Suite struct DrawingTests {
    static let evil = "</script><script>intruder=1</script><img src=x onerror=intruder=1>\"'&\u{1}"

    /// A guest of which every name is hostile.
    func hostile() throws -> Subject {
        let image = try OSvImage(size: 64 << 20)
        let evil = DrawingTests.evil
        let slots = try SlotTable(
            image.slots.slots.map { slot in
                MemorySlot(
                    id: slot.id, name: evil, guestPhysicalAddress: slot.guestPhysicalAddress, size: slot.size,
                    userspaceAddress: slot.userspaceAddress)
            })
        let layout = Layout(
            name: evil, summary: evil, source: evil,
            regions: [Region(evil, first: 0, last: .max, .paged, evil)],
            softwareBits: [SoftwareBit(mask: 1, value: 1, name: evil, form: evil)], absentMask: 0, facts: [])
        return Subject(
            name: evil, layout: layout, slots: slots, memory: image.subject.memory, format: image.subject.format,
            root: image.subject.root, moment: evil, source: evil)
    }

    func drawing(_ subject: Subject, _ options: PagesOptions = PagesOptions()) -> Drawing {
        Drawing(subject, options: options, pid: 0, backing: nil)
    }

    @Test func hostileNamesInThePicture() throws {
        let elements = try XMLElements.of(drawing(hostile()).svg())
        #expect(elements.names["script"] == nil && elements.names["img"] == nil && elements.names["on"] == nil)
        #expect(elements.text.contains("</script><script>intruder=1</script>"))
    }

    @Test func hostileNamesInThePage() throws {
        let page = String(decoding: drawing(try hostile()).html(), as: UTF8.self)
        #expect(page.components(separatedBy: "<script").count == 3)
        #expect(page.components(separatedBy: "</script").count == 3)
        #expect(!page.contains("<img"))
        // What is between the data element's tags is JSON with the names as they are.
        let start = try #require(page.range(of: "id=\"data\">")?.upperBound)
        let end = try #require(page.range(of: "</script>", range: start..<page.endIndex)?.lowerBound)
        let json = try JSON.parse(Array(page[start..<end].utf8))
        #expect(json["schema"]?.text == "vitrine.drawing/1")
        #expect(json["target"]?.text == DrawingTests.evil)
        #expect(json["slots"]?.elements?.first?["name"]?.text == DrawingTests.evil)
    }

    /// Nothing comes from elsewhere.
    @Test func thePageIsSelfContained() throws {
        let page = String(decoding: drawing(try OSvImage().subject).html(), as: UTF8.self)
        for word in ["http:", "https:", "src=", "@import", "url(", "fetch(", "{{"] {
            #expect(!page.contains(word), "\(word)")
        }
        #expect(page.contains("default-src 'none'"))
    }

    @Test(arguments: [64 << 20, 6 << 30] as [UInt64]) func thePicture(size: UInt64) throws {
        let image = try OSvImage(size: size)
        image.map4K(OSv.mmapBase, 0x3a2_0000, bits: 0x65 | 1 << 51 | 1 << 63)
        for subject in [image.subject, image.stage("A"), image.stage("B")] {
            let elements = try XMLElements.of(drawing(subject).svg())
            #expect((elements.names["rect"] ?? 0) > 5)
            for title in ["guest VA", "guest PA", "host VA"] { #expect(elements.text.contains(title)) }
            for slot in subject.slots.slots { #expect(elements.text.contains(slot.userspaceAddress.hex)) }
        }
        // Each range says what it is when it is pointed at.
        let text = try XMLElements.of(drawing(image.subject).svg()).text
        #expect(text.contains("0x200000-0x5fffff, 4M, 2M pages, urwx-ad, ram, Core, → 0x200000"))
    }

    @Test func tablesOfNothing() throws {
        let image = try OSvImage()
        let empty = Subject(
            name: "a", layout: nil, slots: image.slots, memory: image.subject.memory, format: .x86FourLevel(),
            root: GPA(0x700_0000))
        #expect(try XMLElements.of(drawing(empty).svg()).text.contains("nothing is mapped"))
        #expect(!drawing(empty).html().isEmpty)
    }

    /// Both stay small: a page of 100,000 ranges below 15 MB, a picture of them below one.
    @Test func aHundredThousandRanges() throws {
        let drawing = drawing(try scatteredTables(ranges: 100_000))
        let page = drawing.html()
        #expect(page.count > 1_000_000 && page.count < 15_000_000)
        let svg = drawing.svg()
        #expect(svg.count < 1_000_000)
        let text = try XMLElements.of(svg).text
        #expect(text.contains("narrower than a pixel drawn together"))
    }

    @Test func aFilterCountsForBoth() throws {
        var options = PagesOptions()
        options.filter = try RangeFilter(parsing: "region=Core")
        let text = try XMLElements.of(drawing(try OSvImage().subject, options).svg()).text
        #expect(text.contains("Core, →") && !text.contains("mempool, →"))
    }
}

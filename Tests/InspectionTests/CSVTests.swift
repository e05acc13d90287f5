// CSV says what the JSON of the same tables says, field by field.

import Addresses
import GuestMemory
import Inspection
import JSON
import Layouts
import PageTables
import SecondStage
import Testing

/// Reads CSV (RFC 4180), independently of what writes it.
func readCSV(_ bytes: [UInt8]) -> (header: [String], records: [[String: String]]) {
    var lines: [[String]] = []
    var line: [String] = []
    var field: [UInt8] = []
    var isQuoted = false
    var at = 0
    func end() {
        line.append(String(decoding: field, as: UTF8.self))
        field = []
    }
    while at < bytes.count {
        let byte = bytes[at]
        at += 1
        if isQuoted {
            if byte != UInt8(ascii: "\"") {
                field.append(byte)
            } else if at < bytes.count, bytes[at] == byte {
                field.append(byte)
                at += 1
            } else {
                isQuoted = false
            }
        } else if byte == UInt8(ascii: "\"") && field.isEmpty {
            isQuoted = true
        } else if byte == UInt8(ascii: ",") {
            end()
        } else if byte == 10 {
            end()
            lines.append(line)
            line = []
        } else {
            field.append(byte)
        }
    }
    #expect(field.isEmpty && line.isEmpty && !isQuoted, "the last line has no end")
    let header = lines.first ?? []
    for line in lines { #expect(line.count == header.count) }
    return (header, lines.dropFirst().map { Dictionary(zip(header, $0)) { first, _ in first } })
}

/// What a CSV has where a JSON has this value.
func field(_ value: JSON?) -> String {
    guard let value else { return "" }
    if let text = value.text { return text }
    if let flag = value.boolean { return flag ? "true" : "false" }
    if let number = value.uint64 { return String(number) }
    if let elements = value.elements { return elements.map { field($0) }.joined(separator: " ") }
    return ""
}

@Suite struct CSVTests {
    let image: OSvImage

    init() throws {
        image = try OSvImage(size: 6 << 30)
        image.map4K(OSv.programBase, 0x3a0_0000)
        image.map4K(OSv.mmapBase, 0x3a2_0000, bits: 0x65 | 1 << 51 | 1 << 63)
        image.map4K(OSv.mmapBase + 4096, 0x3a2_1000, bits: 0x65 | 1 << 53)
        image.map(OSv.mmapBase + 8192, level: 1, leaf: OSv.protNoneSoftwareBit)
        // One table from many entries in a row: a repetition.
        let at = try #require(image.entryAddress(OSv.mmapBase, level: 2))
        for index in 8..<24 as Range<UInt64> { image.memory[at + index * 8] = image.memory[at] }
    }

    /// Compares records with the JSON objects that they stand for; every member that a column is named after.
    func compare(_ csv: [UInt8], _ objects: [JSON], ignoring: Set<String> = []) {
        let (header, records) = readCSV(csv)
        #expect(records.count == objects.count)
        for (record, object) in zip(records, objects) {
            for name in header where !ignoring.contains(name) {
                #expect(record[name] == field(object[name]), "\(name) of \(record)")
            }
            for member in object.members ?? [] where !ignoring.contains(member.name) {
                #expect(header.contains(member.name), "\(member.name) has no column")
            }
        }
    }

    func pages(_ view: PagesView, _ form: ReportForm) throws -> [UInt8] {
        var options = PagesOptions()
        options.form = form
        options.view = view
        var bytes: [UInt8] = []
        try writePages(image.subject, options: options) { bytes += $0 }
        return bytes
    }

    @Test func pagesRanges() throws {
        let json = try JSON.parse(try pages(.ranges, .json))
        let csv = try pages(.ranges, .csv)
        let (header, records) = readCSV(csv)
        #expect(
            header == ["va", "size", "gpa", "page", "flags", "kind", "region", "meaning", "reserved", "repeats", "as"])
        let ranges = records.filter { $0["kind"] != "repeated" }
        let objects = try #require(json["ranges"]?.elements)
        #expect(ranges.count == objects.count && objects.count > 10)
        for (record, object) in zip(ranges, objects) {
            for name in header where name != "as" { #expect(record[name] == field(object[name]), "\(name)") }
        }
        let repetitions = try #require(json["repetitions"]?.elements)
        let repeated = records.filter { $0["kind"] == "repeated" }
        #expect(repeated.count == repetitions.count && !repeated.isEmpty)
        for (record, object) in zip(repeated, repetitions) {
            for (column, member) in [
                ("va", "va"), ("size", "size"), ("flags", "flags"), ("repeats", "count"), ("as", "as"),
            ] {
                #expect(record[column] == field(object[member]), "\(column)")
            }
        }
    }

    @Test(arguments: [PagesView.entries, .tree]) func pagesEntries(view: PagesView) throws {
        let objects = try JSON.parse(try pages(view, .json))["entries"]?.elements ?? []
        #expect(objects.count > 500)
        compare(try pages(view, .csv), objects)
    }

    @Test func pagesTables() throws {
        compare(try pages(.tables, .csv), try JSON.parse(try pages(.tables, .json))["tables"]?.elements ?? [])
    }

    @Test func translate() throws {
        let addresses: [UInt64] = [0xffff_8000_0020_0123, OSv.mmapBase, 0x3000_0000_0000, 0x8000_0000_0000]
        let ways = addresses.map { AddressWay(GVA($0), in: image.subject, pageMap: nil) }
        let csv = translateCSV(ways, subject: image.subject)
        let objects =
            try JSON.parse(translateJSON(ways, subject: image.subject, pid: 1))["translations"]?.elements ?? []
        compare(csv, objects, ignoring: ["entries"])
        for (record, object) in zip(readCSV(csv).records, objects) {
            let entries = (object["entries"]?.elements ?? []).map {
                "\(field($0["level"])):\(field($0["at"]))=\(field($0["value"]))"
            }
            #expect(record["entries"] == entries.joined(separator: " "))
        }
    }

    @Test func aliases() throws {
        let page = GPA(0x20_0000)...GPA(0x20_0fff)
        let objects = try JSON.parse(aliasesReport(of: page, subject: image.subject, form: .json).text)["aliases"]?
            .elements
        compare(aliasesReport(of: page, subject: image.subject, form: .csv).text, objects ?? [])
        #expect(objects?.count == 4)
    }

    @Test func map() throws {
        let json = try JSON.parse(mapJSON(image.subject, pid: 1))
        let records = readCSV(mapCSV(image.subject)).records
        for row in ["virtual", "physical", "host"] {
            let objects = try #require(json[row]?.elements)
            let mine = records.filter { $0["row"] == row }
            #expect(mine.count == objects.count)
            for (number, (record, object)) in zip(mine, objects).enumerated() {
                #expect(record["number"] == "\(number)")
                for member in object.members ?? [] { #expect(record[member.name] == field(member.value)) }
            }
        }
    }

    /// A side's members stand in columns with the side's name before theirs.
    func compareChanges(_ records: [[String: String]], _ objects: [JSON]) throws {
        #expect(records.count == objects.count)
        for (record, object) in zip(records, objects) {
            for (name, value) in record {
                let parts = name.split(separator: ".").map(String.init)
                let member = parts.count == 2 ? object[parts[0]]?[parts[1]] : object[name]
                #expect(value == field(member), "\(name) of \(record)")
            }
            for member in object.members ?? [] where !["schema", "from", "to"].contains(member.name) {
                #expect(record[member.name] != nil, "\(member.name) has no column")
            }
        }
    }

    @Test func changes() throws {
        let other = try OSvImage(size: 6 << 30)
        other.map4K(OSv.programBase, 0x3a0_1000)
        other.map4K(OSv.mmapBase + 0x5000, 0x3a2_5000)
        let before = MappingMoment(image.subject, absentMask: OSv.protNoneSoftwareBit)
        let after = MappingMoment(other.subject, absentMask: OSv.protNoneSoftwareBit)
        func written(_ form: ReportForm) throws -> [UInt8] {
            var options = DiffOptions()
            options.form = form
            var bytes: [UInt8] = []
            #expect(try !writeDiff(before, after, options: options) { bytes += $0 }.isEqual)
            return bytes
        }
        let objects = try #require(try JSON.parse(written(.json))["changes"]?.elements)
        #expect(Set(objects.map { field($0["change"]) }) == ["added", "removed", "changed"])
        #expect(objects.contains { $0["from"]?["repeats"] != nil || $0["from"]?["meaning"] != nil })
        try compareChanges(readCSV(try written(.csv)).records, objects)

        // The same found by a watch, and what only a watch finds.
        var annotator = ChangeAnnotator(from: image.subject, to: other.subject)
        var findings: [WatchFinding] = [.root(from: TableRoot(format: .x86FourLevel(), root: GPA(0x1000)), to: nil)]
        _ = compareMappings(before.list, image.subject.format, after.list, other.subject.format) { change in
            annotator.annotate(change) { findings.append(.change($0)) }
            return true
        }
        findings.append(.incomplete)
        func watched(_ form: ReportForm) -> [UInt8] {
            var printer = WatchPrinter(form: form, clock: .since, showsAccessed: false)
            for (number, finding) in findings.enumerated() {
                printer.add(
                    finding,
                    at: WatchMoment(microseconds: UInt64(number), wallMicroseconds: UInt64(number) * 1_000_000))
            }
            return printer.take()
        }
        let lines = try watched(.json).split(separator: 10).map { try JSON.parse(Array($0)) }
        let records = readCSV(watched(.csv)).records
        #expect(records.map { $0["event"] } == lines.map { field($0["event"]) } && records.count > 4)
        #expect(records.first?["from.gpa"] == "0x1000" && records.first?["to.gpa"] == "")
        try compareChanges(Array(records.dropFirst().dropLast()), Array(lines.dropFirst().dropLast()))
    }

    @Test func secondStage() throws {
        let report = SecondStageReport(
            name: "a", pid: 1, source: .computed, slots: image.slots, kernel: nil, backing: nil, check: nil)
        for withMappings in [false, true] {
            var csv: [UInt8] = []
            var text: [UInt8] = []
            try report.writeCSV(withMappings: withMappings) { csv += $0 }
            try report.writeJSON(withMappings: withMappings) { text += $0 }
            let json = try JSON.parse(text)
            compare(csv, json[withMappings ? "mappings" : "slots"]?.elements ?? [])
        }
    }

    @Test func auditLayoutsAndDoctor() throws {
        let audit = Audit.run(.osv, FakeGuest(image, fault: .noGuardPage))
        compare(audit.csv, try JSON.parse(audit.json)["rules"]?.elements ?? [])
        // Rules about places have a count; the places themselves are not in CSV.
        let generic = Audit.generic(image.subject, types: .atReset, excusing: false)
        compare(generic.csv, try JSON.parse(generic.json)["rules"]?.elements ?? [], ignoring: ["examples"])
        #expect(readCSV(generic.csv).records.contains { $0["count"] != "" })
        let doctor = DoctorReport([DoctorItem("KVM", .missing, "no, \"not\" there\nat all", needed: true)])
        compare(doctor.csv, try JSON.parse(doctor.json)["items"]?.elements ?? [])
        let layouts = try JSON.parse(layoutsJSON(Layout.all))["layouts"]?.elements ?? []
        let regions = layouts.flatMap { $0["regions"]?.elements ?? [] }
        compare(layoutsCSV(Layout.all), regions, ignoring: ["layout"])
        #expect(readCSV(layoutsCSV(Layout.all)).records.first?["layout"] == layouts.first?["name"]?.text)
    }

    /// RFC 4180, 2: quotes where there are commas, quotes or line ends, and quotes doubled.
    @Test func quoting() {
        var writer = CSVWriter(header: ["a", "b"])
        writer.field("plain text")
        writer.field("with, comma")
        writer.endRecord()
        writer.field("a \"quoted\" word")
        writer.field("two\nlines")
        writer.endRecord()
        writer.emptyField()
        writer.field(hex: .max)
        writer.endRecord()
        writer.field(-5)
        writer.field(true)
        writer.endRecord()
        #expect(
            String(decoding: writer.take(), as: UTF8.self)
                == "a,b\nplain text,\"with, comma\"\n\"a \"\"quoted\"\" word\",\"two\nlines\"\n"
                + ",0xffffffffffffffff\n-5,true\n")
    }
}

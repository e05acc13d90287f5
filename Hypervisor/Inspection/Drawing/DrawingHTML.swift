// The page of `--format html`: the files of the folder Page, with the data as JSON between them. It loads nothing.
//
// Names come from guests and from file names. They are in the page in two places: in the title, escaped, and in the JSON,
// in which no `<` is left. The scripts put them into the page as text only.

import Addresses
import GuestMemory
import JSON
import Layouts
import PageTables
import SecondStage

extension Drawing {
    /// The page, schema of its data vitrine.drawing/1.
    public func html() -> [UInt8] {
        let script = [
            PackageResources.data_js, PackageResources.axis_js, PackageResources.view_js, PackageResources.panels_js,
            PackageResources.controls_js, PackageResources.selftest_js,
        ].flatMap { $0 }
        var page: [UInt8] = []
        fill(PackageResources.page_html, into: &page) { name in
            switch name {
            case "title": return Array(Markup.escaped("vitrine: \(subject.name)").utf8)
            case "style": return PackageResources.page_css
            case "script": return script
            default: return data()
            }
        }
        return page
    }

    /// Puts values in the places `{{name}}` of a template.
    private func fill(_ template: [UInt8], into page: inout [UInt8], value: (String) -> [UInt8]) {
        var at = 0
        while at < template.count {
            guard template[at] == UInt8(ascii: "{"), at + 1 < template.count, template[at + 1] == UInt8(ascii: "{"),
                let end = template[at...].firstIndex(of: UInt8(ascii: "}"))
            else {
                page.append(template[at])
                at += 1
                continue
            }
            page += value(String(decoding: template[at + 2..<end], as: UTF8.self))
            at = end + 2
        }
    }

    /// The data as JSON that may stand in a script element.
    private func data() -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            subject.members(schema: "vitrine.drawing/1", into: &writer)
            writer.member("pid", pid)
            writer.member("made", made)
            if let pausedMicroseconds { writer.member("pausedMicroseconds", pausedMicroseconds) }
            writer.member("partial", isPartial)
            writer.member("leaves", summary.leaves)
            writer.member("tableCount", summary.tables.count)
            writer.key("notes")
            writer.value(.texts(notes))
            writer.key("findings")
            writer.value(.texts(findings))
            formatJSON(into: &writer)
            slotsJSON(into: &writer)
            regionsJSON(into: &writer)
            rangesJSON(into: &writer)
            linksJSON(into: &writer)
            hostJSON(into: &writer)
            clustersJSON(into: &writer)
        }
        return Markup.scriptSafe(writer.bytes)
    }

    /// What is odd in the tables, in words.
    private var findings: [String] {
        summary.findings.filter { finding in
            finding.kind != .reservedBits || subject.layout?.meaning(of: finding.value) == nil
        }.prefix(100).map { describe($0, format: subject.format) }
    }

    /// Levels and bits: what the page needs to follow an address.
    private func formatJSON(into writer: inout JSONWriter) {
        let format = subject.format
        writer.key("format")
        writer.object { writer in
            writer.member("entrySize", format.entrySize)
            writer.member("virtualBits", format.virtualBits)
            writer.member("signExtended", format.signExtended)
            writer.key("levels")
            writer.array { writer in
                for (index, level) in format.levels.enumerated() {
                    writer.object { writer in
                        writer.member("name", format.tableName(level: index + 1))
                        writer.member("shift", level.shift)
                        writer.member("bits", level.indexBits)
                        writer.member("tableMask", hex: level.tableAddressMask)
                        writer.key("leaves")
                        writer.array { writer in
                            for leaf in [level.leaf, level.otherLeaf].compactMap({ $0 }) {
                                writer.object { writer in
                                    writer.member("shift", leaf.pageShift)
                                    writer.member("mask", hex: leaf.addressMask)
                                    writer.member("highMask", hex: leaf.highMask)
                                    writer.member("highShift", leaf.highShift)
                                    writer.member("topMask", hex: leaf.topMask)
                                    writer.member("topShift", leaf.topShift)
                                }
                            }
                        }
                    }
                }
            }
            writer.key("bits")
            writer.array { writer in
                for bit in format.namedBits {
                    writer.object { writer in
                        writer.member("mask", hex: bit.mask)
                        writer.member("name", bit.name)
                        writer.member("from", bit.levels.lowerBound)
                        writer.member("to", bit.levels.upperBound)
                        writer.key("leaf")
                        if let leaf = bit.leaf { writer.value(leaf) } else { writer.null() }
                    }
                }
            }
        }
    }

    private func slotsJSON(into writer: inout JSONWriter) {
        writer.key("slots")
        writer.array { writer in
            for slot in subject.slots.slots {
                writer.object { writer in
                    writer.member("id", slot.id)
                    writer.member("name", slot.name)
                    writer.member("gpa", hex: slot.guestPhysicalAddress.rawValue)
                    writer.member("size", slot.size)
                    writer.member("hva", hex: subject.hasHostAddresses ? slot.userspaceAddress.rawValue : nil)
                }
            }
        }
    }

    private func regionsJSON(into writer: inout JSONWriter) {
        writer.key("regions")
        writer.array { writer in
            for region in subject.layout?.regions ?? [] {
                writer.object { writer in
                    writer.member("name", region.name)
                    writer.member("first", hex: region.first.rawValue)
                    writer.member("last", hex: region.last.rawValue)
                }
            }
        }
        writer.key("repetitions")
        writer.array { writer in for table in repetitions { PagesColumns.repetitions.write(table, into: &writer) } }
    }

    /// Ranges as columns of numbers, little-endian, in base64: page numbers as 64-bit floating point.
    private func rangesJSON(into writer: inout JSONWriter) {
        var names = Numbering<String>()
        var meanings = Numbering<String>()
        var bits = Numbering<UInt64>()
        var flags: [UInt8] = []
        var kinds: [UInt8] = []
        var regions: [UInt16] = []
        var meaning: [UInt8] = []
        var leafBits: [UInt32] = []
        for range in ranges {
            flags.append(Drawing.flags(range.flags))
            let kind: UInt8 =
                switch range.kind {
                case .ram: 0
                case .mmio: 1
                case .unbacked: 2
                case .absent: 3
                }
            kinds.append(kind | (range.repeatsPage ? 0x80 : 0))
            regions.append(range.region.map { UInt16(truncatingIfNeeded: names.number(of: $0)) } ?? .max)
            meaning.append(range.meaning.map { UInt8(truncatingIfNeeded: meanings.number(of: $0)) } ?? .max)
            leafBits.append(UInt32(truncatingIfNeeded: bits.number(of: range.leafBits)))
        }
        writer.key("ranges")
        writer.object { writer in
            writer.member("count", ranges.count)
            writer.member("va", Base64.text(ranges.map { Double($0.va.rawValue >> 12) }))
            writer.member("pages", Base64.text(ranges.map { Double($0.size >> 12) }))
            writer.member("gpa", Base64.text(ranges.map { Double($0.gpa.rawValue >> 12) }))
            writer.member("shift", Base64.text(ranges.map { UInt8($0.pageSize.trailingZeroBitCount) }))
            writer.member("flags", Base64.text(flags))
            writer.member("kind", Base64.text(kinds))
            writer.member("region", Base64.text(regions))
            writer.member("meaning", Base64.text(meaning))
            writer.member("bits", Base64.text(leafBits))
        }
        writer.key("regionNames")
        writer.value(.texts(names.values))
        writer.key("meanings")
        writer.value(.texts(meanings.values))
        writer.key("leafBits")
        writer.array { writer in for value in bits.values { writer.hex(value) } }
    }

    /// The flags as the page knows them: u r w x g a d, and reserved.
    private static func flags(_ flags: PageFlags) -> UInt8 {
        let order: [PageFlags] = [
            .user, .readable, .writable, .executable, .global, .accessed, .dirty, .reserved,
        ]
        var bits: UInt8 = 0
        for (index, flag) in order.enumerated() where flags.contains(flag) { bits |= 1 << UInt8(index) }
        return bits
    }

    /// Entries that refer to tables, by level and virtual address.
    private func linksJSON(into writer: inout JSONWriter) {
        writer.key("links")
        writer.array { writer in
            for level in 1...max(1, subject.format.rootLevel) {
                let mine = links.filter { $0.entry.level == level }.sorted { $0.va < $1.va }
                guard !mine.isEmpty else { continue }
                let shift = UInt64(subject.format.levels[level - 1].shift & 63)
                writer.object { writer in
                    writer.member("level", level)
                    writer.member("key", Base64.text(mine.map { Double($0.va.rawValue >> shift) }))
                    writer.member("value", Base64.text(mine.map(\.entry.value)))
                }
            }
        }
    }

    private func hostJSON(into writer: inout JSONWriter) {
        writer.key("host")
        guard let host else {
            writer.null()
            return
        }
        writer.object { writer in
            writer.member("count", host.count)
            writer.member("gpa", Base64.text(host.map { Double($0.gpa.rawValue >> 12) }))
            writer.member("pages", Base64.text(host.map { Double($0.size >> 12) }))
            writer.member("hpa", Base64.text(host.map { $0.hpa.map { Double($0.rawValue >> 12) } ?? -1 }))
            writer.member("shift", Base64.text(host.map { UInt8($0.pageSize.trailingZeroBitCount) }))
            writer.member("swapped", Base64.text(host.map { $0.flags.contains(.swapped) ? 1 : 0 as UInt8 }))
        }
    }

    private func clustersJSON(into writer: inout JSONWriter) {
        writer.key("clusters")
        writer.object { writer in
            for (name, stretches) in [
                ("va", virtualStretches), ("gpa", physicalStretches), ("hva", hostStretches), ("hpa", frameStretches),
            ] {
                writer.key(name)
                writer.array { writer in
                    for cluster in Cluster.clusters(stretches) {
                        writer.array { writer in
                            writer.value(cluster.first)
                            writer.value(cluster.end)
                        }
                    }
                }
            }
        }
    }
}

/// Values by number, in the order they first came.
private struct Numbering<Value: Hashable> {
    private(set) var values: [Value] = []
    private var numbers: [Value: Int] = [:]

    mutating func number(of value: Value) -> Int {
        if let number = numbers[value] { return number }
        numbers[value] = values.count
        values.append(value)
        return values.count - 1
    }
}

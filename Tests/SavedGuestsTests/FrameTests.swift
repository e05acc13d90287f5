import SavedGuests
import TestSupport
import Testing

/// A stream of sections in memory.
final class MemoryStream {
    var bytes: [UInt8] = []
    private var place = 0

    init(_ bytes: [UInt8] = []) { self.bytes = bytes }

    func writer() throws(SavedGuestError) -> SectionWriter {
        try SectionWriter { (more) throws(SavedGuestError) in self.bytes += Array(more) }
    }

    func reader() throws(SavedGuestError) -> SectionReader {
        try SectionReader { (buffer) throws(SavedGuestError) in
            let count = min(buffer.count, self.bytes.count - self.place)
            buffer.copyBytes(from: self.bytes[self.place..<self.place + count])
            self.place += count
            return count
        }
    }

    /// Every section to the end.
    func sections() throws(SavedGuestError) -> [Section] {
        let reader = try reader()
        var sections: [Section] = []
        repeat { sections.append(try reader.next()) } while sections.last?.kind != .end
        try reader.checkNothingFollows()
        return sections
    }
}

/// A small stream, and where its sections' headers begin.
private func sample() throws -> (bytes: [UInt8], headers: [Int]) {
    let stream = MemoryStream()
    let writer = try stream.writer()
    var headers: [Int] = []
    var description = GuestDescription()
    description.name = "a"
    description.vcpus = 1
    description.programs = ["one", "two"]
    description.slots = [GuestDescription.Slot(name: "low", address: 0, size: 4096)]
    headers.append(stream.bytes.count)
    try writer.section(.description, description.fields)
    var random = Random(seed: 7)
    let page = (0..<4096).map { _ in UInt8.random(in: 0...255, using: &random) }
    headers.append(stream.bytes.count)
    var fields = FieldWriter()
    fields.u64(0)
    fields.raw(page)
    try writer.section(.ram, fields)
    headers.append(stream.bytes.count)
    try writer.end()
    return (stream.bytes, headers)
}

private func refusal(_ bytes: [UInt8]) -> String? {
    do throws(SavedGuestError) {
        _ = try MemoryStream(bytes).sections()
        return nil
    } catch {
        guard case .input(let text) = error else { return nil }
        return text
    }
}

@Suite struct Frames {
    @Test func checksumIsThatOfTheStandard() {
        // RFC 3720, appendix B.4, and the check value of CRC-32C.
        let vectors: [([UInt8], UInt32)] = [
            (Array("123456789".utf8), 0xe306_9283), ([UInt8](repeating: 0, count: 32), 0x8a91_36aa),
            ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43), (Array(0..<32), 0x46dd_794e),
        ]
        for (bytes, expected) in vectors {
            for usesInstruction in [true, false] {
                let found = bytes.withUnsafeBytes {
                    SavedGuestFormat.checksum($0, usesInstruction: usesInstruction)
                }
                #expect(found == expected)
            }
        }
    }

    @Test func whatWasWrittenIsRead() throws {
        let (bytes, _) = try sample()
        let sections = try MemoryStream(bytes).sections()
        #expect(sections.map(\.kind) == [.description, .ram, .end])
        let description = try GuestDescription(sections[0])
        #expect(description.programs == ["one", "two"] && description.slots.count == 1)
        #expect(sections[1].bytes.count == 4104)
    }

    @Test func everyCutIsRefused() throws {
        let (bytes, _) = try sample()
        for count in 0..<bytes.count {
            let text = refusal(Array(bytes.prefix(count)))
            #expect(text?.contains("cut short") == true, "\(count): \(text ?? "accepted")")
        }
        #expect(refusal(bytes + [0])?.contains("follows the end") == true)
    }

    /// Every byte, those of headers and those of contents.
    @Test func everyChangeIsRefused() throws {
        let (bytes, headers) = try sample()
        var random = Random(seed: 11)
        for place in bytes.indices {
            var altered = bytes
            altered[place] ^= UInt8.random(in: 1...255, using: &random)
            let text = refusal(altered)
            #expect(text?.contains("byte") == true, "\(place): \(text ?? "accepted")")
        }
        // Sections that are there twice, or change places.
        let (first, second) = (headers[1], headers[2])
        let twice = Array(bytes[..<second]) + Array(bytes[first...])
        #expect(refusal(twice)?.contains("says that it is section 1") == true)
        let missing = Array(bytes[..<first]) + Array(bytes[second...])
        #expect(refusal(missing)?.contains("says that it is section 2") == true)
    }

    /// A header with its checksum put right.
    private func sealed(_ header: [UInt8]) -> [UInt8] {
        let checksum = header.withUnsafeBytes { SavedGuestFormat.checksum($0) }
        return header + (0..<4).map { UInt8(truncatingIfNeeded: checksum >> (8 * $0)) }
    }

    @Test func newerAndUnknownAreRefusedByName() throws {
        let (bytes, headers) = try sample()
        var header = Array(bytes[..<28])
        header[8] = 2
        #expect(refusal(sealed(header) + bytes[32...])?.contains("newer Vitrine") == true)
        #expect(refusal(Array("\u{7f}ELF".utf8) + bytes[4...])?.contains("no saved guest") == true)
        var section = Array(bytes[headers[1]..<headers[1] + 20])
        section[0] = 99
        let unknown = Array(bytes[..<headers[1]]) + sealed(section) + bytes[(headers[1] + 24)...]
        #expect(refusal(unknown)?.contains("unknown kind 99") == true)
        section[0] = 3
        section[15] = 1
        let huge = Array(bytes[..<headers[1]]) + sealed(section) + bytes[(headers[1] + 24)...]
        #expect(refusal(huge)?.contains("are the most") == true)
    }

    @Test func fieldsAreBounded() throws {
        var writer = FieldWriter()
        writer.u32(5)
        writer.raw([1, 2, 3])
        var reader = FieldReader(writer.bytes, offset: 100, section: "test")
        do throws(SavedGuestError) {
            _ = try reader.block("a block", limit: 100)
            Issue.record("accepted")
        } catch { #expect(error.description.contains("test, byte 104: a block needs 5 bytes, 3 are left")) }
        var flag = FieldReader([2], offset: 0, section: "test")
        #expect(throws: SavedGuestError.self) { try flag.flag("a flag") }
        var text = FieldReader([1, 0, 0, 0, 0xff], offset: 0, section: "test")
        #expect(throws: SavedGuestError.self) { try text.text("a text") }
        var long = FieldReader([0xff, 0xff, 0xff, 0xff], offset: 0, section: "test")
        #expect(throws: SavedGuestError.self) { try long.block("a block", limit: 1000) }
    }
}

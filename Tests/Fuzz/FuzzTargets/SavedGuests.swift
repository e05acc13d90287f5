import Addresses
import Machine
import SavedGuests

/// A file that claims to be a saved guest: it is refused, or read to its end. Checksums stop almost every made-up file at the
/// frame, so the input is also taken for the contents of sections in a frame that is right: a byte for the kind, two for the
/// length, then that many bytes.
func fuzzSavedGuest(_ bytes: UnsafeRawBufferPointer) {
    let raw = Array(bytes)
    _ = read(raw)
    var framed: [UInt8] = []
    do throws(SavedGuestError) {
        let writer = try SectionWriter { (more) throws(SavedGuestError) in framed += Array(more) }
        var rest = raw[...]
        while rest.count >= 3, let kind = SectionKind(rawValue: UInt32(rest[rest.startIndex])), kind != .end {
            let length = Int(rest[rest.startIndex + 1]) | Int(rest[rest.startIndex + 2]) << 8
            var fields = FieldWriter()
            fields.raw(Array(rest.dropFirst(3).prefix(length)))
            rest = rest.dropFirst(3).dropFirst(length)
            try writer.section(kind, fields)
        }
        try writer.end()
    } catch {
        preconditionFailure("writing into an array failed")
    }
    guard let description = read(framed) else { return }
    // What was accepted says the same when it is written again.
    var again: [UInt8] = []
    do throws(SavedGuestError) {
        let writer = try SectionWriter { (more) throws(SavedGuestError) in again += Array(more) }
        try writer.section(.description, description.fields)
        try writer.end()
        var place = 0
        let reader = try SectionReader { (buffer) throws(SavedGuestError) in
            let count = min(buffer.count, again.count - place)
            buffer.copyBytes(from: again[place..<place + count])
            place += count
            return count
        }
        let second = try GuestDescription(try reader.next())
        precondition(second == description, "another description")
    } catch {
        preconditionFailure("a description that was just written is refused: \(error)")
    }
}

private func read(_ bytes: [UInt8]) -> GuestDescription? {
    var place = 0
    do throws(SavedGuestError) {
        let reader = try SectionReader { (buffer) throws(SavedGuestError) in
            let count = min(buffer.count, bytes.count - place)
            buffer.copyBytes(from: bytes[place..<place + count])
            place += count
            return count
        }
        return try checkSavedGuest(reader)
    } catch {
        guard case .input(let text) = error else { preconditionFailure("not the input's fault: \(error)") }
        precondition(!text.isEmpty, "a refusal without words")
        return nil
    }
}

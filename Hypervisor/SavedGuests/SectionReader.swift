// Reading a saved guest, front to back. Whatever the bytes are: they are refused, or they are what was written.

/// Reads the frame of a saved guest out of something that gives bytes.
public final class SectionReader {
    /// Fills the buffer; gives fewer bytes only at the end.
    public typealias Source = (UnsafeMutableRawBufferPointer) throws(SavedGuestError) -> Int

    private let source: Source
    private var index: UInt32 = 0
    /// Bytes read so far.
    public private(set) var offset: UInt64 = 0

    /// Reads and checks the header.
    public init(_ source: @escaping Source) throws(SavedGuestError) {
        self.source = source
        let header = try take(SavedGuestFormat.headerSize, "the header")
        guard Array(header.prefix(8)) == SavedGuestFormat.magic else {
            throw .input("this is no saved guest: it does not begin as one (byte 0, magic)")
        }
        var fields = FieldReader(header, offset: 0, section: "header")
        _ = try fields.raw(8, "magic")
        let version = try fields.u32("version")
        let size = try fields.u32("size")
        let reserved = try fields.raw(12, "reserved")
        let checksum = try fields.u32("checksum")
        guard checksum == SavedGuestFormat.checksum(Array(header.prefix(28))) else {
            throw .input("the saved guest was altered: its header has another checksum than it says (byte 28)")
        }
        guard version <= SavedGuestFormat.version else {
            throw .input(
                "the saved guest has version \(version) of the format (byte 8), this Vitrine reads versions up to "
                    + "\(SavedGuestFormat.version): a newer Vitrine wrote it, and is needed to restore it")
        }
        guard version >= 1, size == SavedGuestFormat.headerSize, reserved.allSatisfy({ $0 == 0 }) else {
            throw .input("the header of the saved guest makes no sense (version \(version), size \(size), byte 8)")
        }
    }

    /// The next section; that of kind `end` is the last, and must be asked for.
    public func next() throws(SavedGuestError) -> Section {
        let start = offset
        let what = "section \(index)"
        let header = try take(SavedGuestFormat.sectionHeaderSize, "the header of \(what)")
        var fields = FieldReader(header, offset: start, section: what)
        let number = try fields.u32("kind")
        let position = try fields.u32("index")
        let length = try fields.u64("length")
        let checksum = try fields.u32("checksum")
        let own = try fields.u32("checksum of the header")
        guard own == SavedGuestFormat.checksum(Array(header.prefix(20))) else {
            throw .input(
                "the saved guest was altered: the header of \(what), at byte \(start), has another checksum than it says"
            )
        }
        guard let kind = SectionKind(rawValue: number) else {
            throw .input("\(what), at byte \(start), is of the unknown kind \(number)")
        }
        guard position == index else {
            throw .input(
                "the saved guest was altered: \(what), at byte \(start), says that it is section \(position)")
        }
        guard length <= kind.limit, let count = Int(exactly: length) else {
            throw .input(
                "\(what) (\(kind.name)), at byte \(start), says it has \(length) bytes; \(kind.limit) are the most")
        }
        let contents = offset
        let bytes = try take(count, "\(what) (\(kind.name))")
        guard checksum == SavedGuestFormat.checksum(bytes) else {
            throw .input(
                "the saved guest was altered: \(what) (\(kind.name)), bytes \(contents) to \(offset - 1), has another "
                    + "checksum than it says")
        }
        let section = Section(kind: kind, offset: contents, bytes: bytes)
        if kind == .end {
            var fields = section.fields
            let sections = try fields.u64("number of sections")
            let size = try fields.u64("size")
            try fields.end()
            guard sections == UInt64(index), size == start else {
                throw .input("\(what) (end), at byte \(start), speaks of \(sections) sections and \(size) bytes")
            }
        }
        index &+= 1
        return section
    }

    /// Makes sure that nothing follows; for files. In a pipe something may.
    public func checkNothingFollows() throws(SavedGuestError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1, alignment: 1)
        defer { buffer.deallocate() }
        guard try source(buffer) == 0 else {
            throw .input("something follows the end of the saved guest, at byte \(offset)")
        }
    }

    private func take(_ count: Int, _ what: String) throws(SavedGuestError) -> [UInt8] {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
        defer { buffer.deallocate() }
        let found = try source(buffer)
        guard found == count else {
            throw .input(
                "the saved guest is cut short: \(what) needs \(count) bytes from byte \(offset) on, and \(found) are there"
            )
        }
        offset += UInt64(count)
        return Array(buffer)
    }
}

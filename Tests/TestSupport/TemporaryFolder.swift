import Foundation

/// A folder of a test's own, which goes away with its owner.
public final class TemporaryFolder: Sendable {
    /// The path, without a slash at its end.
    public let path: String

    /// A new, empty folder.
    public init() throws {
        // Short: sockets in it have room for 107 bytes.
        var template = Array("/tmp/vitrine-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        path = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    // Links go as links: what they refer to is not ours.
    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file in the folder.
    @discardableResult public func file(_ name: String, _ contents: Data = Data()) throws -> URL {
        let url = URL(fileURLWithPath: path).appending(path: name)
        try contents.write(to: url)
        return url
    }
}

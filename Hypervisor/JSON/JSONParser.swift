// JSON text from outside, parsed by Jansson within bounds.

import CJansson

/// Why a text is not the JSON that was expected.
public struct JSONError: Error, Equatable, CustomStringConvertible {
    /// What is wrong.
    public let reason: String
    /// The line, from 1.
    public let line: Int
    /// The byte in the text, from 0.
    public let position: Int

    /// An error at a place in the text.
    public init(reason: String, line: Int, position: Int) {
        self.reason = reason
        self.line = line
        self.position = position
    }

    /// `JSON, line 1, byte 7: '}' expected near end of file`.
    public var description: String { "JSON, line \(line), byte \(position): \(reason)" }
}

/// How large a text may be that comes from outside.
public struct JSONLimits: Sendable {
    /// Bytes of text.
    public var bytes: Int
    /// Arrays and objects within each other.
    public var depth: Int

    /// Limits; those not given are 16 MiB and 64 levels.
    public init(bytes: Int = 16 << 20, depth: Int = 64) {
        self.bytes = bytes
        self.depth = depth
    }
}

extension JSON {
    /// Parses one JSON value; blanks around it are allowed, anything else is not. A name that occurs twice in an object,
    /// an invalid UTF-8 sequence, and a whole number beyond Int64 are errors.
    public static func parse(_ text: some Collection<UInt8>, limits: JSONLimits = JSONLimits()) throws(JSONError)
        -> JSON
    {
        let bytes = Array(text)
        guard bytes.count <= limits.bytes else {
            throw JSONError(reason: "longer than \(limits.bytes) bytes", line: 1, position: limits.bytes)
        }
        try checkDepth(bytes, limit: limits.depth)
        var error = json_error_t()
        let flags = Int(JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL)
        let root = bytes.withUnsafeBytes { raw in
            // Jansson wants a pointer even where there is nothing to read.
            raw.baseAddress.flatMap { json_loadb($0.assumingMemoryBound(to: CChar.self), raw.count, flags, &error) }
        }
        guard let root else {
            guard !bytes.isEmpty else { throw JSONError(reason: "nothing there", line: 1, position: 0) }
            throw JSONError(
                reason: withUnsafeBytes(of: &error.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) },
                line: Int(error.line), position: Int(error.position))
        }
        defer { json_decref(root) }
        return convert(root)
    }

    /// Parses one JSON value.
    public static func parse(_ text: String, limits: JSONLimits = JSONLimits()) throws(JSONError) -> JSON {
        try parse(text.utf8, limits: limits)
    }

    /// Jansson recurses up to 2,048 levels; a small stack has to do with fewer.
    private static func checkDepth(_ bytes: [UInt8], limit: Int) throws(JSONError) {
        var depth = 0
        var line = 1
        var inString = false
        var escaped = false
        for (position, byte) in bytes.enumerated() {
            if byte == 10 { line += 1 }
            if inString {
                if escaped {
                    escaped = false
                } else if byte == UInt8(ascii: "\\") {
                    escaped = true
                } else if byte == UInt8(ascii: "\"") {
                    inString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): inString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                guard depth <= limit else {
                    throw JSONError(reason: "deeper than \(limit) levels", line: line, position: position)
                }
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            default: break
            }
        }
    }

    /// The value as Swift sees it; its depth was bounded before.
    private static func convert(_ value: UnsafeMutablePointer<json_t>) -> JSON {
        switch value.pointee.type {
        case JSON_OBJECT:
            var members: [JSONMember] = []
            members.reserveCapacity(json_object_size(value))
            var iterator = json_object_iter(value)
            while let current = iterator {
                if let name = json_object_iter_key(current), let child = json_object_iter_value(current) {
                    let length = json_object_iter_key_len(current)
                    members.append(JSONMember(text(name, length), convert(child)))
                }
                iterator = json_object_iter_next(value, current)
            }
            return .object(members)
        case JSON_ARRAY:
            return .array((0..<json_array_size(value)).compactMap { json_array_get(value, $0).map(convert) })
        case JSON_STRING:
            guard let bytes = json_string_value(value) else { return .string("") }
            return .string(text(bytes, json_string_length(value)))
        case JSON_INTEGER: return .integer(Int64(json_integer_value(value)))
        case JSON_REAL: return .real(json_real_value(value))
        case JSON_TRUE: return .bool(true)
        case JSON_FALSE: return .bool(false)
        default: return .null
        }
    }

    private static func text(_ bytes: UnsafePointer<CChar>, _ count: Int) -> String {
        String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
    }
}

// Small files of the kernel's.

import Glibc
import SystemCalls

enum ModuleParameter {
    /// The first bytes of a file of the kernel's, without the last line's end; nil if it is not there.
    static func value(_ path: String, limit: Int = 64) -> String? {
        guard let file = try? FileDescriptor(open: path, O_RDONLY) else { return nil }
        var bytes = [UInt8](repeating: 0, count: limit)
        guard var count = try? file.readAll(at: 0, into: &bytes) else { return nil }
        if count > 0, bytes[count - 1] == 10 { count -= 1 }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}

// A parameter of a kernel module, from /sys/module.

import Glibc
import SystemCalls

enum ModuleParameter {
    /// The text of a small file of the kernel's, without the line's end; nil if it is not there.
    static func value(_ path: String) -> String? {
        guard let file = try? FileDescriptor(open: path, O_RDONLY) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = try? bytes.withUnsafeMutableBytes { buffer throws(Errno) in try file.readAll(at: 0, into: buffer) }
        return count.map { String(decoding: bytes.prefix($0).prefix { $0 != 10 }, as: UTF8.self) }
    }
}

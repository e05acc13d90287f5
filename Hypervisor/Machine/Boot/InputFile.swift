// A file that a machine is made from: kernel, initrd, program.

import Glibc
import SystemCalls

/// A regular file that is open for reading.
package final class InputFile: Sendable {
    /// The path, as it was given.
    let path: String
    /// What the file is, for messages: `kernel`, `program`.
    let role: String
    /// The size in bytes when it was opened.
    let size: UInt64
    let descriptor: FileDescriptor

    /// Opens a file; it must be a regular one and not empty.
    package init(_ path: String, role: String) throws(MachineError) {
        self.path = path
        self.role = role
        do {
            // O_NONBLOCK: a pipe or a device must not hold us up before it is refused.
            descriptor = try FileDescriptor(open: path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
        } catch {
            throw .input("\(role) \(path): \(Errno.text(error.code))")
        }
        do {
            switch try descriptor.kind() {
            case .regular(let size): self.size = size
            case .folder: throw MachineError.input("\(role) \(path) is a folder")
            case .other: throw MachineError.input("\(role) \(path) is not a regular file")
            }
        } catch let error as MachineError { throw error } catch {
            throw .input("\(role) \(path): \(error)")
        }
        guard size > 0 else { throw .input("\(role) \(path) is empty") }
    }

    /// The last component of the path.
    var name: String { String(path.split(separator: "/").last ?? "") }

    /// Exactly `count` bytes from `offset` on.
    func bytes(at offset: UInt64, count: Int, _ what: String) throws(MachineError) -> [UInt8] {
        let bytes: [UInt8]
        do { bytes = try descriptor.bytes(at: offset, count: count) } catch {
            throw .input("\(role) \(path): \(error)")
        }
        guard bytes.count == count else {
            throw .input("\(role) \(path) is truncated: \(what) at offset \(offset), \(count) bytes, file of \(size)")
        }
        return bytes
    }

    /// Fills memory with the bytes from `offset` on.
    func read(at offset: UInt64, into memory: UnsafeMutableRawBufferPointer, _ what: String) throws(MachineError) {
        let count: Int
        do { count = try descriptor.read(at: offset, into: memory) } catch { throw .input("\(role) \(path): \(error)") }
        guard count == memory.count else {
            throw .input("\(role) \(path) became shorter while it was read: \(what) at offset \(offset)")
        }
    }
}

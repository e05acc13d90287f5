// KVM's statistics by file descriptor (Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD):
//
//     header | id string | descriptors, each with its name | data
//
// The descriptors never change; the data is read anew each time.

import CSystem
import Synchronization
import SystemCalls

/// The statistics of a VM or a vCPU.
public final class Statistics: Sendable {
    private struct Entry: Sendable {
        let name: String
        let offset: UInt64
        let count: Int
    }

    private let file: FileDescriptor
    /// Read at the first use.
    private let known = Mutex<[Entry]?>(nil)

    /// Opens the statistics of a VM or a vCPU. Of a vCPU that runs this waits until it comes out of KVM_RUN; reading
    /// afterwards never waits.
    init(of descriptor: borrowing FileDescriptor) throws(KVMError) {
        do {
            let result = try descriptor.control(csystem_KVM_GET_STATS_FD, name: "KVM_GET_STATS_FD")
            file = FileDescriptor(owning: Int32(truncatingIfNeeded: result))
        } catch { throw .call(error) }
    }

    private var entries: [Entry] {
        known.withLock { known in
            if let known { return known }
            let read = (try? readEntries()) ?? []
            known = read
            return read
        }
    }

    private func readEntries() throws(Errno) -> [Entry] {
        // flags, name size, number of descriptors, offsets of id string, descriptors, data: 4 bytes each.
        let header = try file.bytes(at: 0, count: 24)
        let field = { (index: Int) in
            header.withUnsafeBytes { $0.count == 24 ? $0.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self) : 0 }
        }
        return try Statistics.entries(
            file, nameSize: Int(field(1)), count: Int(field(2)), at: UInt64(field(4)), data: UInt64(field(5)))
    }

    /// Reads the descriptors: flags (4 bytes), exponent (2), number of values (2), offset (4), bucket size (4), name.
    private static func entries(
        _ file: borrowing FileDescriptor, nameSize: Int, count: Int, at start: UInt64, data: UInt64
    ) throws(Errno) -> [Entry] {
        let stride = 16 + nameSize
        let bytes = try file.bytes(at: start, count: min(1 << 20, stride * count))
        var entries: [Entry] = []
        bytes.withUnsafeBytes { buffer in
            for index in 0..<bytes.count / stride {
                let base = index * stride
                let name = buffer[base + 16..<base + stride].prefix { $0 != 0 }
                entries.append(
                    Entry(
                        name: String(decoding: name, as: UTF8.self),
                        offset: data + UInt64(buffer.loadUnaligned(fromByteOffset: base + 8, as: UInt32.self)),
                        count: Int(buffer.loadUnaligned(fromByteOffset: base + 6, as: UInt16.self))))
            }
        }
        return entries
    }

    /// The names, in KVM's order.
    public var names: [String] { entries.map(\.name) }

    /// The first value of a statistic, or nil if KVM has none of that name.
    public func value(_ name: String) -> UInt64? {
        guard let entry = entries.first(where: { $0.name == name }) else { return nil }
        return values(entry).first
    }

    /// Every statistic with its values: one, or the counts of a histogram.
    public func all() -> [(name: String, values: [UInt64])] { entries.map { ($0.name, values($0)) } }

    private func values(_ entry: Entry) -> [UInt64] {
        var values = [UInt64](repeating: 0, count: entry.count)
        let size = values.withUnsafeMutableBytes { (try? file.read(at: entry.offset, into: $0)) ?? 0 }
        return Array(values.prefix(size / 8))
    }
}

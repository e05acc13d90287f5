// Page tables of a moment that has passed.

import Addresses
import GuestMemory
import PageTables
import SystemCalls

/// The page tables as they were when the guest reported a boot stage: the tables alone, no other memory.
///
/// The file behind it is a row of [8 bytes: guest physical address, little-endian][4,096 bytes: the table].
public final class StageTables: PhysicalMemory, Sendable {
    /// The root of the tables at that moment.
    public let cr3: UInt64
    /// The tables' addresses, ascending.
    public let addresses: [GPA]
    private nonisolated(unsafe) let records: UnsafeRawBufferPointer
    private static let recordSize = 8 + 4096

    /// The number of tables.
    public var count: Int { addresses.count }

    init(cr3: UInt64, count: Int, file: SharedDescriptor) throws(TargetError) {
        guard (0...4096).contains(count) else { throw .badAnswer("\(count) tables") }
        let size = count * StageTables.recordSize
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
        var addresses: [GPA] = []
        do throws(TargetError) {
            try StageTables.fill(bytes, from: file)
            for index in 0..<count {
                let number = bytes.load(fromByteOffset: index * StageTables.recordSize, as: UInt64.self)
                addresses.append(GPA(UInt64(littleEndian: number)))
            }
            for (first, second) in zip(addresses, addresses.dropFirst()) where first >= second {
                throw TargetError.badAnswer("tables out of order")
            }
        } catch {
            bytes.deallocate()
            throw error
        }
        self.cr3 = cr3
        self.addresses = addresses
        records = UnsafeRawBufferPointer(bytes)
    }

    deinit { records.deallocate() }

    /// The table that holds `address`, or nil if no table of that moment was there.
    public func page(at address: GPA) -> UnsafeRawPointer? {
        let page = address.alignedDown(to: 4096)
        var low = 0
        var high = addresses.count
        while low < high {
            let middle = (low + high) / 2
            if addresses[middle] < page { low = middle + 1 } else { high = middle }
        }
        guard low < addresses.count, addresses[low] == page, let base = records.baseAddress else { return nil }
        return base + (low * StageTables.recordSize + 8)
    }

    /// Reads the file from its beginning: whoever sent it may have moved its offset.
    private static func fill(_ buffer: UnsafeMutableRawBufferPointer, from file: SharedDescriptor) throws(TargetError) {
        var done = 0
        while done < buffer.count {
            let count: Int
            do throws(Errno) {
                count = try file.descriptor.read(
                    at: UInt64(done), into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
            } catch {
                throw .call(error)
            }
            guard count > 0 else { throw .badAnswer("\(done) bytes instead of \(buffer.count)") }
            done += count
        }
    }
}

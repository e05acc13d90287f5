// From a host virtual address to the host's own frame: /proc/PID/pagemap.

import Addresses
import Glibc
import SystemCalls

/// What the host has behind a page of a process.
public enum HostFrame: Sendable, Equatable {
    /// The byte is here.
    case present(HPA)
    /// No frame: never touched, or not since it was reclaimed.
    case absent
    /// On a swap device.
    case swapped
    /// There is a frame, but only CAP_SYS_ADMIN may know its number.
    case hidden
}

/// The pagemap of a process (Documentation/admin-guide/mm/pagemap.rst): 8 bytes a page; bit 63 present, bit 62 swapped,
/// bits 54:0 the frame's number, which reads 0 without CAP_SYS_ADMIN.
public struct PageMap: ~Copyable {
    private let file: FileDescriptor
    private static let pageShift: UInt64 = 12

    /// Opens the pagemap of a process.
    public init(process: Int32) throws(Errno) {
        file = try FileDescriptor(open: "/proc/\(process)/pagemap", O_RDONLY)
    }

    /// What is behind an address; nil if the kernel does not tell.
    public func frame(of address: HVA) -> HostFrame? {
        var entry: UInt64 = 0
        let count = withUnsafeMutableBytes(of: &entry) { buffer in
            try? file.read(at: address.rawValue >> PageMap.pageShift &* 8, into: buffer)
        }
        guard count == 8 else { return nil }
        if entry & 1 << 62 != 0 { return .swapped }
        guard entry & 1 << 63 != 0 else { return .absent }
        let number = entry & ((1 << 55) - 1)
        guard number != 0 else { return .hidden }
        return .present(HPA(number << PageMap.pageShift | address.rawValue & 4095))
    }
}

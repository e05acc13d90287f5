// A machine's memory in a file: an ELF core of QEMU or libvirt (`dump-guest-memory`, `virsh dump --memory-only`), or a raw
// image.

import Addresses
import Glibc
import GuestMemory
import SystemCalls

/// A machine's memory in a file, and the registers of its CPUs if the file has them. Safe on any thread.
///
/// The file is read where it is asked for (pread(2)) and never mapped: one that shrinks meanwhile is missing pages, not a
/// SIGBUS.
public final class CoreFile: PhysicalMemory, Sendable {
    /// What kind of file it is.
    public enum Kind: Hashable, Sendable {
        /// An ELF core: of `i386`, `x86-64` or `arm`, with 32-bit or 64-bit headers.
        case core(machine: String, is64Bit: Bool)
        /// RAM from address 0 on, byte for byte.
        case rawImage
    }

    /// The path.
    public let path: String
    /// What kind of file it is.
    public let kind: Kind
    /// What physical memory is in it, by ascending address, without overlaps.
    public let segments: [CoreSegment]
    /// RAM of which the file has the place, but (beyond `segments`) not the contents: a dump of tables alone.
    public let emptyRanges: [ClosedRange<GPA>]
    /// RAM that is zeros and therefore not in the file.
    public let zeroRanges: [ClosedRange<GPA>]
    /// What Vitrine added for each CPU, in dumps that it saved.
    public let savedCPUs: [SavedCPU]
    /// What the CPUs of an ARM machine translate by, in dumps that Vitrine saved.
    public let armCPUs: [SavedARMCPU]
    /// The layout's name, in dumps that Vitrine saved of a guest whose layout it knew.
    public let layout: String?
    /// The CPUs; none in a raw image, or in a core that QEMU did not write.
    public let cpus: [CoreCPU]
    private let file: SharedDescriptor
    private let copies = PageCopies()

    /// The largest note segment that is read: 65,536 CPUs have about 50 MB.
    private static let noteLimit: UInt64 = 256 << 20

    /// Opens a file. One that is no ELF file, nor any other known format, is taken for a raw image.
    public init(path: String) throws(CoreError) {
        self.path = path
        let size: UInt64
        let head: [UInt8]
        do throws(Errno) {
            let file = try FileDescriptor(open: path, O_RDONLY | O_NONBLOCK)
            guard case .regular(let bytes) = try file.kind() else { throw Errno(EINVAL, "\(path) is no regular file") }
            size = bytes
            self.file = SharedDescriptor(file)
        } catch {
            throw .call(error)
        }
        guard size > 0 else { throw .format("the file is empty") }
        head = try file.descriptor.bytes(at: 0, count: min(16, size), what: "the beginning", size: size)
        try CoreFile.refuseOtherFormats(head)
        guard ELFHeaders.isELF(head) else {
            guard size >= 4096 else { throw .format("no ELF core, and with \(size) bytes no image of a machine's RAM") }
            kind = .rawImage
            segments = [CoreSegment(start: GPA(0), size: size & ~4095, offset: 0)]
            cpus = []
            emptyRanges = []
            zeroRanges = []
            savedCPUs = []
            armCPUs = []
            layout = nil
            return
        }
        let headers = try ELFHeaders(file.descriptor, size: size)
        kind = .core(machine: ELFHeaders.machines[headers.machine] ?? "unknown", is64Bit: headers.is64Bit)
        segments = try CoreSegment.segments(headers.segments, fileSize: size)
        guard !segments.isEmpty else { throw .format("a core without memory") }
        emptyRanges = try CoreSegment.emptyRanges(headers.segments)
        zeroRanges = try CoreSegment.zeroRanges(headers.segments)
        var notes = CoreNotes()
        for header in headers.segments where header.type == ProgramHeader.note {
            guard header.fileSize <= CoreFile.noteLimit else { throw .header("notes of \(header.fileSize) bytes") }
            let bytes = try file.descriptor.bytes(
                at: header.offset, count: header.fileSize, what: "the note segment", size: size)
            try notes.add(bytes)
        }
        cpus = notes.cpus
        savedCPUs = notes.saved
        armCPUs = notes.arm
        layout = notes.layout
    }

    private static func refuseOtherFormats(_ head: [UInt8]) throws(CoreError) {
        for (magic, what) in [
            ("KDUMP   ", "a kdump-compressed dump; make one without a format, or with --format elf"),
            ("makedumpfile", "a flattened makedumpfile dump; make one without a format, or with --format elf"),
            ("LibvirtQemudSave", "a libvirt save image; use virsh dump --memory-only"),
            ("LibvirtQemudPart", "an unfinished libvirt save image; use virsh dump --memory-only"),
        ] where head.starts(with: Array(magic.utf8).prefix(16)) { throw .format(what) }
    }

    /// The segment that holds an address.
    private func segment(containing address: GPA) -> CoreSegment? {
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            if segments[middle].start <= address { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return nil }
        let segment = segments[low - 1]
        return address &- segment.start < segment.size ? segment : nil
    }

    /// How many bytes from an address on are zeros that the file does not hold.
    private func zeros(from address: GPA, atMost limit: Int) -> Int {
        var low = 0
        var high = zeroRanges.count
        while low < high {
            let middle = (low + high) / 2
            if zeroRanges[middle].upperBound < address { low = middle + 1 } else { high = middle }
        }
        guard low < zeroRanges.count, zeroRanges[low].contains(address) else { return 0 }
        var last = zeroRanges[low].upperBound
        // A segment that has the bytes comes first.
        if let next = firstSegment(after: address), next <= last { last = GPA(next.rawValue &- 1) }
        return Int(min(UInt64(limit), (last &- address) &+ 1))
    }

    /// The start of the first segment behind an address that is in none.
    private func firstSegment(after address: GPA) -> GPA? {
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            if segments[middle].start <= address { low = middle + 1 } else { high = middle }
        }
        return low < segments.count ? segments[low].start : nil
    }

    /// Copies bytes out of the file; false if one of them is not in it.
    public func read(_ address: GPA, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var done = 0
        while done < buffer.count {
            guard let current = address.advanced(by: UInt64(done)) else { return false }
            guard let segment = segment(containing: current) else {
                let count = zeros(from: current, atMost: buffer.count - done)
                guard count > 0 else { return false }
                UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
                    .initializeMemory(as: UInt8.self, repeating: 0)
                done += count
                continue
            }
            let inside = current &- segment.start
            let count = Int(min(UInt64(buffer.count - done), segment.size - inside))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
            guard (try? file.descriptor.read(at: segment.offset + inside, into: part)) == count else { return false }
            done += count
        }
        return true
    }

    /// A copy of the page that holds `address`, or nil if it is not all in the file.
    public func page(at address: GPA) -> UnsafeRawPointer? {
        copies.page(address.rawValue >> 12) { read(address.alignedDown(to: 4096), into: $0) }
    }

    /// Reads every page again when it is next asked for.
    public func refresh() { copies.refresh() }
}

// Kernel memory through /proc/kcore: the fallback where BPF is refused. The file is an ELF core of the running kernel
// (fs/proc/kcore.c): a segment for the direct map, the kernel's image, its modules. Needs CAP_SYS_RAWIO and no lockdown.

import Glibc
import SystemCalls

/// Kernel memory, read from /proc/kcore.
public final class KcoreMemory: KernelMemory {
    /// `/proc/kcore`.
    public let name = "/proc/kcore"
    private let file: FileDescriptor
    private let segments: [KcoreSegment]

    /// Opens it.
    public init(path: String = "/proc/kcore") throws(SecondStageError) {
        do throws(Errno) {
            file = try FileDescriptor(open: path, O_RDONLY)
            var header = [UInt8](repeating: 0, count: 64)
            guard try file.readAll(at: 0, into: &header) == 64 else { throw Errno(ENOEXEC, "read \(path)") }
            segments = try KcoreSegment.all(header, of: file)
        } catch {
            switch error.code {
            case ENOENT: throw .missing("this kernel has no \(path)")
            case EACCES, EPERM:
                throw .refused(
                    what: "\(path) may not be read",
                    remedy: "run as root, with CAP_SYS_RAWIO, on a kernel without lockdown")
            default: throw .call(error)
            }
        }
    }

    /// Reads pieces, in order.
    public func read(
        _ pieces: [KernelPiece], _ body: (Int, UnsafeRawBufferPointer?) throws(SecondStageError) -> Void
    ) throws(SecondStageError) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        for (index, piece) in pieces.enumerated() {
            let size = min(max(piece.size, 1), 4096)
            guard let offset = KcoreSegment.offset(of: piece.address, size: size, in: segments) else {
                try body(index, nil)
                continue
            }
            var complete = false
            buffer.withUnsafeMutableBytes { bytes in
                let part = UnsafeMutableRawBufferPointer(rebasing: bytes[..<size])
                complete = (try? file.readAll(at: offset, into: part)) == size
            }
            // A closure cannot say what it throws inside withUnsafeBytes: the bytes go by a copy of their own.
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
            defer { copy.deallocate() }
            copy.copyBytes(from: buffer.prefix(size))
            try body(index, complete ? UnsafeRawBufferPointer(copy) : nil)
        }
    }
}

/// A segment of an ELF core: consecutive kernel addresses.
struct KcoreSegment: Hashable, Sendable {
    /// The first kernel address.
    let address: UInt64
    /// The size in bytes.
    let size: UInt64
    /// Where in the file it begins.
    let offset: UInt64

    /// The PT_LOAD segments of a 64-bit little-endian ELF file (System V ABI, chapters 4 and 5).
    static func all(_ header: [UInt8], of file: borrowing FileDescriptor) throws(Errno) -> [KcoreSegment] {
        func number(_ bytes: [UInt8], _ offset: Int, _ size: Int) -> UInt64 {
            (0..<size).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
        }
        guard header.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1]) else { throw Errno(ENOEXEC, "ELF header of kcore") }
        let start = number(header, 32, 8)
        let entrySize = Int(number(header, 54, 2))
        let count = Int(number(header, 56, 2))
        guard entrySize == 56, count > 0 else { throw Errno(ENOEXEC, "program headers of kcore") }
        var bytes = [UInt8](repeating: 0, count: count * entrySize)
        guard try file.readAll(at: start, into: &bytes) == bytes.count else {
            throw Errno(ENOEXEC, "program headers of kcore")
        }
        return stride(from: 0, to: bytes.count, by: entrySize).compactMap { at in
            // PT_LOAD is 1.
            guard number(bytes, at, 4) == 1 else { return nil }
            return KcoreSegment(
                address: number(bytes, at + 16, 8), size: number(bytes, at + 32, 8), offset: number(bytes, at + 8, 8))
        }
    }

    /// Where in the file a range of kernel addresses is; nil if no segment has all of it.
    static func offset(of address: UInt64, size: Int, in segments: [KcoreSegment]) -> UInt64? {
        for segment in segments {
            let inside = address &- segment.address
            if inside < segment.size, UInt64(size) <= segment.size - inside { return segment.offset &+ inside }
        }
        return nil
    }
}

extension KernelVM {
    /// Finds the VM of a process without BPF: in the module kvm's own list of VMs, whose address /proc/kallsyms shows to root.
    static func openByKcore(process: Int32, index: Int?) throws(SecondStageError) -> KernelVM {
        let memory = try KcoreMemory()
        let layout = try KVMLayout(KernelTypes())
        guard let list = KernelSymbols.addresses(of: ["vm_list"])["vm_list"] else {
            throw .refused(
                what: "the address of the kernel's vm_list is hidden",
                remedy: "run as root, with kernel.kptr_restrict below 2")
        }
        guard let link = layout.vm.list, let userspace = layout.vm.process else {
            throw .unknownLayout(structure: "struct kvm", field: "vm_list or userspace_pid")
        }
        func find() throws(SecondStageError) -> [UInt64] {
            for _ in 0..<20 {
                var vms: [UInt64] = []
                var position = list
                var whole = false
                // At most so many VMs a host, and then the list is taken to be broken.
                for _ in 0..<4096 {
                    guard let next = try memory.words([position])[0] else { break }
                    if next == list {
                        whole = true
                        break
                    }
                    vms.append(next &- UInt64(link))
                    position = next
                }
                guard whole else { continue }
                // The thread that made the VM is one of the process's.
                let threads = try memory.words(vms.map { $0 &+ UInt64(userspace) })
                return zip(vms, threads).compactMap { vm, word in
                    guard let thread = word.map({ UInt32(truncatingIfNeeded: $0) }) else { return nil }
                    return access("/proc/\(process)/task/\(thread)", F_OK) == 0 ? vm : nil
                }
            }
            throw .keepsChanging("KVM's list of VMs")
        }
        let vms = try find()
        guard !vms.isEmpty else {
            guard ProcessMemory.exists(process) else { throw .processGone(process) }
            throw .noVM(process: process)
        }
        guard vms.count == 1 || index != nil, vms.indices.contains(index ?? 0) else {
            throw .severalVMs(process: process, count: vms.count)
        }
        let chosen = vms[index ?? 0]
        return KernelVM(process: process, memory: memory, address: chosen, hostPageTable: 0, layout: layout) {
            () throws(SecondStageError) -> Bool in
            try find().contains(chosen)
        }
    }
}

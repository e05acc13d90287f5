// Kernel memory through BPF: loads the programs of BPF/kernel-reader.bpf.c and runs them. All that is loaded belongs to
// descriptors of this process, so the kernel lets go of it when the process ends, however it ends.

import CBPF
import Glibc
import SystemCalls

/// A file of KVM that a process has open.
public struct KernelVMFile: Hashable, Sendable {
    /// The descriptor's number in that process.
    public let descriptor: UInt32
    /// The kernel address of its struct kvm, or struct kvm_vcpu.
    public let object: UInt64
    /// Whether it is a vCPU's.
    public let isVCPU: Bool
    /// The kernel address of the process's struct mm_struct.
    public let memory: UInt64
    /// The kernel address of the process's top page table.
    public let pageTable: UInt64
}

/// Kernel memory as BPF programs read it. Needs CAP_BPF and CAP_PERFMON.
public final class BPFKernelMemory: KernelMemory {
    /// `BPF`.
    public let name = "BPF"
    private let object: OpaquePointer
    private let iterator: OpaquePointer
    private let readPieces: Int32
    private let walkList: Int32
    private let control: UnsafeMutablePointer<Control>
    private let pieces: UnsafeMutablePointer<Piece>
    private let pages: UnsafeMutableRawPointer

    /// struct control of kernel-reader.bpf.c, without the pieces that follow it.
    private struct Control {
        var count: UInt32 = 0
        var elementSize: UInt32 = 0
        var next: UInt64 = 0
        var head: UInt64 = 0
        var previous: UInt64 = 0
        var linkOffset: UInt32 = 0
        var status: Int32 = 0
        var process: Int32 = 0
        var unused: UInt32 = 0
    }

    /// struct piece of kernel-reader.bpf.c.
    private struct Piece {
        var address: UInt64
        var size: UInt32
        var result: Int32
    }

    /// PIECES, ELEMENT_SIZE and ELEMENTS of kernel-reader.bpf.c.
    private static let pieceCount = 1024
    private static let elementSize = 256
    private static let elementCount = pieceCount * 4096 / elementSize
    private static let controlSize = (MemoryLayout<Control>.stride + pieceCount * 16 + 4095) / 4096 * 4096

    /// Loads the programs.
    public init() throws(SecondStageError) {
        vitrine_bpf_quiet()
        let bytes = Self.objectFile()
        var opened: OpaquePointer?
        let error = bytes.withUnsafeBytes { vitrine_bpf_load($0.baseAddress, $0.count, &opened) }
        guard error == 0, let opened else { throw Self.loadError(-error) }
        guard let iterator = bpf_object__find_program_by_name(opened, "find_vm_files"),
            let readPieces = bpf_object__find_program_by_name(opened, "read_pieces"),
            let walkList = bpf_object__find_program_by_name(opened, "walk_list")
        else {
            bpf_object__close(opened)
            throw .missing("the BPF programs of this build are damaged: build it again")
        }
        var failure: Int32 = 0
        let controlMap = bpf_object__find_map_fd_by_name(opened, "controls")
        let control = vitrine_bpf_map(controlMap, Self.controlSize, &failure)
        let pagesMap = bpf_object__find_map_fd_by_name(opened, "pages")
        let pages = vitrine_bpf_map(pagesMap, Self.pieceCount * 4096, &failure)
        guard let control, let pages else {
            if let control { munmap(control, Self.controlSize) }
            bpf_object__close(opened)
            throw .call(Errno(failure, "mmap of a BPF map"))
        }
        object = opened
        self.iterator = iterator
        self.readPieces = bpf_program__fd(readPieces)
        self.walkList = bpf_program__fd(walkList)
        self.control = control.bindMemory(to: Control.self, capacity: 1)
        pieces = (control + MemoryLayout<Control>.stride).bindMemory(to: Piece.self, capacity: Self.pieceCount)
        self.pages = pages
    }

    deinit {
        munmap(control, Self.controlSize)
        munmap(pages, Self.pieceCount * 4096)
        bpf_object__close(object)
    }

    /// Reads pieces, in order.
    public func read(
        _ wanted: [KernelPiece], _ body: (Int, UnsafeRawBufferPointer?) throws(SecondStageError) -> Void
    ) throws(SecondStageError) {
        var done = 0
        while done < wanted.count {
            let count = min(Self.pieceCount, wanted.count - done)
            for index in 0..<count {
                let piece = wanted[done + index]
                pieces[index] = Piece(
                    address: piece.address, size: UInt32(truncatingIfNeeded: min(max(piece.size, 1), 4096)), result: -1)
            }
            control.pointee.count = UInt32(truncatingIfNeeded: count)
            try run(readPieces)
            for index in 0..<count {
                let piece = pieces[index]
                let bytes = UnsafeRawBufferPointer(start: pages + index * 4096, count: Int(piece.size))
                try body(done + index, piece.result == 0 ? bytes : nil)
            }
            done += count
        }
    }

    /// Follows a list in the kernel, in one run for as many elements as the buffer holds.
    public func list(
        head: UInt64, linkOffset: Int, size: Int, limit: Int
    ) throws(SecondStageError) -> [KernelListElement]? {
        guard let first = try words([head])[0] else { return nil }
        // Never made: a list that this VM has no use for.
        if first == 0 { return [] }
        let size = min(size, Self.elementSize)
        control.pointee.elementSize = UInt32(truncatingIfNeeded: size)
        control.pointee.linkOffset = UInt32(truncatingIfNeeded: linkOffset)
        control.pointee.head = head
        control.pointee.previous = head
        control.pointee.next = first
        var elements: [KernelListElement] = []
        var link = first
        while elements.count <= limit {
            try run(walkList)
            let count = min(Int(control.pointee.count), Self.elementCount)
            for index in 0..<count {
                let bytes = UnsafeRawBufferPointer(start: pages + index * Self.elementSize, count: size)
                elements.append(KernelListElement(address: link &- UInt64(linkOffset), bytes: Array(bytes)))
                link = bytes.loadUnaligned(fromByteOffset: linkOffset, as: UInt64.self)
            }
            switch control.pointee.status {
            case 1: return elements
            case 0 where count > 0: continue
            default: return nil
            }
        }
        return nil
    }

    /// The files of KVM that a process has open, each object once.
    public func files(of process: Int32) throws(SecondStageError) -> [KernelVMFile] {
        control.pointee.process = process
        let result = vitrine_bpf_iterate(iterator, UInt32(bitPattern: process))
        guard result >= 0 else {
            if result == -ESRCH { throw .processGone(process) }
            throw .call(Errno(-result, "bpf iterator over the files of process \(process)"))
        }
        let descriptor = FileDescriptor(owning: result)
        var bytes: [UInt8] = []
        do throws(Errno) {
            var buffer = [UInt8](repeating: 0, count: 65536)
            while true {
                let count = try systemCall("read of a bpf iterator") {
                    let count = Glibc.read(descriptor.rawValue, &buffer, buffer.count)
                    return count < 0 ? -Int(errno) : count
                }
                if count == 0 { break }
                bytes += buffer.prefix(count)
            }
        } catch {
            throw .call(error)
        }
        var seen: Set<UInt64> = []
        return bytes.withUnsafeBytes { buffer in
            // struct file_record of kernel-reader.bpf.c.
            stride(from: 0, to: buffer.count / 40 * 40, by: 40).compactMap { start in
                let object = buffer.loadUnaligned(fromByteOffset: start + 8, as: UInt64.self)
                guard object != 0, seen.insert(object).inserted else { return nil }
                return KernelVMFile(
                    descriptor: buffer.loadUnaligned(fromByteOffset: start + 4, as: UInt32.self), object: object,
                    isVCPU: buffer.loadUnaligned(fromByteOffset: start + 32, as: UInt32.self) != 0,
                    memory: buffer.loadUnaligned(fromByteOffset: start + 16, as: UInt64.self),
                    pageTable: buffer.loadUnaligned(fromByteOffset: start + 24, as: UInt64.self))
            }
        }
    }

    private func run(_ program: Int32) throws(SecondStageError) {
        let result = vitrine_bpf_run(program)
        guard result >= 0 else { throw .call(Errno(-result, "running a BPF program")) }
    }

    /// - Parameter isLockedDown: the kernel is locked down to confidentiality: then it does not know the helper that reads its
    ///   memory (EINVAL), as a kernel that is too old does not.
    static func loadError(_ code: Int32, isLockedDown: Bool = Lockdown.isConfidential) -> SecondStageError {
        if isLockedDown, [EPERM, EACCES, EINVAL].contains(code) {
            return .refused(
                what: "this kernel is locked down to confidentiality: nobody may read its memory",
                remedy: "boot it without lockdown=confidentiality; ept --source computed works all the same")
        }
        switch code {
        case EPERM, EACCES:
            return .refused(
                what: "the kernel refuses BPF programs that read its memory",
                remedy:
                    "run as root or with CAP_BPF and CAP_PERFMON"
            )
        case ENOENT, ESRCH:
            return .missing(
                "this kernel has no type information (/sys/kernel/btf/vmlinux): it needs CONFIG_DEBUG_INFO_BTF")
        case EINVAL:
            return .missing(
                "this kernel cannot load the BPF programs (\(Errno.text(code))): it needs Linux 5.19 or newer")
        default: return .call(Errno(code, "loading the BPF programs"))
        }
    }

    private static func objectFile() -> [UInt8] {
        func digit(_ character: UInt8) -> UInt8 {
            character < UInt8(ascii: "a") ? character &- UInt8(ascii: "0") : character &- UInt8(ascii: "a") &+ 10
        }
        let text = UnsafeBufferPointer(start: kernelReaderObject.utf8Start, count: kernelReaderObject.utf8CodeUnitCount)
        return [UInt8](unsafeUninitializedCapacity: text.count / 2) { buffer, count in
            count = text.count / 2
            for index in 0..<count {
                buffer[index] = digit(text[2 * index]) << 4 | digit(text[2 * index + 1])
            }
        }
    }
}

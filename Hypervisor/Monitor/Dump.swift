// The guest's memory as an ELF core, written on the thread of transfers while the guest stands.

import Addresses
import Cores
import Glibc
import GuestMemory
import JSON
import KVM
import Machine
import SavedGuests
import SystemCalls

/// A dump and what became of the last one. Lives on the control thread.
final class Dump {
    private struct Shared {
        var isDone = false
        var failure: SavedGuestError?
        var completed: UInt64 = 0
        var total: UInt64 = 0
    }

    private struct Run {
        /// nil once it is over: whoever reads a pipe waits for its end.
        var stream: TransferStream?
        let shared: Guarded<Shared>
        var thread: TaskThread?
        var failure: String?
        /// The connection that waits for the end; nil: it was told `detach`.
        let connection: Int?
    }

    private var run: Run?

    /// Whether one is under way.
    var isActive: Bool { run?.thread != nil }

    /// Begins a dump.
    ///
    /// - Parameters:
    ///   - connection: who is to be answered at the end, if anybody.
    ///   - wake: called at the end, on the dump's thread.
    func begin(
        _ machine: Machine, to descriptor: SharedDescriptor, layout: String, connection: Int?,
        wake: @escaping @Sendable () -> Void
    ) throws(QMPError) {
        let stream = TransferStream(descriptor)
        let shared = Guarded(Shared())
        do throws(Errno) {
            let thread = machine.threads.transfer
            try thread.begin {
                var failure: SavedGuestError?
                do throws(SavedGuestError) {
                    try writeCore(of: machine, to: descriptor, stream, layout: layout) { done, total in
                        shared.withLock {
                            $0.completed = done
                            $0.total = total
                        }
                    }
                } catch { failure = error }
                shared.withLock {
                    $0.failure = failure
                    $0.isDone = true
                }
                wake()
            }
            run = Run(stream: stream, shared: shared, thread: thread, connection: connection)
        } catch {
            throw .generic(error.description)
        }
    }

    /// The end of a dump, told once: why it failed, if it did, and who is to be answered.
    func takeOutcome() -> (failure: String?, connection: Int?)? {
        guard let current = run, let thread = current.thread, current.shared.withLock({ $0.isDone }) else { return nil }
        thread.wait()
        run?.thread = nil
        run?.stream = nil
        let failure = current.shared.withLock { $0.failure?.description }
        run?.failure = failure
        return (failure, current.connection)
    }

    /// Calls a dump off and waits for its thread.
    func end() {
        run?.stream?.cancel()
        run?.thread?.wait()
        run?.thread = nil
    }

    /// The answer to `query-dump` (QEMU's DumpQueryResult).
    var status: JSON {
        guard let run else { return ["status": "none", "completed": 0, "total": 0] }
        let (completed, total) = run.shared.withLock { ($0.completed, $0.total) }
        let word = run.thread != nil ? "active" : run.failure == nil ? "completed" : "failed"
        return ["status": .string(word), "completed": JSON(completed), "total": JSON(total)]
    }
}

/// Writes a core of a machine that stands. On any thread but its vCPUs'.
///
/// - Parameters:
///   - stream: the same descriptor, to be written so that it can be called off.
///   - progress: gets the bytes written and those to write.
func writeCore(
    of machine: Machine, to descriptor: SharedDescriptor, _ stream: TransferStream, layout: String,
    progress: (UInt64, UInt64) -> Void
) throws(SavedGuestError) {
    var notes = CoreWriter()
    notes.layout = layout
    for vcpu in 0..<machine.configuration.vcpus {
        do throws(MachineError) {
            let registers = try machine.registers(vcpu: vcpu)
            notes.cpus.append(CoreCPU(registers))
            notes.savedCPUs.append(
                SavedCPU(
                    efer: registers.efer, pat: registers.pat,
                    maxPhysicalAddressBits: registers.maxPhysicalAddressBits))
        } catch { throw .unsuitable("the registers of vCPU \(vcpu) cannot be read: \(error)") }
    }
    var runs: [CoreRun] = []
    machine.ram.nonzero(limit: Int.max) { (address, bytes) throws(Never) in
        runs.append(CoreRun(start: address, size: UInt64(bytes.count)))
    }
    var isRegular = false
    if case .regular? = try? descriptor.descriptor.kind() { isRegular = true }
    let core = MemoryCore(
        isRegular ? .file : .stream,
        slots: machine.slots.slots.map { CoreRun(start: $0.guestPhysicalAddress, size: $0.size) }, runs: runs,
        notes: notes)
    var place: UInt64 = 0
    // What lies before the descriptor's place is somebody else's.
    let origin = isRegular ? lseek(descriptor.rawValue, 0, Int32(SEEK_CUR)) : 0
    try core.write { (offset, piece) throws(SavedGuestError) in
        if offset != place, lseek(descriptor.rawValue, origin + Int(offset), Int32(SEEK_SET)) < 0 {
            throw .call(Errno(errno, "lseek"))
        }
        switch piece {
        case .head(let bytes):
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
            defer { copy.deallocate() }
            copy.copyBytes(from: bytes)
            try stream.write(UnsafeRawBufferPointer(copy))
            place = offset + UInt64(bytes.count)
        case .memory(let run):
            guard let pieces = machine.ram.pieces(at: run.start, count: run.size) else {
                throw .unsuitable("RAM at \(run.start.hex) is not there")
            }
            for piece in pieces { try stream.write(UnsafeRawBufferPointer(piece)) }
            place = offset + run.size
        }
        progress(place, core.size)
    }
    if isRegular {
        do throws(Errno) { try descriptor.descriptor.truncate(to: origin + Int(core.size)) } catch {
            throw .call(error)
        }
    }
    progress(core.size, core.size)
}

extension CoreCPU {
    /// A vCPU's registers as a core has them.
    init(_ r: VCPURegisters) {
        self.init(
            registers: [
                "rax": r.rax, "rbx": r.rbx, "rcx": r.rcx, "rdx": r.rdx, "rsi": r.rsi, "rdi": r.rdi, "rsp": r.rsp,
                "rbp": r.rbp, "r8": r.r8, "r9": r.r9, "r10": r.r10, "r11": r.r11, "r12": r.r12, "r13": r.r13,
                "r14": r.r14, "r15": r.r15, "rip": r.rip, "rflags": r.rflags, "cr0": r.cr0, "cr2": r.cr2,
                "cr3": r.cr3, "cr4": r.cr4, "kernel_gs_base": r.kernelGSBase,
            ],
            segments: [
                ("cs", r.cs), ("ds", r.ds), ("es", r.es), ("fs", r.fs), ("gs", r.gs), ("ss", r.ss), ("ldt", r.ldt),
                ("tr", r.tr),
            ].map { name, segment in
                CoreSegmentRegister(
                    name: name, selector: UInt32(segment.selector), limit: segment.limit,
                    flags: (accessRights(segment) & 0xf0ff) << 8, base: segment.base)
            }
                + [("gdt", r.gdt), ("idt", r.idt)].map { name, table in
                    CoreSegmentRegister(name: name, selector: 0, limit: UInt32(table.limit), flags: 0, base: table.base)
                })
    }
}

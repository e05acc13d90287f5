// A machine in a file: `core:FILE`.

import Addresses
import Cores
import GuestMemory
import JSON
import PageTables
import SystemCalls

/// An ELF core of QEMU or libvirt, or a raw image of RAM.
public final class CoreTarget: Target {
    /// `core:` and the path.
    public let name: String
    /// The file.
    public let file: CoreFile
    /// What physical memory is in the file. The host addresses mean nothing.
    public let slots: SlotTable
    /// No process.
    public var pid: Int32 { 0 }
    /// Known of dumps that Vitrine saved.
    public var layout: String? { file.layout }
    /// The CPUs whose registers are in the file.
    public var vcpuCount: Int { max(file.cpus.count, file.armCPUs.count) }
    /// Whether it is an ARM machine's core.
    public var isARM: Bool {
        if case .core(let machine, _) = file.kind { return machine == "arm" }
        return false
    }
    /// The file's contents.
    public var memory: TargetMemory { .other(file) }
    /// A file.
    public var memorySource: String { "file" }
    /// It stands still.
    public var isLive: Bool { false }

    /// Opens a file.
    public init(path: String) throws(TargetError) {
        name = "core:" + path
        do throws(CoreError) {
            file = try CoreFile(path: path)
        } catch {
            switch error {
            case .call(let error) where error.code == 2: throw .noSuchTarget("\(error)")
            // Not a file that can hold a dump.
            case .call(let error) where error.code == 22: throw .input(error.call)
            case .call(let error): throw .call(error)
            default: throw .input("\(path): \(error)")
            }
        }
        do throws(SlotError) {
            slots = try SlotTable(CoreTarget.slots(file))
        } catch {
            throw .memory(.slots(error))
        }
    }

    /// Whole pages of the RAM that the file speaks of: of a dump of tables alone the RAM around them, else the segments.
    /// Pages that have parts of two segments are rare enough to be lost.
    private static func slots(_ file: CoreFile) -> [MemorySlot] {
        let filled =
            file.zeroRanges.isEmpty
            ? file.segments.map(\.range) : CoreSegment.merged(file.segments.map(\.range) + file.zeroRanges)
        let ranges = file.emptyRanges.isEmpty ? filled : file.emptyRanges
        return ranges.enumerated().compactMap { index, range in
            let start = range.lowerBound &+ 4095
            guard start >= range.lowerBound else { return nil }
            let first = start.alignedDown(to: 4096)
            guard first <= range.upperBound else { return nil }
            let size = ((range.upperBound &- first) &+ 1) & ~4095
            guard size != 0 else { return nil }
            return MemorySlot(
                id: UInt32(truncatingIfNeeded: index), name: "segment \(index)", guestPhysicalAddress: first,
                size: size,
                userspaceAddress: HVA(first.rawValue))
        }
    }

    /// The registers of a CPU at the moment of the dump.
    ///
    /// QEMU does not write EFER (dumps that Vitrine saved have it): LME and LMA are taken from the core's machine and CS.L, NXE is assumed where the processor
    /// can have it, and MAXPHYADDR to be 52.
    public func registers(vcpu: Int) throws(TargetError) -> TargetRegisters {
        guard vcpuCount != 0 else {
            throw .unable(
                file.kind == .rawImage
                    ? "'\(name)' is a raw image without registers: --root PA names the tables"
                    : "'\(name)' has no CPU notes of QEMU: --root PA names the tables")
        }
        guard (0..<vcpuCount).contains(vcpu) else {
            throw .input("'\(name)' has \(vcpuCount) CPUs, numbered from 0; there is no CPU \(vcpu)")
        }
        if file.armCPUs.indices.contains(vcpu) { return CoreTarget.registers(of: file.armCPUs[vcpu]) }
        guard file.cpus.indices.contains(vcpu) else {
            throw .input("'\(name)' has the registers of \(file.cpus.count) CPUs; those of CPU \(vcpu) are not there")
        }
        let cpu = file.cpus[vcpu]
        var values: [(name: String, value: UInt64)] = CoreCPU.names.map { ($0, cpu[$0]) }
        for register in ["cr0", "cr2", "cr3", "cr4"] { values.append((register, cpu[register])) }
        let pagesWithPAE = cpu["cr0"] & 1 << 31 != 0 && cpu["cr4"] & 1 << 5 != 0
        var isLong = false
        if case .core(let machine, _) = file.kind { isLong = machine == "x86-64" }
        let code = cpu.segments.first { $0.name == "cs" }
        // DESC_L_MASK: bit 21 of the descriptor's second word.
        isLong = isLong || (code?.flags ?? 0) & 1 << 21 != 0
        let saved = file.savedCPUs.indices.contains(vcpu) ? file.savedCPUs[vcpu] : nil
        values.append(("efer", saved?.efer ?? (pagesWithPAE ? (isLong ? 0xd00 : 0x800) : 0)))
        if let saved, saved.pat != 0 { values.append(("pat", saved.pat)) }
        return TargetRegisters(
            values: values,
            segments: cpu.segments.map { segment in
                (
                    segment.name,
                    TargetSegment(
                        selector: UInt64(segment.selector), base: segment.base, limit: UInt64(segment.limit),
                        flags: UInt64(segment.flags))
                )
            }, maxPhysicalAddressBits: saved.map { Int($0.maxPhysicalAddressBits) } ?? 52)
    }

    /// The registers of an ARM CPU, as far as a saved dump has them.
    private static func registers(of cpu: SavedARMCPU) -> TargetRegisters {
        var paging = ARMPagingState(
            sctlr: cpu.sctlr, ttbcr: cpu.ttbcr, ttbr0: cpu.ttbr0, ttbr1: cpu.ttbr1, dacr: cpu.dacr)
        paging.hasPXN = cpu.hasPXN
        return TargetRegisters(
            values: [
                ("sctlr", UInt64(cpu.sctlr)), ("ttbcr", UInt64(cpu.ttbcr)), ("ttbr0", UInt64(cpu.ttbr0)),
                ("ttbr1", UInt64(cpu.ttbr1)), ("dacr", UInt64(cpu.dacr)),
            ], segments: [], maxPhysicalAddressBits: 40, arm: paging)
    }

    /// Nothing runs.
    public func pause() throws(TargetError) -> Bool { false }

    /// Nothing can run.
    public func resume() throws(TargetError) {
        throw .unable("'\(name)' is a file: nothing in it can run")
    }

    /// What is in the file.
    public func info() throws(TargetError) -> JSON {
        let kind: JSON
        switch file.kind {
        case .rawImage: kind = "raw image"
        case .core(let machine, _): kind = .string("core of \(machine)")
        }
        return .object([
            JSONMember("name", .string(name)), JSONMember("kind", kind), JSONMember("vcpus", JSON(vcpuCount)),
            JSONMember("memory", JSON(file.segments.reduce(0) { $0 &+ $1.size })),
        ])
    }
}

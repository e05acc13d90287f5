// A target's page tables as a file that `core:` reads back.

import Addresses
import Cores
import GuestMemory
import PageTables

extension CoreWriter {
    /// The page tables of every vCPU of a target (and those below a further root), with the RAM map and the registers.
    ///
    /// - Parameter further: a root to save besides those that the vCPUs use.
    public init(
        tablesOf target: any Target, further: (format: PageTableFormat, root: GPA)? = nil
    ) throws(TargetError) {
        try self.init(registersOf: target)
        ram = target.slots.slots.map { $0.guestPhysicalAddress...($0.guestPhysicalAddress &+ ($0.size &- 1)) }
        if let further {
            add(further.format, further.root, target.memory)
            if further.format.name.hasPrefix("ARM") { machine = .arm }
        }
        for vcpu in 0..<target.vcpuCount {
            guard case .tables(let space) = try target.registers(vcpu: vcpu).translation else { continue }
            for region in space.regions { add(region.format, region.root, target.memory) }
        }
        try target.checkReads()
    }

    /// The registers of every vCPU of a target, and its layout's name.
    public init(registersOf target: any Target) throws(TargetError) {
        self.init()
        layout = target.layout
        for vcpu in 0..<target.vcpuCount {
            let registers = try target.registers(vcpu: vcpu)
            if let arm = registers.arm {
                machine = .arm
                armCPUs.append(
                    SavedARMCPU(
                        sctlr: arm.sctlr, ttbcr: arm.ttbcr, ttbr0: arm.ttbr0, ttbr1: arm.ttbr1, dacr: arm.dacr,
                        hasPXN: arm.hasPXN))
                continue
            }
            if vcpu == 0 && registers.efer & 1 << 10 == 0 { machine = .i386 }
            var values: [String: UInt64] = [:]
            for (name, value) in registers.values { values[name] = value }
            values["kernel_gs_base"] = registers["kernel-gs-base"]
            cpus.append(
                CoreCPU(
                    registers: values,
                    segments: registers.segments.map { name, segment in
                        CoreSegmentRegister(
                            name: name, selector: UInt32(segment.selector), limit: segment.limit,
                            flags: (segment.attributes & 0xf0ff) << 8, base: segment.base)
                    }))
            savedCPUs.append(
                SavedCPU(
                    efer: registers.efer, pat: registers["pat"] ?? 0,
                    maxPhysicalAddressBits: registers.maxPhysicalAddressBits))
        }
    }

    /// The pages of all tables below a root (whole tables, also where only a part of the root is in force).
    private mutating func add(_ format: PageTableFormat, _ root: GPA, _ memory: TargetMemory) {
        struct Nobody: WalkConsumer {
            mutating func run(_ run: MappedRun) {}
        }
        var nobody = Nobody()
        let summary = walk(root: root, format: format, memory: memory, into: &nobody)
        for table in summary.tables {
            var page = table.gpa.alignedDown(to: 4096)
            while page < table.gpa &+ table.size {
                if pages[page] == nil, let bytes = memory.bytes(at: page, count: 4096) { pages[page] = bytes }
                page = page &+ 4096
            }
        }
    }
}

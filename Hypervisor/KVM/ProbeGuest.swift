// A guest of a few instructions in ring 0, to find out what this host's KVM does with them.

import Addresses
import GuestMemory

/// A guest with one vCPU in 64-bit mode and no interrupt controllers, IDT or TSS: what goes wrong ends it.
///
///     0x1000 PML4 | 0x2000 PDPT | 0x3000 PD: the first GiB 1:1 | 0x8000 code | 0x9000 data | below 0xa000 stack
public struct ProbeGuest {
    /// Where the code begins.
    public static let code: UInt64 = 0x8000
    /// 4 KiB without anything in them.
    public static let data: UInt64 = 0x9000
    /// The vCPU, before its first instruction.
    public let vcpu: VCPU
    private let machine: VirtualMachine
    private let memory: GuestRAM

    /// A guest with this code.
    ///
    /// - Parameters:
    ///   - code: at most 4 KiB.
    ///   - registers: changes the general registers that it starts with; RBX is the address of the data.
    public init(_ system: KVMSystem, code: [UInt8], registers change: (inout VCPURegisters) -> Void = { _ in }) throws {
        memory = try GuestRAM([RAMRange(name: "probe", start: GPA(0), size: 64 << 10)])
        machine = try VirtualMachine(system)
        for slot in memory.slots.slots { try machine.setSlot(slot) }
        vcpu = try machine.makeVCPU(0)
        try vcpu.setCPUID(system.supportedCPUID().forVCPU(0, of: 1, deadlineTimer: false))
        var tables = [UInt64](repeating: 0, count: 3 * 512)
        tables[0] = 0x2003
        tables[512] = 0x3003
        tables[1024] = 0x83
        _ = tables.withUnsafeBytes { memory.write($0, at: GPA(0x1000)) }
        _ = memory.write(Array(code.prefix(4096)), at: GPA(Self.code))
        try vcpu.setSystemRegisters(Self.longMode(try vcpu.registers()))
        try start(change)
    }

    /// Puts it before its first instruction again.
    public func start(_ change: (inout VCPURegisters) -> Void = { _ in }) throws(KVMError) {
        var registers = try vcpu.registers()
        registers.rip = Self.code
        registers.rflags = 2
        registers.rbx = Self.data
        registers.rsp = 0x9ff0
        change(&registers)
        try vcpu.setGeneralRegisters(registers)
    }

    /// Runs it until something other than an interruption happens.
    public func run() -> VCPUExit {
        while true {
            let exit = vcpu.enter()
            if case .interrupted = exit { continue }
            return exit
        }
    }

    private static func longMode(_ before: VCPURegisters) -> VCPURegisters {
        var registers = before
        registers.cr3 = 0x1000
        registers.cr4 = 0x20
        registers.cr0 = 0x8000_0011
        registers.efer = 0x500
        var segment = Segment()
        segment.limit = 0xffff_ffff
        segment.selector = 0x10
        segment.type = 3
        segment.present = true
        segment.codeOrData = true
        segment.granular = true
        segment.big = true
        registers.ds = segment
        registers.es = segment
        registers.ss = segment
        segment.selector = 8
        segment.type = 11
        segment.big = false
        segment.long = true
        registers.cs = segment
        return registers
    }
}

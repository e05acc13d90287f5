// A VM with one vCPU in 64-bit mode and a page of code: the least that runs.
//
//     0x1000 PML4 | 0x2000 PDPT | 0x3000 PD: 2 MiB leaves, the first GiB 1:1 | 0x8000 code | 0x10000 data

import Addresses
import GuestMemory
import KVM
import Testing

/// Whether this host lets us test with real guests.
let hasKVM = (try? KVMSystem()) != nil

/// A VM with one vCPU in 64-bit mode. RAM: 2 MiB.
struct TinyGuest {
    static let code: UInt64 = 0x8000
    static let data: UInt64 = 0x1_0000
    static let size: UInt64 = 2 << 20
    let ram: GuestRAM
    let vm: VirtualMachine
    let vcpu: VCPU

    /// - Parameter code: where it begins RAX, RBX, RCX are 0, RDX is `rdx`, RSI and RDI are `data`, RSP is 0x9ff0.
    init(_ code: [UInt8], rdx: UInt64 = 0, rcx: UInt64 = 0) throws {
        ram = try GuestRAM([RAMRange(name: "low", start: GPA(0), size: TinyGuest.size)])
        let system = try KVMSystem()
        vm = try VirtualMachine(system)
        for slot in ram.slots.slots { try vm.setSlot(slot) }
        vcpu = try vm.makeVCPU(0)
        try vcpu.setCPUID(system.supportedCPUID().forVCPU(0, of: 1, deadlineTimer: true))
        var tables = [UInt64](repeating: 0, count: 3 * 512)
        tables[0] = 0x2003
        tables[512] = 0x3003
        for index in 0..<512 { tables[1024 + index] = UInt64(index) << 21 | 0x83 }
        #expect(tables.withUnsafeBytes { ram.write($0, at: GPA(0x1000)) })
        #expect(ram.write(code, at: GPA(TinyGuest.code)))

        var r = try vcpu.registers()
        r.cr3 = 0x1000
        r.cr4 = 0x20
        r.cr0 = 0x8000_0011
        r.efer = 0x500
        var segment = Segment()
        segment.limit = 0xffff_ffff
        segment.selector = 0x10
        segment.type = 3
        segment.present = true
        segment.codeOrData = true
        segment.granular = true
        segment.big = true
        r.ds = segment
        r.es = segment
        r.ss = segment
        segment.selector = 8
        segment.type = 11
        segment.big = false
        segment.long = true
        r.cs = segment
        r.idt = DescriptorTable()
        try vcpu.setSystemRegisters(r)
        r.rip = TinyGuest.code
        r.rflags = 2
        r.rdx = rdx
        r.rcx = rcx
        r.rsi = TinyGuest.data
        r.rdi = TinyGuest.data
        r.rsp = 0x9ff0
        try vcpu.setGeneralRegisters(r)
    }

    /// Runs until something other than an interruption comes.
    func enter() -> VCPUExit {
        while true {
            let exit = vcpu.enter()
            if case .interrupted = exit { continue }
            return exit
        }
    }
}

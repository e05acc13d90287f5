// What a vCPU is: registers, translation, statistics, state kept and put back, steps and breakpoints.

import Addresses
import CSystem
import GuestMemory
import KVM
import PageTables
import Testing

@Suite(.enabled(if: hasKVM, "needs /dev/kvm")) struct StateTests {
    @Test func registersComeBackAsTheyWereSet() throws {
        let guest = try TinyGuest([0xf4])
        var r = try guest.vcpu.registers()
        #expect(r.rip == TinyGuest.code && r.cr3 == 0x1000 && r.efer & 0x400 != 0 && r.cs.long)
        #expect(r.pat == 0x0007_0406_0007_0406)
        r.r8 = 0x1122_3344_5566_7788
        r.rsp = 0xffff_8000_0000_0000
        r.gs.base = 0x1234_5000
        try guest.vcpu.setSystemRegisters(r)
        try guest.vcpu.setGeneralRegisters(r)
        #expect(try guest.vcpu.registers() == r)
    }

    @Test func modelSpecificRegisters() throws {
        let guest = try TinyGuest([0xf4])
        try guest.vcpu.writeMSR(0xc000_0102, 0xffff_8000_0012_3000)
        #expect(try guest.vcpu.readMSR(0xc000_0102) == 0xffff_8000_0012_3000)
        #expect(try guest.vcpu.registers().kernelGSBase == 0xffff_8000_0012_3000)
        #expect(throws: KVMError.self) { _ = try guest.vcpu.readMSR(0xdead_0000) }
    }

    @Test func kvmTranslatesAsOurWalkDoes() throws {
        let guest = try TinyGuest([0xf4])
        // A second alias in the upper half, and a hole in the lower.
        #expect(guest.ram.write([0x03, 0x20, 0, 0, 0, 0, 0, 0], at: GPA(0x1000 + 256 * 8)))
        #expect(guest.ram.write([0, 0, 0, 0, 0, 0, 0, 0], at: GPA(0x3000 + 5 * 8)))
        let r = try guest.vcpu.registers()
        let state = PagingState(cr0: r.cr0, cr3: r.cr3, cr4: r.cr4, efer: r.efer)
        guard case .paging(let format, let root) = state.mode else {
            Issue.record("paging is off")
            return
        }
        let addresses: [UInt64] = [
            0, 0x1234, 0x1f_ffff, 0xa0_0000, 0xbf_ffff, 0xc0_0000, 0x4000_0000, 0xffff_8000_0000_8000,
            0xffff_8000_00a0_0000, 0xffff_ffff_ffff_f000,
        ]
        for address in addresses {
            let ours = translate(GVA(address), root: root, format: format, memory: guest.ram).mapping?.gpa.rawValue
            #expect(try guest.vcpu.translate(address)?.gpa == ours, "\(GVA(address).hex)")
        }
    }

    @Test func statisticsHaveNames() throws {
        // out dx, al
        let guest = try TinyGuest([0xee, 0xee, 0xee], rdx: 0x80)
        let statistics = try guest.vcpu.statistics()
        let before = statistics.all().map(\.values)
        for _ in 0..<3 { _ = guest.enter() }
        #expect(statistics.all().map(\.values) != before)
        #expect(statistics.value("no such statistic") == nil)
        #expect(statistics.names.contains("blocking"))
        #expect(statistics.all().count == statistics.names.count)
        #expect(statistics.all().contains { $0.values.count > 1 })
        #expect(try guest.vm.statistics().names.contains("mmu_shadow_zapped"))
    }

    @Test func aStateCanBePutBack() throws {
        // mov eax, 5; out dx, al; mov eax, 6; out dx, al
        let guest = try TinyGuest([0xb8, 5, 0, 0, 0, 0xee, 0xb8, 6, 0, 0, 0, 0xee], rdx: 0x80)
        let chips = try guest.vm.chipState()
        let state = try guest.vcpu.state()
        for _ in 0..<2 {
            guard case .io(let first) = guest.enter() else {
                Issue.record("no port access")
                return
            }
            #expect(first.data.load(as: UInt8.self) == 5)
            try guest.vcpu.writeMSR(0xc000_0102, 0x1000)
            guest.vcpu.completePending()
            try guest.vcpu.setState(state)
            try guest.vm.setChipState(chips)
            #expect(try guest.vcpu.readMSR(0xc000_0102) == 0)
            #expect(try guest.vcpu.registers().rip == TinyGuest.code)
        }
        #expect(try guest.vcpu.activity() == .runnable)
    }

    @Test func floatingPointState() throws {
        let guest = try TinyGuest([0xf4])
        var fpu = try guest.vcpu.fpu()
        fpu.fcw = 0x027f
        try guest.vcpu.setFPU(fpu)
        #expect(try guest.vcpu.fpu().fcw == 0x027f)
    }

    @Test func theLocalAPICHasTheVCPUsNumber() throws {
        let guest = try TinyGuest([0xf4])
        let second = try guest.vm.makeVCPU(1)
        // Offset 0x20: the id, in bits 31-24.
        #expect(try guest.vcpu.localAPIC(offset: 0x20) >> 24 == 0)
        #expect(try second.localAPIC(offset: 0x20) >> 24 == 1)
        #expect(try second.localAPIC(offset: 5000) == 0)
    }

    @Test func singleSteps() throws {
        // nop; nop; mov eax, 1; jmp self
        let guest = try TinyGuest([0x90, 0x90, 0xb8, 1, 0, 0, 0, 0xeb, 0xfe])
        try guest.vcpu.setGuestDebug(singleStep: true)
        for offset in [1, 2, 7, 7] as [UInt64] {
            guard case .debug(let stop) = guest.enter() else {
                Issue.record("no stop")
                return
            }
            #expect(stop.exception == 1)
            #expect(stop.address == TinyGuest.code + offset)
            #expect(try guest.vcpu.registers().rip == TinyGuest.code + offset)
        }
    }

    @Test func breakpointsAndWatchpoints() throws {
        // nop; nop; mov [0x10000], eax; nop; jmp self
        let guest = try TinyGuest([0x90, 0x90, 0x89, 0x04, 0x25, 0, 0, 1, 0, 0x90, 0xeb, 0xfe])
        try guest.vcpu.setGuestDebug(breakpoints: [HardwareBreakpoint(TinyGuest.code + 1)])
        guard case .debug(let stop) = guest.enter() else {
            Issue.record("no stop")
            return
        }
        #expect(stop.address == TinyGuest.code + 1)
        #expect(stop.dr6 & 1 == 1)
        try guest.vcpu.setGuestDebug(breakpoints: [
            HardwareBreakpoint(0x5000), HardwareBreakpoint(TinyGuest.data, .write, length: 4),
            HardwareBreakpoint(TinyGuest.code + 10),
        ])
        guard case .debug(let written) = guest.enter() else {
            Issue.record("no stop")
            return
        }
        // Watchpoints stop after the access. An emulated ring 0 has none: there the third breakpoint comes.
        #expect(written.address == TinyGuest.code + 9 || written.address == TinyGuest.code + 10)
    }
}

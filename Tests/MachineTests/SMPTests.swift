// Several vCPUs: the first starts the others by INIT and SIPI through a trampoline in low memory.

import Addresses
import KVM
import Machine
import Testing

@Suite(.enabled(if: hasKVM, "needs /dev/kvm")) struct SMPTests {
    /// vCPU 0 sends INIT and SIPI (vector 5) to all others through the local APIC's interrupt command register at
    /// 0xfee00300, then counts at `data`. The others run 16-bit code at 0x5000 that counts itself in at 0x6000 and halts.
    private func kernel() -> TestKernel {
        var kernel = TestKernel(
            Code {
                // The APIC lies at 0xfee00000, outside the boot tables' first GiB: map it at 1 GiB by a fourth PDPT entry.
                // mov dword [0x202008], 0x204067 (PDPT[1] -> PD at 0x204000), PD[503] = 0xfee00000 | 0xe7
                $0.raw(0xc7, 0x04, 0x25, 0x08, 0x20, 0x20, 0x00, 0x67, 0x40, 0x20, 0x00)
                $0.raw(0xc7, 0x04, 0x25, 0xb8, 0x4f, 0x20, 0x00, 0xe7, 0x00, 0xe0, 0xfe)
                // mov dword [0x7ee00300], 0x000c4500: INIT, all but self; then SIPI 5
                $0.raw(0xc7, 0x04, 0x25, 0x00, 0x03, 0xe0, 0x7e, 0x00, 0x45, 0x0c, 0x00)
                $0.raw(0xc7, 0x04, 0x25, 0x00, 0x03, 0xe0, 0x7e, 0x05, 0x46, 0x0c, 0x00)
                $0.stage("A")
                $0.loop()
            }.bytes)
        // xor ax, ax; mov ds, ax; lock inc word [0x6000]; cli; hlt; jmp -1
        kernel.segments.append(
            .init(
                bytes: [0x31, 0xc0, 0x8e, 0xd8, 0xf0, 0xff, 0x06, 0x00, 0x60, 0xfa, 0xf4, 0xeb, 0xfd], address: 0x5000))
        return kernel
    }

    @Test func theOthersStartThroughTheTrampoline() throws {
        let guest = try RunningMachine(kernel(), vcpus: 4)
        #expect(guest.waitForWord(0x6000) { $0 == 3 })
        for vcpu in 1..<4 {
            let r = try guest.machine.registers(vcpu: vcpu)
            #expect(r.cs.selector == 0x500 && r.rip == 11)
        }
        #expect(Set(guest.machine.threadIDs).count == 4)
        guest.machine.pause()
        try guest.machine.reset()
        #expect(guest.word(0x6000) == 0)
        guest.machine.resume()
        #expect(guest.waitForWord(0x6000) { $0 == 3 })
    }

    @Test func vCPUsThatWereNeverStartedCanBePaused() throws {
        let guest = try RunningMachine(TestKernel(Code { $0.loop() }.bytes), vcpus: 4)
        for _ in 0..<10 {
            guest.machine.pause()
            #expect(try guest.machine.registers(vcpu: 3).cs.base == 0xffff_0000)
            guest.machine.resume()
        }
    }

    @Test func halfStartedGuestsThatHaltAreFound() throws {
        let guest = try RunningMachine(TestKernel(Code { $0.haltForever() }.bytes), vcpus: 3)
        #expect(guest.recorder.first(\.isHalt) == true)
    }
}

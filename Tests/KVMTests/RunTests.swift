// Running a vCPU: every kind of exit that a tiny guest can cause, and how one gets out of it.

import Addresses
import Glibc
import GuestMemory
import KVM
import SystemCalls
import Testing

@Suite(.enabled(if: hasKVM, "needs /dev/kvm")) struct RunTests {
    @Test func portOutput() throws {
        // mov al, 0x41; out dx, al; mov eax, 0x12345678; out dx, eax
        let guest = try TinyGuest([0xb0, 0x41, 0xee, 0xb8, 0x78, 0x56, 0x34, 0x12, 0xef], rdx: 0x3f8)
        guard case .io(let first) = guest.enter() else {
            Issue.record("no port access")
            return
        }
        #expect(first.isWrite && first.port == 0x3f8 && first.width == 1 && first.count == 1)
        #expect(first.data.load(as: UInt8.self) == 0x41)
        guard case .io(let second) = guest.enter() else {
            Issue.record("no port access")
            return
        }
        #expect(second.width == 4)
        #expect(second.data.loadUnaligned(as: UInt32.self) == 0x1234_5678)
    }

    @Test func portInput() throws {
        // in al, dx; out dx, al
        let guest = try TinyGuest([0xec, 0xee], rdx: 0x60)
        guard case .io(let read) = guest.enter() else {
            Issue.record("no port access")
            return
        }
        #expect(!read.isWrite)
        read.data.storeBytes(of: 0x5a, as: UInt8.self)
        guard case .io(let write) = guest.enter() else {
            Issue.record("no port access")
            return
        }
        #expect(write.isWrite && write.data.load(as: UInt8.self) == 0x5a)
    }

    @Test func stringOutputComesInBunches() throws {
        // rep outsb; hlt
        let guest = try TinyGuest([0xf3, 0x6e, 0xf4], rdx: 0x3f8, rcx: 300)
        let text = (0..<300).map { UInt8(truncatingIfNeeded: $0) }
        #expect(guest.ram.write(text, at: GPA(TinyGuest.data)))
        var seen: [UInt8] = []
        while seen.count < 300 {
            guard case .io(let access) = guest.enter() else {
                Issue.record("no port access")
                return
            }
            #expect(access.width == 1)
            seen += UnsafeRawBufferPointer(start: access.data, count: access.count)
        }
        #expect(seen == text)
    }

    @Test func addressesWithoutASlot() throws {
        // mov eax, [0x200000]; mov [0x200008], eax
        let guest = try TinyGuest([
            0x8b, 0x04, 0x25, 0, 0, 0x20, 0, 0x89, 0x04, 0x25, 8, 0, 0x20, 0,
        ])
        guard case .mmio(let read) = guest.enter() else {
            Issue.record("no memory access")
            return
        }
        #expect(!read.isWrite && read.address == 0x20_0000 && read.width == 4)
        for index in 0..<4 { read.data[index] = UInt8(index + 1) }
        guard case .mmio(let write) = guest.enter() else {
            Issue.record("no memory access")
            return
        }
        #expect(write.isWrite && write.address == 0x20_0008 && write.width == 4)
        #expect((0..<4).map { write.data[$0] } == [1, 2, 3, 4])
    }

    @Test func aTripleFaultIsAShutdown() throws {
        // ud2, with an IDT of limit 0
        let guest = try TinyGuest([0x0f, 0x0b])
        guard case .shutdown = guest.enter() else {
            Issue.record("no shutdown")
            return
        }
    }

    @Test func anInstructionThatCannotBeEmulatedShowsItsBytes() throws {
        // pxor xmm0, xmm0; out dx, al. With CR4.OSFXSR the first runs where the processor runs it itself.
        let guest = try TinyGuest([0x66, 0x0f, 0xef, 0xc0, 0xee], rdx: 0x80)
        var r = try guest.vcpu.registers()
        r.cr4 |= 0x200
        try guest.vcpu.setSystemRegisters(r)
        switch guest.enter() {
        case .io: break
        case .internalError(1): #expect(guest.vcpu.failedInstruction.starts(with: [0x66, 0x0f, 0xef, 0xc0]))
        case let exit: Issue.record("\(exit)")
        }
    }

    @Test func aKickEndsALoop() throws {
        try HostThread.installKick()
        // jmp self
        let guest = try TinyGuest([0xeb, 0xfe])
        let ended = Guarded(0)
        let vcpu = guest.vcpu
        let thread = try HostThread(name: "loop", stackSize: 256 << 10) {
            for _ in 0..<100 {
                while true {
                    if case .interrupted = vcpu.enter() { break }
                }
                vcpu.clearExitRequest()
                ended.update { $0 += 1 }
            }
        }
        for round in 1...100 {
            vcpu.requestExit()
            thread.kick()
            // Whenever the kick comes, before, in or after KVM_RUN's entry, the vCPU comes out.
            while ended.wait(nanoseconds: 1_000_000, { $0 >= round ? true : nil }) == nil { thread.kick() }
        }
        thread.join()
        #expect(try vcpu.registers().rip == TinyGuest.code)
        #expect(thread.id == 0)
    }

    @Test func anExitRequestCompletesTheAccessFirst() throws {
        // in al, dx; jmp self
        let guest = try TinyGuest([0xec, 0xeb, 0xfe], rdx: 0x60)
        guard case .io(let read) = guest.enter() else {
            Issue.record("no port access")
            return
        }
        read.data.storeBytes(of: 0x77, as: UInt8.self)
        guest.vcpu.completePending()
        let r = try guest.vcpu.registers()
        #expect(r.rax & 0xff == 0x77)
        #expect(r.rip == TinyGuest.code + 1)
    }

    @Test func aVCPUThatWaitsForSIPIIsInterrupted() throws {
        try HostThread.installKick()
        let guest = try TinyGuest([0xf4])
        let second = try guest.vm.makeVCPU(1)
        #expect(try second.activity() == .uninitialized)
        second.requestExit()
        guard case .interrupted = second.enter() else {
            Issue.record("not interrupted")
            return
        }
    }

    @Test func theDirtyLogTellsWhatWasWritten() throws {
        // mov [0x10000], eax; out dx, al
        let guest = try TinyGuest([0x89, 0x04, 0x25, 0, 0, 1, 0, 0xee], rdx: 0x80)
        let slot = guest.ram.slots.slots[0]
        try guest.vm.setSlot(slot, logDirtyPages: true)
        guard case .io = guest.enter() else {
            Issue.record("no port access")
            return
        }
        let log = try guest.vm.takeDirtyLog(slot)
        #expect(log.count == Int(TinyGuest.size / 4096 / 64))
        #expect(log[0] & 1 << 16 != 0)
        #expect(log[0] & 1 << 17 == 0)
        #expect(try guest.vm.takeDirtyLog(slot)[0] & 1 << 16 == 0)
    }
}

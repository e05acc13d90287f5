// /dev/kvm itself: what opens, what it says.

import GuestMemory
import KVM
import Testing

@Suite struct SystemTests {
    @Test func aMissingDeviceSaysWhichModuleToLoad() {
        let error = #expect(throws: KVMError.self) { _ = try KVMSystem(path: "/dev/no-such-kvm") }
        #expect(error?.description.contains("modprobe") == true)
        #expect(KVMError.notPermitted("/dev/kvm").description.contains("group kvm"))
    }

    @Test func anotherDeviceIsNotKVM() {
        let error = #expect(throws: KVMError.self) { _ = try KVMSystem(path: "/dev/null") }
        if case .notKVM = error {} else { Issue.record("\(String(describing: error))") }
    }

    @Test(.enabled(if: hasKVM, "needs /dev/kvm")) func capabilitiesAreNumbers() throws {
        let system = try KVMSystem()
        #expect(system.value(of: .userMemory) == 1)
        #expect(system.value(of: .irqchip) == 1)
        #expect(system.value(of: .memorySlots) >= 32)
        #expect(system.maxVCPUs >= 1)
        #expect(system.value(of: Capability("NO_SUCH", 0x7fff_ffff)) == 0)
        #expect(Set(Capability.all.map(\.number)).count == Capability.all.count)
    }

    @Test(.enabled(if: hasKVM, "needs /dev/kvm")) func theAddressSpaceHasAWidth() throws {
        let cpuid = try KVMSystem().supportedCPUID()
        #expect((32...52).contains(cpuid.maxPhysicalAddressBits))
    }

    @Test(.enabled(if: hasKVM, "needs /dev/kvm")) func overlappingSlotsAreRefusedByKVM() throws {
        let guest = try TinyGuest([0xf4])
        let slot = guest.ram.slots.slots[0]
        let other = MemorySlot(
            id: 7, name: "other", guestPhysicalAddress: slot.guestPhysicalAddress, size: slot.size,
            userspaceAddress: slot.userspaceAddress)
        #expect(throws: KVMError.self) { try guest.vm.setSlot(other) }
    }
}

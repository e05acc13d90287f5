// The requests of ioctl(2) that a monitor makes once its guest runs. What makes VMs and vCPUs is not among them.

import CSystem
import Glibc

enum Requests {
    static let run = IORequest("KVM_RUN", csystem_KVM_RUN)

    /// What a guest's own accesses to its ports ask of the VM.
    static let fromPorts = [
        IORequest("KVM_IRQ_LINE", csystem_KVM_IRQ_LINE), IORequest("KVM_CREATE_PIT2", csystem_KVM_CREATE_PIT2),
        IORequest("KVM_GET_PIT2", csystem_KVM_GET_PIT2), IORequest("KVM_SET_PIT2", csystem_KVM_SET_PIT2),
    ]

    /// A vCPU's state, read.
    static let vcpuState = [
        IORequest("KVM_GET_REGS", csystem_KVM_GET_REGS), IORequest("KVM_GET_SREGS", csystem_KVM_GET_SREGS),
        IORequest("KVM_GET_MSRS", csystem_KVM_GET_MSRS), IORequest("KVM_GET_FPU", csystem_KVM_GET_FPU),
        IORequest("KVM_GET_DEBUGREGS", csystem_KVM_GET_DEBUGREGS),
        IORequest("KVM_GET_MP_STATE", csystem_KVM_GET_MP_STATE),
        IORequest("KVM_GET_VCPU_EVENTS", csystem_KVM_GET_VCPU_EVENTS),
        IORequest("KVM_GET_LAPIC", csystem_KVM_GET_LAPIC),
        IORequest("KVM_GET_XSAVE", csystem_KVM_GET_XSAVE), IORequest("KVM_GET_XSAVE2", csystem_KVM_GET_XSAVE2),
        IORequest("KVM_GET_XCRS", csystem_KVM_GET_XCRS), IORequest("KVM_GET_TSC_KHZ", csystem_KVM_GET_TSC_KHZ),
        IORequest("KVM_TRANSLATE", csystem_KVM_TRANSLATE),
    ]

    /// A vCPU's state, written: by a debugger, a reset, a guest that is restored.
    static let setVCPUState = [
        IORequest("KVM_SET_REGS", csystem_KVM_SET_REGS), IORequest("KVM_SET_SREGS", csystem_KVM_SET_SREGS),
        IORequest("KVM_SET_MSRS", csystem_KVM_SET_MSRS), IORequest("KVM_SET_FPU", csystem_KVM_SET_FPU),
        IORequest("KVM_SET_DEBUGREGS", csystem_KVM_SET_DEBUGREGS),
        IORequest("KVM_SET_MP_STATE", csystem_KVM_SET_MP_STATE),
        IORequest("KVM_SET_VCPU_EVENTS", csystem_KVM_SET_VCPU_EVENTS),
        IORequest("KVM_SET_LAPIC", csystem_KVM_SET_LAPIC),
        IORequest("KVM_SET_XSAVE", csystem_KVM_SET_XSAVE), IORequest("KVM_SET_XCRS", csystem_KVM_SET_XCRS),
        IORequest("KVM_SET_GUEST_DEBUG", csystem_KVM_SET_GUEST_DEBUG),
    ]

    /// What belongs to a machine as a whole, read and written: a reset, a guest that is saved or restored.
    static let machineState = [
        IORequest("KVM_GET_IRQCHIP", csystem_KVM_GET_IRQCHIP), IORequest("KVM_SET_IRQCHIP", csystem_KVM_SET_IRQCHIP),
        IORequest("KVM_GET_CLOCK", csystem_KVM_GET_CLOCK), IORequest("KVM_SET_CLOCK", csystem_KVM_SET_CLOCK),
        IORequest("KVM_SET_TSC_KHZ", csystem_KVM_SET_TSC_KHZ), IORequest("KVM_SET_CPUID2", csystem_KVM_SET_CPUID2),
    ]

    static let dirtyLog = IORequest("KVM_GET_DIRTY_LOG", csystem_KVM_GET_DIRTY_LOG)
    /// Switches the dirty log of a slot on and off.
    static let setSlot = IORequest("KVM_SET_USER_MEMORY_REGION", csystem_KVM_SET_USER_MEMORY_REGION)
    static let statistics = IORequest("KVM_GET_STATS_FD", csystem_KVM_GET_STATS_FD)
    /// Puts the terminal back into the mode it had; the mode is all that it can change (not TIOCSTI).
    static let terminalMode = IORequest("TCSETS", UInt(TCSETS))
}

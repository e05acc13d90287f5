// What of KVM_SET_GUEST_DEBUG works on this host. KVM promises all of it; where ring 0 is emulated, or KVM runs in a virtual machine itself, some
// of it never comes.

/// The ways in which this host's KVM stops a guest's ring 0 for a debugger.
public struct DebugAbilities: Hashable, Sendable {
    /// After one instruction.
    public var steps = false
    /// Before the instruction at an address in a debug register.
    public var hardwareBreakpoints = false
    /// After an access to the bytes that a debug register names.
    public var watchpoints = false
    /// At INT3.
    public var softwareBreakpoints = false
    /// While it steps, interrupts can wait.
    public var blocksInterrupts = false

    /// None of them.
    public init() {}

    /// Finds out by a guest for each, which take a few milliseconds together.
    public init(_ system: KVMSystem) {
        blocksInterrupts = system.blocksInterruptsInSteps
        // mov [rbx], rax; nop; int3; out dx, al
        let code: [UInt8] = [0x48, 0x89, 0x03, 0x90, 0xcc, 0xee]
        func stops(_ prepare: (VCPU) throws(KVMError) -> Void, at rip: UInt64) -> Bool {
            guard let guest = try? ProbeGuest(system, code: code), (try? prepare(guest.vcpu)) != nil,
                case .debug = guest.run()
            else { return false }
            return (try? guest.vcpu.registers().rip) == ProbeGuest.code + rip
        }
        steps = stops({ vcpu throws(KVMError) in try vcpu.setGuestDebug(singleStep: true) }, at: 3)
        hardwareBreakpoints = stops(
            { vcpu throws(KVMError) in
                try vcpu.setGuestDebug(breakpoints: [HardwareBreakpoint(ProbeGuest.code + 3)])
            }, at: 3)
        watchpoints = stops(
            { vcpu throws(KVMError) in
                try vcpu.setGuestDebug(breakpoints: [HardwareBreakpoint(ProbeGuest.data, .write, length: 8)])
            }, at: 3)
        softwareBreakpoints = stops(
            { vcpu throws(KVMError) in try vcpu.setGuestDebug(softwareBreakpoints: true) }, at: 4)
    }
}

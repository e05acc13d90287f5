// Why KVM does not do what was asked.

import CSystem
import SystemCalls

/// KVM's own errors: what cannot be done on this host and what to do about it.
public enum KVMError: Error, CustomStringConvertible, Sendable {
    /// The device does not exist.
    case missing(String)
    /// The device may not be opened by this user.
    case notPermitted(String)
    /// The file is not KVM's device.
    case notKVM(String)
    /// KVM speaks another version of its interface than 12.
    case wrongVersion(Int)
    /// A capability that is needed is not there.
    case noCapability(Capability)
    /// A system call failed.
    case call(Errno)

    /// What was wrong and what to do.
    public var description: String {
        switch self {
        case .missing(let path):
            return "\(path) does not exist: load the module (modprobe kvm_intel or modprobe kvm_amd), and switch on "
                + "virtualisation in the firmware"
        case .notPermitted(let path):
            return "\(path) may not be opened: join the group kvm (sudo usermod -aG kvm $USER, then log in again)"
        case .notKVM(let path): return "\(path) is not the device of KVM"
        case .wrongVersion(let version):
            return "KVM has version \(version) of its interface, needed is 12: the kernel is too old"
        case .noCapability(let capability): return "KVM on this host lacks KVM_CAP_\(capability.name)"
        case .call(let errno): return errno.description
        }
    }
}

extension FileDescriptor {
    /// ioctl(2) on a structure that lies somewhere.
    @discardableResult
    func controlPointer(
        _ request: UInt, _ pointer: UnsafeMutableRawPointer, name: @autoclosure () -> String
    ) throws(Errno) -> Int {
        try systemCall(name()) { csystem_ioctl_pointer(rawValue, request, pointer) }
    }
}

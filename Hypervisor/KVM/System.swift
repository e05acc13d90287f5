// /dev/kvm.

import SystemCalls

/// KVM's own errors: what cannot be done on this host and what to do about it.
public enum KVMError: Error, CustomStringConvertible, Sendable {
    /// /dev/kvm does not exist.
    case missing
    /// /dev/kvm may not be opened by this user.
    case notPermitted
    /// KVM speaks another version of its interface than 12.
    case wrongVersion(Int)
    /// A capability that is needed is not there.
    case noCapability(String)
    /// A system call failed.
    case call(Errno)

    public var description: String {
        switch self {
        case .missing:
            return "/dev/kvm does not exist: load the module kvm_intel or kvm_amd (modprobe kvm_intel), and switch on "
                + "virtualisation in the firmware"
        case .notPermitted:
            return "/dev/kvm may not be opened: join the group kvm (sudo usermod -aG kvm $USER, then log in again)"
        case .wrongVersion(let version):
            return "/dev/kvm has API version \(version), needed is 12: the kernel is older than 2.6.22"
        case .noCapability(let name): return "KVM on this host lacks \(name)"
        case .call(let errno): return errno.description
        }
    }
}

/// /dev/kvm: opened once a process.
public final class KVMSystem: Sendable {
    let device: FileDescriptor

    /// Opens /dev/kvm.
    public init() throws(KVMError) {
        do { device = try FileDescriptor(open: "/dev/kvm", 0o2) } catch { throw .call(error) }
    }
}

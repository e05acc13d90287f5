// /dev/kvm: what this host's KVM can do, and new virtual machines.

import CSystem
import Glibc
import SystemCalls

/// A capability of KVM by its number (KVM_CAP_* in linux/kvm.h).
public struct Capability: Hashable, Sendable {
    /// The name without `KVM_CAP_`.
    public let name: String
    /// The number that KVM_CHECK_EXTENSION takes.
    public let number: UInt32

    /// A capability.
    public init(_ name: String, _ number: Int32) {
        self.name = name
        self.number = UInt32(bitPattern: number)
    }

    /// The interrupt controllers in the kernel.
    public static let irqchip = Capability("IRQCHIP", KVM_CAP_IRQCHIP)
    /// Guest memory in user space.
    public static let userMemory = Capability("USER_MEMORY", KVM_CAP_USER_MEMORY)
    /// CPUID of the guest.
    public static let extendedCPUID = Capability("EXT_CPUID", KVM_CAP_EXT_CPUID)
    /// The timer in the kernel, version 2.
    public static let pit2 = Capability("PIT2", KVM_CAP_PIT2)
    /// `immediate_exit` in struct kvm_run.
    public static let immediateExit = Capability("IMMEDIATE_EXIT", KVM_CAP_IMMEDIATE_EXIT)
    /// How many vCPUs a VM may have.
    public static let maxVCPUs = Capability("MAX_VCPUS", KVM_CAP_MAX_VCPUS)
    /// One past the highest vCPU number.
    public static let maxVCPUID = Capability("MAX_VCPU_ID", KVM_CAP_MAX_VCPU_ID)
    /// How many memory slots a VM may have.
    public static let memorySlots = Capability("NR_MEMSLOTS", KVM_CAP_NR_MEMSLOTS)
    /// Statistics by file descriptor.
    public static let statistics = Capability("BINARY_STATS_FD", KVM_CAP_BINARY_STATS_FD)
    /// Single-step and breakpoints.
    public static let guestDebug = Capability("SET_GUEST_DEBUG", KVM_CAP_SET_GUEST_DEBUG)
    /// The LAPIC timer's deadline mode.
    public static let deadlineTimer = Capability("TSC_DEADLINE_TIMER", KVM_CAP_TSC_DEADLINE_TIMER)
    /// Extended state by KVM_SET_XSAVE.
    public static let xsave = Capability("XSAVE", KVM_CAP_XSAVE)
    /// The size of the extended state, where it is more than a page.
    public static let xsave2 = Capability("XSAVE2", KVM_CAP_XSAVE2)
    /// Extended control registers.
    public static let xcrs = Capability("XCRS", KVM_CAP_XCRS)

    /// What Vitrine uses or may use, in the order of a report.
    public static let all: [Capability] = [
        userMemory, irqchip, pit2, extendedCPUID, immediateExit, maxVCPUs, maxVCPUID, memorySlots, statistics,
        guestDebug, deadlineTimer, xsave, xcrs,
        Capability("PIT_STATE2", KVM_CAP_PIT_STATE2), Capability("VCPU_EVENTS", KVM_CAP_VCPU_EVENTS),
        Capability("DEBUGREGS", KVM_CAP_DEBUGREGS), Capability("MP_STATE", KVM_CAP_MP_STATE),
        Capability("SYNC_REGS", KVM_CAP_SYNC_REGS), Capability("IRQFD", KVM_CAP_IRQFD),
        Capability("IOEVENTFD", KVM_CAP_IOEVENTFD), Capability("READONLY_MEM", KVM_CAP_READONLY_MEM),
        Capability("DIRTY_LOG_RING", KVM_CAP_DIRTY_LOG_RING),
        Capability("MANUAL_DIRTY_LOG_PROTECT2", KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2),
    ]
}

/// /dev/kvm: opened once a process.
public final class KVMSystem: Sendable {
    let device: FileDescriptor

    /// Opens /dev/kvm and checks the version of its interface.
    ///
    /// - Parameter path: another device file, for tests.
    public init(path: String = "/dev/kvm") throws(KVMError) {
        do {
            device = try FileDescriptor(open: path, O_RDWR)
        } catch {
            switch error.code {
            case ENOENT, ENODEV, ENXIO: throw .missing(path)
            case EACCES, EPERM: throw .notPermitted(path)
            default: throw .call(error)
            }
        }
        let version: Int
        do {
            version = try device.control(csystem_KVM_GET_API_VERSION, name: "KVM_GET_API_VERSION")
        } catch {
            throw error.code == ENOTTY ? .notKVM(path) : .call(error)
        }
        guard version == Int(KVM_API_VERSION) else { throw .wrongVersion(version) }
    }

    /// What KVM_CHECK_EXTENSION says: 0 is no, 1 yes, more a number of things.
    public func value(of capability: Capability) -> Int {
        (try? device.control(csystem_KVM_CHECK_EXTENSION, UInt(capability.number), name: "KVM_CHECK_EXTENSION")) ?? 0
    }

    /// The most vCPUs that a VM of this host may have.
    public var maxVCPUs: Int {
        let most = value(of: .maxVCPUs)
        // KVM's documentation: without the capability the answer is KVM_CAP_NR_VCPUS, and without that 4.
        return most > 0 ? most : 4
    }

    /// The size of a vCPU's shared area, struct kvm_run and what follows it.
    func runAreaSize() throws(KVMError) -> UInt64 {
        do {
            return UInt64(try device.control(csystem_KVM_GET_VCPU_MMAP_SIZE, name: "KVM_GET_VCPU_MMAP_SIZE"))
        } catch { throw .call(error) }
    }

    /// What a guest may be told of its processor (KVM_GET_SUPPORTED_CPUID).
    public func supportedCPUID() throws(KVMError) -> CPUID {
        let table = UnsafeMutablePointer<csystem_cpuid>.allocate(capacity: 1)
        defer { table.deallocate() }
        UnsafeMutableRawPointer(table).initializeMemory(
            as: UInt8.self, repeating: 0, count: MemoryLayout<csystem_cpuid>.size)
        table.pointee.count = 256
        do {
            try device.controlPointer(
                csystem_KVM_GET_SUPPORTED_CPUID, table, name: "KVM_GET_SUPPORTED_CPUID")
        } catch { throw .call(error) }
        return CPUID(table)
    }
}

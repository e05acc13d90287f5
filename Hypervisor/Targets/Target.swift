// What can be looked at: a guest, whoever runs it.

import Addresses
import GuestMemory
import JSON
import PageTables

/// A guest as an inspector sees it. Safe on any thread.
public protocol Target: AnyObject, Sendable {
    /// What the user called it.
    var name: String { get }
    /// The process that runs it: the one whose host virtual addresses the slots have.
    var pid: Int32 { get }
    /// The layout it was started with, or nil if that is not known.
    var layout: String? { get }
    /// The number of vCPUs.
    var vcpuCount: Int { get }
    /// The memory slots.
    var slots: SlotTable { get }
    /// The memory, mapped read-only. The guest runs on while it is read.
    var memory: MappedMemory { get }

    /// The registers of a vCPU, taken between two instructions.
    func registers(vcpu: Int) throws(TargetError) -> TargetRegisters
    /// KVM's own translation (KVM_TRANSLATE) on a vCPU, nil if it says not mapped: the oracle.
    func translate(_ address: GVA, vcpu: Int) throws(TargetError) -> GPA?
    /// Parks all vCPUs.
    ///
    /// - Returns: whether they ran before.
    @discardableResult
    func pause() throws(TargetError) -> Bool
    /// Lets the vCPUs go on.
    func resume() throws(TargetError)
    /// Runs a command of the kernel's monitor.
    ///
    /// - Returns: the lines of the answer, without the last one that says `ok`.
    /// - Throws: `refused` with what the kernel says, if it says `error: ...`.
    func exec(_ command: String, timeout: Double) throws(TargetError) -> [String]
    /// The page tables as they were when the guest reported a boot stage (`A`, `B`, `C` or `ready`).
    func stageTables(_ stage: String) throws(TargetError) -> StageTables
    /// Everything the target says of itself (`x-vitrine-info`).
    func info() throws(TargetError) -> JSON
    /// KVM's statistics by name: of one vCPU, or of the whole VM.
    func statistics(vcpu: Int?) throws(TargetError) -> [(name: String, values: [UInt64])]
}

extension Target {
    /// Runs a command of the kernel's monitor, with 10 seconds to answer.
    public func exec(_ command: String) throws(TargetError) -> [String] { try exec(command, timeout: 10) }
}

/// Finds targets by what the user calls them.
public enum Targets {
    /// The target that a text names.
    ///
    /// NAME is a guest of this user; `pid:`, `libvirt:`, `qmp:` and `core:` are known and refused with `unable`.
    public static func open(_ text: String) throws(TargetError) -> any Target {
        try openGuest(text)
    }

    /// The guest of this user that a text names.
    public static func openGuest(_ text: String) throws(TargetError) -> OwnGuest {
        try refuseOtherKinds(text)
        return try OwnGuest(named: text)
    }

    /// A QMP connection to the guest that a text names, without its memory: for steering it.
    public static func connect(_ text: String) throws(TargetError) -> QMPClient {
        try refuseOtherKinds(text)
        return try OwnGuest.client(named: text)
    }

    private static func refuseOtherKinds(_ text: String) throws(TargetError) {
        for (prefix, what) in [
            ("pid:", "other processes that run a VM"), ("libvirt:", "libvirt domains"), ("qmp:", "QEMU monitors"),
            ("core:", "core files"),
        ] where text.hasPrefix(prefix) {
            throw .unable("\(text): \(what) are not available in this version; name a guest of vitrine run")
        }
    }
}

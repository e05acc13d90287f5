// What can be looked at: a guest, whoever runs it.

import Addresses
import GuestMemory
import JSON
import PageTables

/// A guest as an inspector sees it. Safe on any thread.
public protocol Target: AnyObject, Sendable {
    /// What the user called it.
    var name: String { get }
    /// The process that runs it: the one whose host virtual addresses the slots have; 0 if there is none.
    var pid: Int32 { get }
    /// The layout it was started with, or nil if that is not known.
    var layout: String? { get }
    /// The number of vCPUs.
    var vcpuCount: Int { get }
    /// The memory slots.
    var slots: SlotTable { get }
    /// The memory. The guest runs on while it is read.
    var memory: TargetMemory { get }
    /// How the memory is read, in a few words: `mapped`, `process 1234`, `monitor`, `file`.
    var memorySource: String { get }
    /// Whether the guest may run on while it is looked at; false for a file.
    var isLive: Bool { get }

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
    /// Of when a vCPU's registers are, in a few words; nil: of the moment they are asked for.
    func registersMoment(vcpu: Int) throws(TargetError) -> String?
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
    /// Says whether everything that was read of the memory so far could be read.
    ///
    /// - Throws: `wentAway` or another error if the target ended or stopped answering in the middle.
    func checkReads() throws(TargetError)
}

extension Target {
    /// Mapped memory.
    public var memorySource: String { "mapped" }
    /// It may run.
    public var isLive: Bool { true }
    /// A vCPU that can be asked says what is.
    public func registersMoment(vcpu: Int) throws(TargetError) -> String? { nil }
    /// Nothing that is mapped can fail to be read.
    public func checkReads() throws(TargetError) {}

    private var cannot: String { "'\(name)' is no guest of vitrine run" }

    /// Only KVM in vitrine-vmm can be asked.
    public func translate(_ address: GVA, vcpu: Int) throws(TargetError) -> GPA? {
        throw .unable("\(cannot): there is no KVM to translate for it")
    }

    /// Only our kernels have a monitor.
    public func exec(_ command: String, timeout: Double) throws(TargetError) -> [String] {
        throw .unable("\(cannot): its kernel has no monitor to run commands")
    }

    /// Only vitrine-vmm keeps the tables of boot stages.
    public func stageTables(_ stage: String) throws(TargetError) -> StageTables {
        throw .unable("\(cannot): the tables of its boot stages were not kept")
    }

    /// Only vitrine-vmm has KVM's statistics.
    public func statistics(vcpu: Int?) throws(TargetError) -> [(name: String, values: [UInt64])] {
        throw .unable("\(cannot): it gives no statistics")
    }

    /// The tables that a vCPU uses now.
    ///
    /// - Throws: `unable` if translation is off on it or works in a way that is not described, else what reading the
    ///   registers throws.
    public func addressSpace(vcpu: Int = 0) throws(TargetError) -> AddressSpace {
        switch try registers(vcpu: vcpu).translation {
        case .tables(let space): return space
        case .off:
            throw .unable(
                "paging is off on vCPU \(vcpu) of '\(name)': a virtual address is a physical one; "
                    + "--vcpu N or --root PA names tables")
        case .unsupported(let mode):
            throw .unable("vCPU \(vcpu) of '\(name)' uses \(mode), which this version cannot read")
        }
    }

    /// Runs a command of the kernel's monitor, with 10 seconds to answer.
    public func exec(_ command: String) throws(TargetError) -> [String] { try exec(command, timeout: 10) }
}

/// Finds targets by what the user calls them.
public enum Targets {
    /// The target that a text names.
    ///
    /// NAME is a guest of this user, `qmp:SOCKET` a QEMU monitor, `core:FILE` an ELF core or a raw image, `pid:N` any
    /// process that holds a VM; `libvirt:DOMAIN` and `libvirt:URI#DOMAIN` a domain of libvirt's QEMU driver.
    public static func open(_ text: String) throws(TargetError) -> any Target {
        if text.hasPrefix("core:") { return try CoreTarget(path: String(text.dropFirst(5))) }
        if text.hasPrefix("pid:") { return try ProcessTarget(String(text.dropFirst(4))) }
        if text.hasPrefix("qmp:") { return try QEMUTarget(socket: String(text.dropFirst(4))) }
        if text.hasPrefix("libvirt:") { return try Libvirt.open(String(text.dropFirst(8))) }
        return try openGuest(text)
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
            ("pid:", "a process with a VM"), ("qmp:", "a QEMU monitor"), ("core:", "a file"),
            ("libvirt:", "a domain, which virsh steers"),
        ] where text.hasPrefix(prefix) {
            throw .unable("\(text) is \(what), which can be looked at only; this verb is for guests of vitrine run")
        }
    }
}

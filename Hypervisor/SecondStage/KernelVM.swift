// A VM as the kernel knows it: struct kvm, its memory slots, its vCPUs.

import Addresses
import GuestMemory
import PageTables
import SystemCalls

/// A memory slot as the kernel has it.
public struct KernelSlot: Hashable, Sendable {
    /// Where it is; its name is empty.
    public let slot: MemorySlot
    /// KVM_MEM_LOG_DIRTY_PAGES: writes to it are logged.
    public let logsDirtyPages: Bool
    /// KVM_MEM_READONLY.
    public let isReadOnly: Bool
    /// Made by KVM itself (APIC page, identity map, TSS).
    public let isInternal: Bool
    /// The kernel address of its table about 2 MiB pages; 0 if there is none.
    let largePages: UInt64
}

/// A vCPU as the kernel knows it.
public struct KernelVCPU: Sendable {
    /// Its number (KVM_CREATE_VCPU).
    public let id: Int
    /// Its control registers. Those of a running vCPU are of its last exit.
    public let paging: PagingState
    /// Of when CR3 is.
    public let cr3Moment: CR3Moment
    /// The root that the vCPU uses now, nil if it has none (before its first run, and after its slots changed).
    public let root: KernelRoot?
    /// Roots that it used before and can go back to.
    public let previousRoots: [KernelRoot]
    /// The role of the root.
    let role: UInt32
    /// Where its table of four entries is (shadow paging of PAE and 32-bit guests); 0 if it has none.
    let paeRoot: UInt64
    /// Whether it runs a guest of its guest now.
    public let isNested: Bool
}

/// Of when the CR3 is that the kernel has of a vCPU.
public enum CR3Moment: Sendable {
    /// Of now: with shadow tables each change of CR3 comes to KVM.
    case now
    /// Of the last exit: a guest with nested paging changes CR3 without one.
    case lastExit
    /// Older than that: on Intel, with EPT, the kernel reads CR3 from the processor only when it needs it.
    case older
}

/// A root of second-stage tables as a vCPU has it.
public struct KernelRoot: Hashable, Sendable {
    /// The host physical address of the table.
    public let hpa: HPA
    /// What it shadows: the guest's CR3. Nothing with nested paging.
    public let guestTable: UInt64
}

/// How many leaves KVM says there are, of every size (the VM's statistics pages_4k, pages_2m, pages_1g).
public struct LeafCounts: Hashable, Sendable {
    /// Of 4 KiB.
    public var pages4K = 0
    /// Of 2 MiB.
    public var pages2M = 0
    /// Of 1 GiB.
    public var pages1G = 0

    /// Counts.
    public init(pages4K: Int = 0, pages2M: Int = 0, pages1G: Int = 0) {
        self.pages4K = pages4K
        self.pages2M = pages2M
        self.pages1G = pages1G
    }

    /// All of them.
    public var total: Int { pages4K + pages2M + pages1G }
}

/// A VM, read from the kernel's memory while it runs.
public final class KernelVM {
    /// The process that holds it.
    public let process: Int32
    /// Where the kernel's memory is read from.
    public let memory: any KernelMemory
    /// The kernel address of its struct kvm.
    public let address: UInt64
    /// The kernel address of the top page table of its process, 0 if that is not known.
    let hostPageTable: UInt64
    let layout: KVMLayout
    /// Looks again whether the VM is still there.
    private let isThere: () throws(SecondStageError) -> Bool

    init(
        process: Int32, memory: any KernelMemory, address: UInt64, hostPageTable: UInt64, layout: KVMLayout,
        isThere: @escaping () throws(SecondStageError) -> Bool
    ) {
        self.process = process
        self.memory = memory
        self.address = address
        self.hostPageTable = hostPageTable
        self.layout = layout
        self.isThere = isThere
    }

    /// How the kernel's memory is read.
    public enum Access: Sendable {
        /// BPF, and where that is refused /proc/kcore.
        case best
        /// /proc/kcore and /proc/kallsyms.
        case kcore
    }

    /// Finds the VM that a process holds.
    ///
    /// - Parameters:
    ///   - index: which, if it holds several; nil: it must hold one only.
    ///   - access: how the kernel's memory is read.
    public static func open(
        process: Int32, index: Int? = nil, access: Access = .best
    ) throws(SecondStageError) -> KernelVM {
        if case .kcore = access { return try openByKcore(process: process, index: index) }
        do throws(SecondStageError) {
            return try openByBPF(process: process, index: index)
        } catch {
            guard case .refused = error else { throw error }
            do throws(SecondStageError) { return try openByKcore(process: process, index: index) } catch {
                switch error {
                case .noVM, .severalVMs, .processGone, .vmGone: throw error
                default: break
                }
            }
            // What stood in the way of BPF is what there is something to do about.
            throw error
        }
    }

    private static func openByBPF(process: Int32, index: Int?) throws(SecondStageError) -> KernelVM {
        let memory = try BPFKernelMemory()
        let files = try memory.files(of: process)
        guard !files.isEmpty else {
            guard ProcessMemory.exists(process) else { throw .processGone(process) }
            throw .noVM(process: process)
        }
        let layout = try KVMLayout(KernelTypes())
        var vms: [(address: UInt64, pageTable: UInt64)] = []
        for file in files {
            var address = file.object
            if file.isVCPU {
                guard let vm = try memory.words([file.object &+ UInt64(layout.vcpu.vm)])[0] else { continue }
                address = vm
            }
            if !vms.contains(where: { $0.address == address }) { vms.append((address, file.pageTable)) }
        }
        guard vms.count == 1 || index != nil, vms.indices.contains(index ?? 0) else {
            throw .severalVMs(process: process, count: vms.count)
        }
        let chosen = vms[index ?? 0]
        let objects = Set(files.map(\.object))
        return KernelVM(
            process: process, memory: memory, address: chosen.address, hostPageTable: chosen.pageTable, layout: layout
        ) { () throws(SecondStageError) -> Bool in
            try memory.files(of: process).contains { objects.contains($0.object) }
        }
    }

    /// Throws if the VM was closed: what was read of it then means nothing.
    public func checkStillThere() throws(SecondStageError) {
        guard try isThere() else {
            throw ProcessMemory.exists(process) ? .vmGone(process: process) : .processGone(process)
        }
    }

    /// One field of struct kvm.
    func word(_ offset: Int?) throws(SecondStageError) -> UInt64? {
        guard let offset else { return nil }
        return try memory.words([address &+ UInt64(offset)])[0]
    }

    /// What KVM counts.
    public func statistics() throws(SecondStageError) -> LeafCounts? {
        guard let pages4K = try word(layout.vm.pages4K), let pages2M = try word(layout.vm.pages2M),
            let pages1G = try word(layout.vm.pages1G)
        else { return nil }
        return LeafCounts(
            pages4K: Int(truncatingIfNeeded: pages4K), pages2M: Int(truncatingIfNeeded: pages2M),
            pages1G: Int(truncatingIfNeeded: pages1G))
    }

    // MARK: Slots

    /// KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY (linux/kvm.h); KVM_MEMSLOT_INVALID (linux/kvm_host.h).
    private static let logDirty: UInt32 = 1 << 0
    private static let readOnly: UInt32 = 1 << 1
    private static let invalid: UInt32 = 1 << 16
    /// KVM_USER_MEM_SLOTS of x86 (SHRT_MAX - 3): KVM's own slots have numbers from there on.
    private static let firstInternal = 32764
    private static let mostSlots = 65536

    /// The slots that are in force, by ascending guest physical address; KVM's own among them.
    public func slots() throws(SecondStageError) -> [KernelSlot] {
        for _ in 0..<20 {
            guard let set = try word(layout.vm.memorySlots), set != 0 else { break }
            let before = try memory.words([set &+ UInt64(layout.slots.generation)])[0]
            let found = try slots(of: set)
            // A change writes the set that is not in force and then makes it the one in force.
            let after = try memory.words([set &+ UInt64(layout.slots.generation)])[0]
            if let found, try word(layout.vm.memorySlots) == set, before == after { return found }
        }
        try checkStillThere()
        throw .keepsChanging("the list of memory slots")
    }

    /// The slots as a table, with names: those given by number, `kvm` for KVM's own, `slot N` for others.
    public func slotTable(of slots: [KernelSlot], names: [UInt32: String] = [:]) throws(SecondStageError) -> SlotTable {
        let named = slots.map { slot in
            let name = names[slot.slot.id] ?? (slot.isInternal ? "kvm" : "slot \(slot.slot.id)")
            return MemorySlot(
                id: slot.slot.id, name: name, guestPhysicalAddress: slot.slot.guestPhysicalAddress,
                size: slot.slot.size, userspaceAddress: slot.slot.userspaceAddress)
        }
        do throws(SlotError) { return try SlotTable(named) } catch {
            // What was read of a VM that was closed meanwhile may be anything.
            try checkStillThere()
            throw .keepsChanging("the list of slots (\(error))")
        }
    }

    private func slots(of set: UInt64) throws(SecondStageError) -> [KernelSlot]? {
        let fields = layout.slots
        let words = try memory.words([set &+ UInt64(fields.tree), set &+ UInt64(fields.nodeIndex)])
        guard let root = words[0], let index = words[1] else { return nil }
        // Which of a slot's two nodes belongs to this set.
        let node = UInt64(fields.treeNode + Int(index & 1) * fields.nodeSize)
        var found: [KernelSlot] = []
        var seen: Set<UInt64> = []
        var level = root == 0 ? [] : [root]
        var whole = true
        while !level.isEmpty {
            var next: [UInt64] = []
            try memory.read(level.map { KernelPiece($0 &- node, min(fields.size, 4096)) }) { _, bytes in
                guard let bytes else {
                    whole = false
                    return
                }
                for child in [fields.left, fields.right] {
                    let address = bytes.loadUnaligned(fromByteOffset: Int(node) + child, as: UInt64.self)
                    if address != 0, seen.insert(address).inserted { next.append(address) }
                }
                if let slot = Self.slot(bytes, fields) { found.append(slot) }
            }
            guard whole, seen.count <= Self.mostSlots else { return nil }
            level = next
        }
        return found.sorted { $0.slot.guestPhysicalAddress < $1.slot.guestPhysicalAddress }
    }

    private static func slot(_ bytes: UnsafeRawBufferPointer, _ fields: KVMLayout.Slots) -> KernelSlot? {
        func word(_ offset: Int) -> UInt64 { bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
        let flags = bytes.loadUnaligned(fromByteOffset: fields.flags, as: UInt32.self)
        let id = bytes.loadUnaligned(fromByteOffset: fields.id, as: Int16.self)
        let pages = word(fields.pageCount)
        guard flags & invalid == 0, pages != 0, pages < 1 << 40 else { return nil }
        return KernelSlot(
            slot: MemorySlot(
                id: UInt32(UInt16(bitPattern: id)), name: "",
                guestPhysicalAddress: GPA(word(fields.firstFrame) << 12), size: pages << 12,
                userspaceAddress: HVA(word(fields.hostAddress))),
            logsDirtyPages: flags & logDirty != 0, isReadOnly: flags & readOnly != 0,
            isInternal: Int(id) >= firstInternal, largePages: fields.largePages.map(word) ?? 0)
    }

    // MARK: vCPUs

    /// The vCPUs, by number of creation.
    public func vcpus() throws(SecondStageError) -> [KernelVCPU] {
        var vcpus: [KernelVCPU] = []
        for object in try vcpuObjects() {
            if let vcpu = try vcpu(at: object) { vcpus.append(vcpu) }
        }
        return vcpus
    }

    /// The kernel addresses of the vCPUs: the leaves of an xarray (lib/xarray.c): an entry that ends in binary 10 and is
    /// above 4096 is a node.
    private func vcpuObjects() throws(SecondStageError) -> [UInt64] {
        guard let head = try word(layout.vm.vcpus + layout.xarray.head), head != 0 else { return [] }
        var objects: [UInt64] = []
        var entries = [head]
        for _ in 0..<4 {
            var next: [UInt64] = []
            for entry in entries {
                guard entry & 3 == 2, entry > 4096 else {
                    if entry & 3 == 0, entry != 0 { objects.append(entry) }
                    continue
                }
                let node = (entry & ~3) &+ UInt64(layout.xarray.slots)
                next += try memory.words((0..<64).map { node &+ UInt64($0 * 8) }).compactMap { $0 }.filter { $0 != 0 }
            }
            if next.isEmpty { break }
            entries = next
        }
        return objects
    }

    private func vcpu(at object: UInt64) throws(SecondStageError) -> KernelVCPU? {
        let fields = layout.vcpu
        func at(_ offset: Int) -> UInt64 { object &+ UInt64(offset) }
        let mmu = at(fields.rootMMU)
        let roots = (0..<3).map { mmu &+ UInt64(layout.mmu.previousRoots + $0 * layout.mmu.rootInfoSize) }
        let words = try memory.words(
            [
                at(fields.vm), at(fields.id), at(fields.cr0), at(fields.cr3), at(fields.cr4), at(fields.efer),
                at(fields.addressBits ?? fields.id), at(fields.available ?? fields.id), at(fields.currentMMU),
                mmu &+ UInt64(layout.mmu.rootAddress), mmu &+ UInt64(layout.mmu.rootGuestTable),
                mmu &+ UInt64(layout.mmu.role), mmu &+ UInt64(layout.mmu.paeRoot),
            ] + roots.flatMap { [$0 &+ UInt64(layout.mmu.infoAddress), $0 &+ UInt64(layout.mmu.infoGuestTable)] }
        ).map { $0 ?? 0 }
        guard words[0] == address else { return nil }
        func root(_ hpa: UInt64, _ guestTable: UInt64) -> KernelRoot? {
            // INVALID_PAGE is all ones.
            hpa == 0 || hpa == ~0 ? nil : KernelRoot(hpa: HPA(hpa & SecondStageDecoder.address), guestTable: guestTable)
        }
        let bits = fields.addressBits == nil ? 52 : Int(words[6] & 0xff)
        let nested = words[8] != mmu
        let role = UInt32(truncatingIfNeeded: words[11])
        var moment = CR3Moment.lastExit
        if let bit = layout.cr3Bit, fields.available != nil, words[7] >> UInt64(bit & 63) & 1 == 0 { moment = .older }
        // Shadow tables of a guest that uses paging are not direct. CR0.PG is bit 31.
        if words[9] != ~0, words[2] >> 31 & 1 != 0, layout.role.direct.bits(of: role) == 0 { moment = .now }
        return KernelVCPU(
            id: Int(words[1] & 0xffff_ffff),
            paging: PagingState(
                cr0: words[2], cr3: words[3], cr4: words[4], efer: words[5], maxPhysicalAddressBits: bits),
            cr3Moment: moment, root: root(words[9], words[10]),
            previousRoots: (0..<3).compactMap { root(words[13 + 2 * $0], words[14 + 2 * $0]) },
            role: role, paeRoot: words[12], isNested: nested)
    }
}

// KVM's tables of one VM, copied while the guest runs: which tables there are, and what was in each.

import Addresses
import Glibc

/// One table of KVM's (struct kvm_mmu_page and the page it points to).
public struct KernelTable: Hashable, Sendable {
    /// The kernel virtual address of its 512 entries.
    public let entries: UInt64
    /// Its level: a leaf of level 1 maps 4 KiB.
    public let level: Int
    /// The guest frame that its first entry is for; with an indirect shadow table, the guest's table that it shadows.
    public let firstFrame: UInt64
    /// Its entries are for consecutive guest frames; otherwise for those of a guest's table.
    public let isDirect: Bool
    /// KVM keeps it only until nobody uses it.
    public let isInvalid: Bool
    /// The guest may have changed its table since, and not yet told the processor (no TLB flush).
    public let isUnsynchronised: Bool
    /// It is for guests of the guest.
    public let isNestedGuest: Bool
    /// Address space 1: system management mode.
    public let isSystemManagement: Bool
    /// Large pages were given up here against the iTLB multihit erratum.
    public let noHugePage: Bool
    /// How many vCPUs hold it as a root, or have it cached as one.
    public let rootCount: Int
    /// The kernel virtual address of the frames that its entries are for; 0 if it is direct.
    let translation: UInt64
    /// What KVM's role word says.
    let role: UInt32
}

/// Copies of KVM's tables.
struct TableSnapshot {
    /// The tables.
    var tables: [KernelTable] = []
    /// 512 entries a table.
    var entries: [UInt64] = []
    /// Where in `frames` the 512 guest frames of an indirect table begin; -1 for a direct one.
    var framesStart: [Int] = []
    /// Guest frames of indirect tables, as KVM has them.
    var frames: [UInt64] = []
    /// Tables that were given up or changed their meaning while they were copied, and so are left out.
    var vanished = 0
    /// Which of the tables belong to the TDP MMU; the roots come first.
    var nestedTables = 0..<0
    /// Roots of four entries, in use by bit 0.
    var specialTables: Set<Int> = []

    /// The entry of a table.
    func entry(_ table: Int, _ index: Int) -> UInt64 { entries[table * 512 + index] }
}

extension KernelVM {
    /// The most tables that are copied: 1 GiB of them, which is 256 GiB of guest in pages of 4 KiB.
    static let mostTables = 262_144

    /// A table from the first bytes of its struct kvm_mmu_page.
    func table(_ bytes: UnsafeRawBufferPointer) -> KernelTable {
        func word(_ offset: Int) -> UInt64 { bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
        let fields = layout.page
        let role = bytes.loadUnaligned(fromByteOffset: fields.role, as: UInt32.self)
        func bits(_ field: KernelField?) -> UInt32 { field?.bits(of: role) ?? 0 }
        let isDirect = bits(layout.role.direct) != 0
        return KernelTable(
            entries: word(fields.table), level: Int(bits(layout.role.level)), firstFrame: word(fields.firstFrame),
            isDirect: isDirect, isInvalid: bits(layout.role.invalid) != 0,
            isUnsynchronised: bytes[fields.unsync] != 0, isNestedGuest: bits(layout.role.nestedGuest) != 0,
            isSystemManagement: bits(layout.role.addressSpace) != 0,
            noHugePage: fields.noHugePage.map { bytes[$0] != 0 } ?? false,
            rootCount: Int(bytes.loadUnaligned(fromByteOffset: fields.rootCount, as: Int32.self)),
            translation: isDirect ? 0 : fields.translation.map(word) ?? 0, role: role)
    }

    /// The tables of one of KVM's lists of them, at an offset in struct kvm. Nil if it changed each time.
    func tables(listAt offset: Int) throws(SecondStageError) -> [UInt64: KernelTable] {
        for attempt in 0..<50 {
            if attempt > 5 { usleep(1000) }
            if let found = try memory.list(
                head: address &+ UInt64(offset), linkOffset: layout.page.link, size: layout.page.size,
                limit: Self.mostTables)
            {
                var tables: [UInt64: KernelTable] = [:]
                tables.reserveCapacity(found.count)
                for element in found { tables[element.address] = element.bytes.withUnsafeBytes { table($0) } }
                return tables
            }
        }
        try checkStillThere()
        throw .keepsChanging("KVM's list of page tables")
    }

    /// Copies the tables that KVM keeps in its list of shadow pages: all of shadow paging, and nested paging with
    /// kvm.tdp_mmu=0.
    func snapshotOfShadowPages() throws(SecondStageError) -> TableSnapshot {
        let before = try tables(listAt: layout.vm.activePages)
        var snapshot = TableSnapshot()
        let objects = before.keys.sorted()
        try copy(objects.compactMap { before[$0] }, into: &snapshot)
        // A table that was given up meanwhile may hold anything. One that is still the same table was it all the time, or
        // was given up and made again: then what was copied is what one of the two held.
        let after = try tables(listAt: layout.vm.activePages)
        for (index, object) in objects.enumerated() {
            let now = after[object]
            let table = snapshot.tables[index]
            guard let now, now.entries == table.entries, now.role == table.role, now.firstFrame == table.firstFrame,
                now.translation == table.translation
            else {
                snapshot.empty(index)
                continue
            }
        }
        return snapshot
    }

    /// Adds tables with copies of their entries, and of the frames of indirect ones.
    func copy(_ tables: [KernelTable], into snapshot: inout TableSnapshot) throws(SecondStageError) {
        let first = snapshot.tables.count
        snapshot.tables += tables
        snapshot.entries.reserveCapacity(snapshot.tables.count * 512)
        try memory.read(tables.map { KernelPiece($0.entries, 4096) }) { _, bytes in
            snapshot.appendEntries(bytes)
        }
        for table in snapshot.tables[first...] {
            guard table.translation != 0 else {
                snapshot.framesStart.append(-1)
                continue
            }
            snapshot.framesStart.append(snapshot.frames.count)
            snapshot.frames.append(contentsOf: repeatElement(0, count: 512))
        }
        let indirect = snapshot.tables.indices[first...].filter { snapshot.framesStart[$0] >= 0 }
        try memory.read(indirect.map { KernelPiece(snapshot.tables[$0].translation, 4096) }) { number, bytes in
            guard let bytes else { return }
            let start = snapshot.framesStart[indirect[number]]
            snapshot.frames.withUnsafeMutableBytes { buffer in
                UnsafeMutableRawBufferPointer(rebasing: buffer[start * 8..<(start + 512) * 8]).copyMemory(from: bytes)
            }
        }
    }
}

extension TableSnapshot {
    fileprivate mutating func appendEntries(_ bytes: UnsafeRawBufferPointer?) {
        guard let bytes, bytes.count == 4096 else {
            entries.append(contentsOf: repeatElement(0, count: 512))
            return
        }
        entries.append(contentsOf: bytes.bindMemory(to: UInt64.self))
    }

    /// Leaves out what was copied of a table.
    mutating func empty(_ table: Int) {
        vanished += 1
        for index in table * 512..<(table + 1) * 512 { entries[index] = 0 }
    }
}

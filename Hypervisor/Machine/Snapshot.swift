// Copies of the guest's page tables at the moment a stage is reported.

import Addresses
import GuestMemory

extension StageSnapshot {
    /// More tables than this are not copied.
    static let tableLimit = 4096

    /// Copies every table that can be reached from CR3 through 4 levels, each once. Tables that refer to themselves or
    /// lie outside RAM do no harm.
    init(_ stage: Stage, cr3: UInt64, _ memory: GuestRAM) {
        // Bits 51-12 of CR3 and of an entry are an address; bit 7 of a level 3 or 2 entry makes it a page.
        let mask: UInt64 = 0x000f_ffff_ffff_f000
        var found: [UInt64: [UInt8]] = [:]
        var truncated = false
        // A table may be reached at several levels; what it refers to depends on the level.
        var seen: Set<UInt64> = []
        var pending: [(address: UInt64, level: Int)] = [(cr3 & mask, 4)]
        while let (address, level) = pending.popLast() {
            guard seen.insert(address | UInt64(level)).inserted else { continue }
            if found[address] == nil {
                guard let page = memory.page(at: GPA(address)) else { continue }
                guard found.count < StageSnapshot.tableLimit else {
                    truncated = true
                    continue
                }
                found[address] = Array(UnsafeRawBufferPointer(start: page, count: 4096))
            }
            guard level > 1, let bytes = found[address] else { continue }
            bytes.withUnsafeBytes { buffer in
                for entry in buffer.bindMemory(to: UInt64.self)
                where entry & 1 != 0 && (level == 4 || level < 4 && (level == 1 || entry & 0x80 == 0)) {
                    pending.append((entry & mask, level - 1))
                }
            }
        }
        self.init(
            stage: stage, cr3: cr3,
            pages: found.sorted { $0.key < $1.key }.map { (address: GPA($0.key), bytes: $0.value) },
            truncated: truncated)
    }
}

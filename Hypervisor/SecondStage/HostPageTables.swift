// The page tables of the process that runs the guest, out of the kernel's memory: for those who may read that (CAP_BPF,
// CAP_PERFMON), and may not see frame numbers in /proc/PID/pagemap (CAP_SYS_ADMIN).

import Addresses

/// A process's page tables: 4 or 5 levels of the processor's format (Intel SDM volume 3, 5.5).
struct HostPageTables {
    let memory: any KernelMemory
    /// The kernel address of the top table.
    let top: UInt64
    /// What is added to a physical address to read it.
    let directMap: UInt64
    /// 5 if the kernel uses 5 levels: it hides the processor's flag otherwise.
    let levels: Int

    /// The tables of a VM's process; nil if where they are is not known.
    init?(of vm: KernelVM, directMap: UInt64?) {
        guard vm.hostPageTable != 0, let directMap else { return nil }
        memory = vm.memory
        top = vm.hostPageTable
        self.directMap = directMap
        let flags = ModuleParameter.value("/proc/cpuinfo", limit: 4096) ?? ""
        levels = flags.split(whereSeparator: { $0 == " " || $0 == "\n" }).contains("la57") ? 5 : 4
    }

    /// What the tables say of 512 pages.
    struct Chunk {
        /// In the form of /proc/PID/pagemap: present in bit 63, swapped out in bit 62, and the frame.
        var entries: [UInt64]
        /// The size of the pages in bytes.
        var pageSize: UInt64
    }

    /// The entries of the 512 pages of 2 MiB.
    func chunk(_ number: UInt64) throws(SecondStageError) -> Chunk {
        let absent = Chunk(entries: [UInt64](repeating: 0, count: 512), pageSize: 4096)
        let address = number << 21
        var table = top
        for level in stride(from: levels, to: 1, by: -1) {
            let index = address >> UInt64(12 + 9 * (level - 1)) & 511
            guard let entry = try memory.words([table &+ index * 8])[0], entry & 1 != 0 else { return absent }
            let target = entry & SecondStageDecoder.address
            if level <= 3, entry & SecondStageDecoder.largePage != 0 {
                let size = SecondStageDecoder.pageSize(level: level)
                let first = (target & ~(size &- 1) | address & (size &- 1)) >> 12
                return Chunk(entries: (0..<512).map { 1 << 63 | first &+ $0 }, pageSize: size)
            }
            table = directMap &+ target
        }
        var chunk = absent
        try memory.read([KernelPiece(table, 4096)]) { _, bytes in
            guard let bytes else { return }
            for index in 0..<512 {
                chunk.entries[index] = Self.pageMapEntry(
                    bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
            }
        }
        return chunk
    }

    /// An entry of the lowest level in the form of /proc/PID/pagemap (arch/x86/include/asm/pgtable.h).
    ///
    /// Without P it may still be of a page that is there and may not be accessed (bit 8, _PAGE_PROTNONE); such entries
    /// have their address bits inverted, against L1TF. Whatever else is not empty is of a page that was moved away.
    static func pageMapEntry(_ entry: UInt64) -> UInt64 {
        if entry & 1 != 0 { return 1 << 63 | (entry & SecondStageDecoder.address) >> 12 }
        if entry & 1 << 8 != 0 { return 1 << 63 | (~entry & SecondStageDecoder.address) >> 12 }
        return entry == 0 ? 0 : 1 << 62
    }
}

// The rules of resea about tables and the physical map: the boot stages, the straight mapping, the APs' boot code, the bootfs.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// Rules about the kernel of resea.
struct ReseaTableRules<Guest: AuditGuest> {
    let guest: Guest

    private static var gib: UInt64 { 1 << 30 }
    private static var large: UInt64 { 2 << 20 }

    /// Every rule.
    func results() -> [AuditResult] {
        let now = KernelRoot(guest).subject
        return [
            bootRoot("A"), bootLeaves, bootRoot("B"), stageC, straight(now), elsewhere(now), tablesInArena(now),
            apBootCode(now), apGDTR(now), bootCode(now), image(now),
        ]
    }

    private func bootRoot(_ stage: String) -> AuditResult {
        AuditResult("stage \(stage), root", expected: "only PML4[0] and [256], which share one PDPT") {
            let entries = try guest.stage(stage).presentRootEntries()
            guard entries.keys.sorted() == [0, 256] else { return .wrong("present: PML4\(tablePlaces(entries.keys))") }
            let tables = Set(entries.values.map { $0 & X86Bit.address })
            guard tables.count == 1, let table = tables.first else { return .wrong("they have a PDPT each") }
            return .right("both refer to the PDPT at \(GPA(table).hex)")
        }
    }

    private var bootLeaves: AuditResult {
        AuditResult("stage A, leaves", expected: "PA 0-1 GiB at 0xffff800000000000 as 512 leaves of 2 MiB, bits 0xe7") {
            try OSvTableRules(plan: .resea).linear(
                try guest.stage("A"), base: Resea.kernelOffset, named: "the straight mapping",
                wanted: [LinearStretch(first: 0, end: Self.gib, pageSize: Self.large)], below: Self.gib,
                bits: OSv.leafBits2M)
        }
    }

    private var stageC: AuditResult {
        AuditResult("stage C, root", expected: "a new root with PML4[256] alone") {
            let (before, subject) = (try guest.stage("A"), try guest.stage("C"))
            let entries = try subject.presentRootEntries()
            guard subject.root != before.root else { return .wrong("still \(subject.root.hex)") }
            guard entries.keys.sorted() == [256] else { return .wrong("present: PML4\(tablePlaces(entries.keys))") }
            return .right("\(subject.root.hex), only PML4[256]")
        }
    }

    private func straight(_ subject: Subject) -> AuditResult {
        AuditResult(
            "now, straight mapping", expected: "PA 0-4 GiB at 0xffff800000000000 as 2048 leaves of 2 MiB, bits 0x183"
        ) {
            var next = Resea.kernelOffset
            // The processor adds accessed and dirty.
            let own = X86Bit.accessed | X86Bit.dirty
            for run in try subject.audited(GVA(Resea.kernelOffset)...GVA(.max)).collector.runs {
                guard run.va.rawValue == next, run.gpa.rawValue == next - Resea.kernelOffset else {
                    return .wrong("\(run.va.hex) leads to \(run.gpa.hex), \(GVA(next).hex) was expected")
                }
                guard run.pageSize == Self.large, run.leafBits & ~own == Resea.straightLeaf else {
                    return .wrong("\(run.va.hex): pages of \(pageName(run.pageSize)), bits \(GPA(run.leafBits).hex)")
                }
                next = run.lastVA.rawValue &+ 1
            }
            guard next == Resea.kernelOffset + Resea.straightSize else { return .wrong("it ends at \(GVA(next).hex)") }
            return .right("2048 leaves of 2M")
        }
    }

    private func elsewhere(_ subject: Subject) -> AuditResult {
        AuditResult("now, elsewhere", expected: "in the kernel's root PML4[256] alone") {
            let entries = try subject.presentRootEntries()
            return entries.keys.sorted() == [256]
                ? .right("only PML4[256]") : .wrong("present: PML4\(tablePlaces(entries.keys))")
        }
    }

    private func tablesInArena(_ subject: Subject) -> AuditResult {
        AuditResult("now, page tables", expected: "every table lies in the slot 'arena', after image and bootfs") {
            guard let arena = guest.subject.slots.slots.first(where: { $0.name == "arena" }) else {
                return .wrong("there is no slot 'arena'")
            }
            let tables = try subject.audited().summary.tables
            for table in tables where arena.hva(of: table.gpa) == nil {
                return .wrong("the \(subject.format.tableName(level: table.level)) at \(table.gpa.hex) is not in it")
            }
            guard arena.guestPhysicalAddress.rawValue == Resea.imageEnd else {
                return .wrong("it begins at \(arena.guestPhysicalAddress.hex)")
            }
            return .right("\(counted(tables.count, "table")), GPA \(arena.guestPhysicalAddress.hex)")
        }
    }

    // MARK: The physical map

    private func bytes(_ subject: Subject, _ gpa: UInt64, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard bytes.withUnsafeMutableBytes({ subject.memory.read(GPA(gpa), into: $0) }) else {
            throw AuditTrouble("\(GPA(gpa).hex) cannot be read")
        }
        return bytes
    }

    private func word(_ bytes: [UInt8], _ offset: Int, _ count: Int = 8) -> UInt64 {
        bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private func cpus() throws -> [[String: String]] {
        guard case .lines(let lines) = try guest.command("cpus") else {
            throw AuditTrouble("the kernel does not answer 'cpus'")
        }
        return lines
    }

    private func apBootCode(_ subject: Subject) -> AuditResult {
        AuditResult(
            "AP boot code",
            expected: "real-mode code at PA 0x5000 that loads the GDTR of the next page; every AP started there"
        ) {
            // cli; mov %cs, %ax; mov %ax, %ds; lgdtl 0x1000: the page after its own segment.
            let wanted: [UInt8] = [0xfa, 0x8c, 0xc8, 0x8e, 0xd8, 0x66, 0x0f, 0x01, 0x16, 0x00, 0x10]
            let found = try bytes(subject, Resea.apBootCode, wanted.count)
            guard found == wanted else {
                return .wrong("there is " + found.map { String($0, radix: 16) }.joined(separator: " "))
            }
            let cpus = try cpus()
            guard !cpus.isEmpty, cpus.allSatisfy({ $0["state"] == "online" }) else {
                return .wrong("\(cpus.filter { $0["state"] == "online" }.count) of \(cpus.count) processors are online")
            }
            return .right("\(counted(cpus.count - 1, "AP")) started there")
        }
    }

    /// A descriptor is marked by the processor that loads it: who started through this GDTR left its marks. QEMU's emulator marks those of
    /// data segments and, at a far jump, not those of code.
    private func apGDTR(_ subject: Subject) -> AuditResult {
        AuditResult(
            "AP GDTR",
            expected:
                "limit 31 and base at PA 0x6000; the data segment behind it is marked as accessed if an AP started, else nothing"
        ) {
            let page = try bytes(subject, Resea.apGDTR, 48)
            let (limit, base) = (word(page, 0, 2), word(page, 2, 4))
            guard limit == 31, base == Resea.apGDTR + 8 else {
                return .wrong("limit \(limit), base \(GPA(base).hex)")
            }
            let isStarted = try cpus().count > 1
            // 64-bit code and data (Intel SDM volume 3, table 3-1: bit 40 is the accessed bit).
            for (index, name) in [(1, "code"), (2, "data")] {
                let isMarked = word(page, 8 + index * 8) >> 40 & 1 == 1
                guard isMarked == isStarted || isStarted && name == "code" else {
                    return .wrong("the \(name) segment is \(isMarked ? "marked" : "not marked") as accessed")
                }
            }
            return .right("at \(GPA(base).hex), \(isStarted ? "loaded by the APs" : "not loaded by anyone")")
        }
    }

    private func bootCode(_ subject: Subject) -> AuditResult {
        AuditResult(
            "boot code", expected: "the kernel's first page, PA 0x100000, begins with its offset; the image behind it"
        ) {
            let first = word(try bytes(subject, Resea.bootCode, 8), 0)
            guard first == Resea.kernelOffset else { return .wrong("there is \(GPA(first).hex)") }
            let kernel = try guest.area("kernel")
            guard kernel.lowerBound == Resea.kernelOffset + Resea.bootCode,
                kernel.upperBound <= Resea.kernelOffset + Resea.imageEnd
            else { return .wrong("the kernel says \(GVA(kernel.lowerBound).hex)-\(GVA(kernel.upperBound).hex)") }
            return .right("the image to PA \(GPA(kernel.upperBound - Resea.kernelOffset).hex)")
        }
    }

    /// The bootfs, and that a task's code is what it has there.
    private func image(_ subject: Subject) -> AuditResult {
        AuditResult("bootfs", expected: "in the kernel's image; a task's text is its file's, byte for byte") {
            let (kernel, bootfs) = (try guest.area("kernel"), try guest.area("bootfs"))
            guard kernel.contains(bootfs.lowerBound), bootfs.upperBound <= kernel.upperBound, !bootfs.isEmpty else {
                return .wrong("\(GVA(bootfs.lowerBound).hex)-\(GVA(bootfs.upperBound).hex)")
            }
            let start = bootfs.lowerBound - Resea.kernelOffset
            let header = try bytes(subject, start, 16)
            guard word(header, 0) == Resea.bootfsMagic else { return .wrong("there is \(GPA(word(header, 0)).hex)") }
            var compared = 0
            for process in try guest.processes() where process.number != 0 {
                let name = try name(of: process.number)
                for file in 0..<min(word(header, 8), 64) {
                    let entry = try bytes(subject, start + Resea.bootfsHeader + file * Resea.bootfsEntry, 64)
                    guard String(decoding: entry[24...].prefix { $0 != 0 }, as: UTF8.self) == name else { continue }
                    compared += try compare(process, fileAt: start + word(entry, 0))
                }
            }
            return compared > 0
                ? .right("PA \(GPA(start).hex), \(counted(compared, "page")) of tasks compared")
                : .notApplicable("no task of the bootfs has a page of text")
        }
    }

    private func name(of number: UInt64) throws -> String {
        guard case .lines(let lines) = try guest.command("ps"),
            let line = lines.first(where: { $0["program"] == "\(number)" }), let name = line["name"]
        else { throw AuditTrouble("process \(number) has no name") }
        return name
    }

    /// Compares the pages of a task's text with its file; how many.
    private func compare(_ process: ProcessGuest<Guest>, fileAt file: UInt64) throws -> Int {
        let task = process.subject
        let header = try bytes(task, file, 64)
        // ELF64 (elf.h): program headers at 32, entry size 54, count 56; the first is the text.
        let segment = try bytes(task, file + word(header, 32), 56)
        let (offset, address, size) = (word(segment, 8), word(segment, 16), word(segment, 32))
        var pages = 0
        for page in stride(from: 0, to: min(size, 1 << 20), by: 4096) {
            _ = try process.first("touch \(GVA(address + page).hex)")
            guard let gpa = task.translate(GVA(address + page)).mapping?.gpa else {
                throw AuditTrouble("\(GVA(address + page).hex) is not mapped after a touch")
            }
            let inFile = Int(min(4096, size - page))
            let wanted = try bytes(task, file + offset + page, inFile) + [UInt8](repeating: 0, count: 4096 - inFile)
            guard try bytes(task, gpa.rawValue, 4096) == wanted else {
                throw AuditTrouble("the page at \(GVA(address + page).hex), \(gpa.hex), is not the file's")
            }
            pages += 1
        }
        return pages
    }
}

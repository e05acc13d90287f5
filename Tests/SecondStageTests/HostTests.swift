// What needs this host: the kernel's types, BPF, and this process's own page tables.

import Addresses
import Glibc
import GuestMemory
import TestSupport
import Testing

@testable import SecondStage

/// Whether BPF programs may be loaded here.
let canLoadPrograms = (try? BPFKernelMemory()) != nil

@Suite struct HostTests {
    static let hasTypes = access("/sys/kernel/btf/vmlinux", R_OK) == 0

    @Test(.enabled(if: hasTypes, "this kernel has no BTF")) func fieldsAreFound() throws {
        let types = try KernelTypes()
        #expect(types.field("list_head", "prev") == KernelField(offset: 8))
        #expect(types.size(of: "list_head") == 16)
        #expect(types.field("list_head", "no_such_field") == nil)
        #expect(types.field("no_such_structure", "next") == nil)
        // A field of an unnamed member, and one of a structure within.
        let file = try #require(types.field("file", "f_path.dentry"))
        let path = try #require(types.field("file", "f_path"))
        let dentry = try #require(types.field("path", "dentry"))
        #expect(file.offset == path.offset + dentry.offset)
        #expect(throws: SecondStageError.self) { try types.offset("list_head", "no_such_field") }
    }

    @Test func missingTypesAreAnError() {
        #expect(throws: SecondStageError.self) { try KernelTypes(folder: "/nonexistent") }
    }

    @Test func bitFields() {
        let field = KernelField(offset: 0, shift: 7, width: 3)
        #expect(field.bits(of: 0b10_1000_0000) == 0b101)
        #expect(field.bits(of: ~0) == 7)
    }

    @Test(.enabled(if: canLoadPrograms, "BPF programs may not be loaded here")) func kernelMemoryIsRead() throws {
        let memory = try BPFKernelMemory()
        // Nothing is mapped at the bottom of the address space, nor at the top of the user's half.
        #expect(try memory.words([0, 0x7fff_ffff_f000]) == [nil, nil])
        // Not this process: other tests of it make VMs at the same time.
        #expect(try memory.files(of: getppid()).isEmpty)
        #expect(try memory.files(of: 1 << 30).isEmpty)
        // More pieces than one run takes.
        var count = 0
        try memory.read([KernelPiece](repeating: KernelPiece(0, 8), count: 3000)) { index, bytes in
            #expect(index == count && bytes == nil)
            count += 1
        }
        #expect(count == 3000)
    }

    @Test(.enabled(if: canLoadPrograms, "BPF programs may not be loaded here")) func processesWithoutVM() {
        #expect { _ = try KernelVM.open(process: getppid()) } throws: {
            if case SecondStageError.noVM = $0 { return true }
            return false
        }
        #expect { _ = try KernelVM.open(process: 1 << 30) } throws: {
            if case SecondStageError.processGone = $0 { return true }
            return false
        }
    }

    @Test func computedViewOfThisProcess() throws {
        let size = 64 * 4096
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        let area = try #require(mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0))
        defer { munmap(area, size) }
        // MADV_NOHUGEPAGE: what is touched is what is there.
        madvise(area, size, 15)
        for page in [3, 4, 5, 9] { area.storeBytes(of: 1, toByteOffset: page * 4096, as: UInt8.self) }
        _ = (area + 20 * 4096).load(as: UInt8.self)  // read only: the page of zeros
        let slot = MemorySlot(
            id: 7, name: "test", guestPhysicalAddress: GPA(0x10_0000), size: UInt64(size),
            userspaceAddress: HVA(UInt64(UInt(bitPattern: area))))
        for _ in 0..<2 {
            let reader = try BackingReader(process: getpid())
            let found = try reader.read([slot])
            let pages = found.runs.flatMap { run in
                stride(from: 0, to: run.size, by: 4096).map { (run.gpa &+ $0).rawValue }
            }
            // Looking twice shows the same: it brought nothing in.
            #expect(pages == [3, 4, 5, 9, 20].map { 0x10_0000 + UInt64($0) * 4096 })
            #expect(found.runs.allSatisfy { $0.slot == 7 && $0.pageSize == 4096 && $0.flags.contains(.present) })
            if found.seesPageSizes { #expect(found.runs.filter { $0.flags.contains(.zero) }.count == 1) }
            if found.seesFrames {
                let hpa = try reader.hpas(of: [slot.userspaceAddress &+ 3 * 4096, slot.userspaceAddress])
                #expect(hpa[0] == found.runs[0].hpa)
                #expect(hpa[1] == nil)
            }
        }
    }

    /// Larger than what one thread reads at once: the pieces are put together in order, and none is lost.
    @Test func computedViewInPieces() throws {
        let size = 3 << 29
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        let area = try #require(mmap(nil, size + (2 << 20), PROT_READ | PROT_WRITE, flags, -1, 0))
        defer { munmap(area, size + (2 << 20)) }
        madvise(area, size + (2 << 20), 15)
        var random = Random(seed: 7)
        var touched: Set<UInt64> = [0, 131_071, 131_072, 131_073, 262_143, 262_144, 393_215]
        for _ in 0..<200 { touched.insert(random.next() % 393_216) }
        for page in touched { area.storeBytes(of: 1, toByteOffset: Int(page) * 4096, as: UInt8.self) }
        let base = HVA(UInt64(UInt(bitPattern: area)))
        let slots = [
            MemorySlot(
                id: 0, name: "low", guestPhysicalAddress: GPA(0), size: UInt64(size), userspaceAddress: base),
            // The same memory once more: a slot of its own, and no run goes over from one to the other.
            MemorySlot(
                id: 1, name: "again", guestPhysicalAddress: GPA(UInt64(size)), size: UInt64(size),
                userspaceAddress: base),
        ]
        let reader = try BackingReader(process: getpid())
        let found = try reader.read(slots)
        for slot in 0..<2 as Range<UInt32> {
            let runs = found.runs.filter { $0.slot == slot }
            let pages = runs.flatMap { run in
                stride(from: 0, to: run.size, by: 4096).map { ((run.hva &- base) + $0) / 4096 }
            }
            #expect(pages == touched.sorted())
            guard found.seesFrames else { continue }
            #expect(try reader.hpas(of: runs.map(\.hva)) == runs.map(\.hpa))
        }
    }

    @Test func runsThatWereCut() {
        // Present and shared, frames in order.
        let entries = (0..<8).map { 1 << 63 | 1 << 61 | (0x100 + UInt64($0)) }
        func runs(_ parts: [Range<Int>], slots: [Int]) -> [BackingRun] {
            let slot = MemorySlot(
                id: 0, name: "a", guestPhysicalAddress: GPA(0), size: 1 << 20, userspaceAddress: HVA(0x10_0000))
            var whole = RunBuilder()
            for (part, number) in zip(parts, slots) {
                var piece = RunBuilder()
                piece.beginSlot(number)
                entries.withUnsafeBufferPointer { all in
                    _ = piece.add(
                        UnsafeBufferPointer(rebasing: all[part]), at: HVA(0x10_0000 + UInt64(part.lowerBound) * 4096),
                        categories: 0, frames: FrameSizes())
                }
                whole.append(piece)
            }
            return Array(whole.finish([slot, slot]))
        }
        #expect(runs([0..<8], slots: [0]).count == 1)
        #expect(runs([0..<3, 3..<8], slots: [0, 0]) == runs([0..<8], slots: [0]))
        #expect(runs([0..<3, 4..<8], slots: [0, 0]).count == 2)
        #expect(runs([0..<3, 3..<8], slots: [0, 1]).count == 2)
        #expect(runs([0..<3, 3..<3, 3..<8], slots: [0, 0, 0]).count == 1)
    }

    @Test func memoryOfThisProcess() throws {
        let size = 16 * 4096
        let area = try #require(mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        defer { munmap(area, size) }
        area.storeBytes(of: 0x1122_3344_5566_7788, toByteOffset: 4096 + 8, as: UInt64.self)
        let slot = MemorySlot(
            id: 0, name: "test", guestPhysicalAddress: GPA(0), size: UInt64(size),
            userspaceAddress: HVA(UInt64(UInt(bitPattern: area))))
        let memory = try ProcessGuestMemory(process: getpid(), slots: SlotTable([slot]))
        let page = try #require(memory.page(at: GPA(4096)))
        #expect(page.load(fromByteOffset: 8, as: UInt64.self) == 0x1122_3344_5566_7788)
        let untouched = try #require(memory.page(at: GPA(8 * 4096)))
        #expect(untouched.load(as: UInt64.self) == 0)
        #expect(memory.page(at: GPA(UInt64(size))) == nil)
        let reader = try BackingReader(process: getpid())
        // The untouched page was answered without being brought in.
        let present = try reader.read([slot]).runs.map(\.gpa)
        #expect(!present.contains(GPA(8 * 4096)))
        // A copy stays until it is told to go.
        area.storeBytes(of: 5, toByteOffset: 4096 + 8, as: UInt64.self)
        #expect(page.load(fromByteOffset: 8, as: UInt64.self) == 0x1122_3344_5566_7788)
        memory.refresh()
        #expect(memory.page(at: GPA(4096))?.load(fromByteOffset: 8, as: UInt64.self) == 5)
    }

    @Test func linesOfMaps() throws {
        let line = Array("7f12a000-7f12c000 rw-s 00003000 00:01 1234    /memfd:ram (deleted)".utf8)
        let area = try #require(MemoryArea(line: line[...]))
        #expect(area.start == 0x7f12_a000 && area.end == 0x7f12_c000 && area.offset == 0x3000 && area.isFile)
        let anonymous = try #require(MemoryArea(line: Array("1000-2000 rw-p 00000000 00:00 0 ".utf8)[...]))
        #expect(!anonymous.isFile)
        #expect(MemoryArea(line: Array("nonsense".utf8)[...]) == nil)
        #expect(MemoryArea.find(0x7f12_bfff, in: [anonymous, area]) == area)
        #expect(MemoryArea.find(0x7f12_c000, in: [anonymous, area]) == nil)
        #expect(MemoryArea.find(0, in: [anonymous, area]) == nil)
    }

    @Test func segmentsOfKcore() {
        let segments = [KcoreSegment(address: 0xffff_8880_0000_0000, size: 0x2000, offset: 0x1000)]
        #expect(KcoreSegment.offset(of: 0xffff_8880_0000_1000, size: 4096, in: segments) == 0x2000)
        #expect(KcoreSegment.offset(of: 0xffff_8880_0000_1001, size: 4096, in: segments) == nil)
        #expect(KcoreSegment.offset(of: 0xffff_8880_0000_2000, size: 1, in: segments) == nil)
        #expect(KcoreSegment.offset(of: 0, size: 1, in: segments) == nil)
    }
}

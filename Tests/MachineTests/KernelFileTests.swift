// Kernels that must be refused, each with a message that says why.

import Addresses
import GuestMemory
import Layouts
import Testing

@testable import Machine

private func plan(_ memory: UInt64 = 64 << 20, layout: String = "osv") throws -> MemoryPlan {
    try MemoryPlan(layout: layout, memory: memory, addressBits: 46)
}

private func message(_ bytes: [UInt8]) throws -> String? {
    let file = try TemporaryFile(bytes)
    let plan = try plan()
    do {
        _ = try KernelFile(InputFile(file.path, role: "kernel"), plan: plan)
        return nil
    } catch { return error.description }
}

private func message(_ change: (inout TestKernel) -> Void) throws -> String? {
    var kernel = TestKernel([0xf4])
    change(&kernel)
    return try message(kernel.bytes)
}

@Suite struct KernelFileTests {
    @Test func aGoodKernel() throws {
        let file = try TestKernel([0xf4]).file()
        let kernel = try KernelFile(InputFile(file.path, role: "kernel"), plan: plan())
        #expect(kernel.entry == .direct(entry: TestKernel.base, pml4: TestKernel.pml4))
        #expect(kernel.segments.map(\.address) == [TestKernel.base])
        #expect(kernel.end == TestKernel.base + 0x8000)
    }

    @Test func pvhAlone() throws {
        var kernel = TestKernel([0xf4])
        kernel.segments[1] = TestKernel.note(owner: "Xen", type: 18, [TestKernel.base + 8])
        let file = try kernel.file()
        #expect(
            try KernelFile(InputFile(file.path, role: "kernel"), plan: plan()).entry
                == .pvh(entry: UInt32(TestKernel.base + 8)))
        // With both, the direct entry wins, in whatever order they come.
        kernel.segments.append(TestKernel.vitrineNote(entry: TestKernel.base, pml4: TestKernel.pml4))
        let both = try kernel.file()
        #expect(
            try KernelFile(InputFile(both.path, role: "kernel"), plan: plan()).entry
                == .direct(entry: TestKernel.base, pml4: TestKernel.pml4))
    }

    @Test func filesThatAreNoKernels() throws {
        let good = TestKernel([0xf4]).bytes
        #expect(try message(Array("#!/bin/sh\n".utf8))?.contains("not an ELF file") == true)
        #expect(try message(Array(repeating: 0, count: 100_000))?.contains("not an ELF file") == true)
        #expect(try message([])?.contains("empty") == true)
        #expect(try message([0x7f])?.contains("not an ELF file") == true)
        #expect(try message(Array(good.prefix(4)))?.contains("truncated") == true)
        #expect(try message(Array(good.prefix(30)))?.contains("truncated") == true)
        #expect(try message(Array(good.prefix(100)))?.contains("truncated") == true)
        #expect(try message(Array(good.prefix(8000)))?.contains("truncated") == true)
        #expect(try message { $0.elfClass = 1 }?.contains("32-bit") == true)
        #expect(try message { $0.machine = 183 }?.contains("another processor") == true)
        #expect(try message { $0.type = 1 }?.contains("not an executable") == true)
        #expect(try message { $0.headerCount = 0 }?.contains("no program headers") == true)
        #expect(try message { $0.headerCount = 0xffff }?.contains("program headers") == true)
        #expect(try message { $0.headerSize = 7 }?.contains("program headers") == true)
        #expect(try message { $0.segments[0].type = 6 }?.contains("no segment") == true)
    }

    /// Whatever the length at which a good file ends, it is refused with a message and never a crash.
    @Test func everyTruncation() throws {
        let good = TestKernel([0xf4]).bytes
        for length in stride(from: 1, to: good.count, by: 1) where length < 300 || length > good.count - 40 {
            #expect(try message(Array(good.prefix(length))) != nil, "\(length) bytes")
        }
    }

    /// Headers and notes with random bytes in them: refused or not, never a crash.
    @Test func damagedHeaders() throws {
        var random: UInt64 = 0x5eed
        func next() -> UInt64 {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return random >> 33
        }
        let good = TestKernel([0xf4]).bytes
        let plan = try plan()
        for _ in 0..<500 {
            var bytes = good
            for _ in 0...next() % 4 {
                // The headers are at the front, the note at the end.
                let place = next() % 2 == 0 ? Int(next() % 176) : bytes.count - 1 - Int(next() % 36)
                bytes[place] = [0, 1, 0x7f, 0x80, 0xff, UInt8(next() & 0xff)][Int(next() % 6)]
            }
            let file = try TemporaryFile(bytes)
            _ = try? KernelFile(InputFile(file.path, role: "kernel"), plan: plan)
        }
    }

    @Test func segmentsInWrongPlaces() throws {
        #expect(try message { $0.segments[0].address = 0x8000_0000 }?.contains("does not lie in RAM") == true)
        #expect(try message { $0.segments[0].memorySize = 64 << 20 }?.contains("does not lie in RAM") == true)
        #expect(try message { $0.segments[0].address = UInt64.max - 0x1000 }?.contains("address space") == true)
        #expect(try message { $0.segments[0].memorySize = UInt64.max }?.contains("address space") == true)
        #expect(try message { $0.segments[0].fileOffset = UInt64.max - 5 }?.contains("address space") == true)
        #expect(try message { $0.segments[0].fileOffset = 1 << 40 }?.contains("truncated") == true)
        #expect(try message { $0.segments[0].memorySize = 0x10 }?.contains("smaller than") == true)
        #expect(try message { $0.segments.append($0.segments[0]) }?.contains("overlaps the one") == true)
        #expect(
            try message { $0.segments.append(.init(bytes: [1], address: Contract.startInfo)) }?
                .contains("the start info") == true)
        #expect(try message { $0.segments.append(.init(bytes: [1], address: 0x500)) }?.contains("boot GDT") == true)
        #expect(
            try message { $0.segments.append(.init(bytes: [1], address: OSv.arenaBase)) }?.contains("arena") == true)
    }

    @Test func entriesThatLeadNowhere() throws {
        func entry(_ entry: UInt64, _ pml4: UInt64 = TestKernel.pml4) throws -> String? {
            try message { $0.segments[1] = TestKernel.vitrineNote(entry: entry, pml4: pml4) }
        }
        #expect(try entry(0)?.contains("no entry") == true)
        #expect(try entry(0x10_0000)?.contains("none of its segments") == true)
        #expect(try entry(UInt64.max)?.contains("none of its segments") == true)
        #expect(try entry(TestKernel.base, 0x20_1008)?.contains("boot page tables") == true)
        #expect(try entry(TestKernel.base, 0x40_0000)?.contains("boot page tables") == true)
        #expect(try entry(TestKernel.base, UInt64.max & ~4095)?.contains("boot page tables") == true)
        #expect(try message { $0.segments.removeLast() }?.contains("does not say how it is entered") == true)
        #expect(
            try message { $0.segments[1] = TestKernel.note(owner: "GNU", type: 1, [1, 2]) }?
                .contains("does not say how it is entered") == true)
        #expect(
            try message { $0.segments[1] = TestKernel.note(owner: "Vitrine", type: 1, [1]) }?
                .contains("two words") == true)
        // A note whose sizes run past its segment is no note.
        #expect(
            try message { $0.segments[1].bytes.replaceSubrange(0..<8, with: Array(repeating: 0xff, count: 8)) }?
                .contains("does not say how it is entered") == true)
    }

    @Test func pathsThatAreNoFiles() {
        for (path, expected) in [
            ("/nonexistent/kernel", "No such file"), ("/tmp", "folder"), ("/dev/null", "not a regular file"),
        ] {
            let error = #expect(throws: MachineError.self) { _ = try InputFile(path, role: "kernel") }
            #expect(error?.description.contains(expected) == true)
        }
    }
}

@Suite struct MemoryPlanTests {
    @Test func osvHasAnArenaOfItsOwn() throws {
        let plan = try planOf("osv", 6 << 30)
        #expect(plan.ranges.map(\.name) == ["low", "arena", "low2", "high"])
        #expect(plan.ranges[1].start == GPA(OSv.arenaBase))
        #expect(plan.ranges[1].size == OSv.arenaSize(memory: 6 << 30))
        #expect(plan.ranges[3] == RAMRange(name: "high", start: GPA(4 << 30), size: 3 << 30))
        #expect(plan.ranges.reduce(0) { $0 + $1.size } == 6 << 30)
        #expect(try planOf("no-such-layout", 1 << 30).ranges.map(\.name) == ["low"])
        #expect(try planOf("osv", 3 << 30).ranges.count == 3)
    }

    /// Its kernel lies where others have the start info, and it maps 1 GiB at most.
    @Test func courseosHasItsOwnPlaces() throws {
        let plan = try planOf("courseos", 2 << 30)
        #expect(plan.startInfo == 0x1000..<0x4000 && plan.modulesEnd == 1 << 30 && plan.lowEnd == 2 << 30)
        #expect(plan.arena?.start == 2 << 20 && plan.arena?.size == 16 << 20)
        #expect(try planOf("osv", 2 << 30).modulesEnd == 2 << 30)
    }

    @Test func memoryThatCannotBe() {
        for (memory, expected) in [
            (0, "no memory"), (16 << 20, "too little"), (64 << 20 + 5, "multiple of 4096"), (1 << 62, "address space"),
            (100 << 40, "address space"), (UInt64.max & ~4095, "address space"), (10 << 40, "one slot"),
        ] as [(UInt64, String)] {
            let error = #expect(throws: MachineError.self) {
                _ = try MemoryPlan(layout: "linux", memory: memory == 16 << 20 ? 4096 : memory, addressBits: 46)
            }
            #expect(error?.description.contains(expected) == true, "\(memory): \(String(describing: error))")
        }
        let error = #expect(throws: MachineError.self) { _ = try plan(31 << 20) }
        #expect(error?.description.contains("32M") == true)
        // The arena of so much memory would not fit below the hole.
        let large = #expect(throws: MachineError.self) { _ = try plan(1 << 40) }
        #expect(large?.description.contains("too much") == true)
    }
}

/// A plan, by layout and memory.
private func planOf(_ layout: String, _ memory: UInt64) throws -> MemoryPlan { try plan(memory, layout: layout) }

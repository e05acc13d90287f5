import Addresses
import Cores
import GuestMemory
import PageTables
import Testing

@Suite struct CoreFileTests {
    /// Two pieces of RAM at places in the file that are not page-aligned, as QEMU writes them, and two CPUs.
    func core(is64Bit: Bool = true) -> TestCore {
        var core = TestCore()
        core.is64Bit = is64Bit
        core.machine = is64Bit ? 62 : 3
        let notes = TestCore.note(name: "CORE", type: 1) + TestCore.note() + TestCore.note(cr: [1, 2, 3, 4, 5])
        core.segments = [
            .init(type: 4, offset: 0x400, fileSize: UInt64(notes.count)),
            .init(offset: 0x1234, physical: 0, fileSize: 0x3000),
            .init(offset: 0x4234, physical: 0x10_0000, fileSize: 0x2000),
        ]
        core.contents = [
            (0x400, notes), (0x1234, (0..<0x3000).map { UInt8(truncatingIfNeeded: $0 >> 4) }),
            (0x4234, [UInt8](repeating: 0xab, count: 0x2000)),
        ]
        return core
    }

    @Test(arguments: [true, false]) func memory(is64Bit: Bool) throws {
        let file = try open(core(is64Bit: is64Bit).bytes())
        #expect(file.kind == .core(machine: is64Bit ? "x86-64" : "i386", is64Bit: is64Bit))
        #expect(file.segments.map(\.range) == [GPA(0)...GPA(0x2fff), GPA(0x10_0000)...GPA(0x10_1fff)])
        let page = try #require(file.page(at: GPA(0x1fff)))
        #expect(UInt(bitPattern: page) & 4095 == 0)
        #expect(
            (0..<4096).allSatisfy {
                page.load(fromByteOffset: $0, as: UInt8.self) == UInt8(truncatingIfNeeded: ($0 + 4096) >> 4)
            })
        #expect(file.page(at: GPA(0x1000)) == page)
        #expect(file.page(at: GPA(0x3000)) == nil)
        #expect(file.page(at: GPA(0xf_ffff)) == nil)
        #expect(file.page(at: GPA(.max)) == nil)
        var bytes = [UInt8](repeating: 0, count: 0x2000)
        #expect(bytes.withUnsafeMutableBytes { file.read(GPA(0x10_0000), into: $0) })
        #expect(bytes.allSatisfy { $0 == 0xab })
        #expect(!bytes.withUnsafeMutableBytes { file.read(GPA(0x10_0001), into: $0) })
        #expect(!bytes.withUnsafeMutableBytes { file.read(GPA(.max - 5), into: $0) })
    }

    @Test func registers() throws {
        let file = try open(core().bytes())
        #expect(file.cpus.count == 2)
        #expect(file.cpus[0]["cr3"] == 0x1000)
        #expect(file.cpus[0]["cr0"] == 0x8005_0033)
        #expect(file.cpus[0]["rflags"] == 17)
        #expect(file.cpus[0]["kernel_gs_base"] == 0x1234)
        #expect(file.cpus[0].segments.map(\.name) == ["cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt"])
        #expect(file.cpus[0].segments[7].base == 7 << 32)
        #expect(file.cpus[1]["cr4"] == 5)
    }

    @Test func pageTables() throws {
        var core = core()
        core.contents.append((0x1234 + 0x1000, little(0x2067 as UInt64)))
        core.contents.append((0x1234 + 0x2000, little(0xe7 as UInt64)))
        core.contents.append((0x1234 + 0x1008, little(0x0e7 as UInt64)))
        let file = try open(core.bytes())
        let result = translate(GVA(0x1234), root: GPA(0x1000), format: .x86FourLevel(), memory: file)
        #expect(result.mapping?.gpa == GPA(0x1234))
        #expect(result.mapping?.pageSize == 1 << 30)
    }

    /// More than 65,534 segments: the number is in the first section header.
    @Test func manySegments() throws {
        var core = TestCore()
        core.segments = (0..<70_000).map {
            .init(offset: 0x40_0000, physical: UInt64($0) << 13, fileSize: 4096)
        }
        core.count = 0xffff
        core.sections = 0x3f_0000
        core.contents = [(0x3f_0000 + 44, little(70_000 as UInt32))]
        let file = try open(core.bytes(size: 0x40_1000))
        #expect(file.segments.count == 70_000)
        #expect(file.page(at: GPA(69_999 << 13)) != nil)
        #expect(file.page(at: GPA(69_999 << 13 | 4096)) == nil)
        core.contents = [(0x3f_0000 + 44, little(0x7fff_ffff as UInt32))]
        #expect(throws: CoreError.header("2147483647 program headers")) { try open(core.bytes(size: 0x40_1000)) }
        core.sections = .max - 3
        #expect(throws: CoreError.overflow("the section header table")) { try open(core.bytes(size: 0x40_1000)) }
    }

    /// A dump by virtual addresses has a page once in the file and a segment for each mapping.
    @Test func sharedBytes() throws {
        var core = TestCore()
        core.segments = [
            .init(offset: 0x1000, virtual: 0xffff_8000_0000_0000, physical: 0, fileSize: 0x3000),
            .init(offset: 0x2000, virtual: 0x4000_0000, physical: 0x1000, fileSize: 0x1000),
            .init(offset: 0x2000, virtual: 0x5000_0000, physical: 0x1000, fileSize: 0x4000),
        ]
        #expect(
            try open(core.bytes(size: 0x6000)).segments == [CoreSegment(start: GPA(0), size: 0x5000, offset: 0x1000)])
        core.segments[1].offset = 0x3000
        let range = GPA(0)...GPA(0x2fff)
        #expect(throws: CoreError.overlap(first: range, second: GPA(0x1000)...GPA(0x1fff))) {
            try open(core.bytes(size: 0x6000))
        }
    }

    @Test func rawImages() throws {
        let file = try open([UInt8](repeating: 7, count: 10_000))
        #expect(file.kind == .rawImage)
        #expect(file.segments == [CoreSegment(start: GPA(0), size: 8192, offset: 0)])
        #expect(file.page(at: GPA(4096))?.load(as: UInt64.self) == 0x0707_0707_0707_0707)
        #expect(file.page(at: GPA(8192)) == nil)
        #expect(file.cpus.isEmpty)
    }

    @Test func aFileThatShrinks() throws {
        let file = TemporaryFile([UInt8](repeating: 7, count: 1 << 20))
        let core = try CoreFile(path: file.path)
        #expect(core.page(at: GPA(0x8_0000)) != nil)
        #expect(truncateFile(file.path, 0x1000))
        #expect(core.page(at: GPA(0x9_0000)) == nil)
        #expect(core.page(at: GPA(0x8_0000)) != nil)
        core.refresh()
        #expect(core.page(at: GPA(0x8_0000)) == nil)
        #expect(core.page(at: GPA(0)) != nil)
    }
}

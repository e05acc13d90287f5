import Addresses
import Cores
import GuestMemory
import Testing

@Suite struct CoreWriterTests {
    func written(_ writer: CoreWriter) throws -> CoreFile {
        var bytes: [UInt8] = []
        try writer.write { bytes += $0 }
        return try open(bytes)
    }

    @Test func whatIsWrittenIsReadBack() throws {
        var writer = CoreWriter()
        writer.ram = [GPA(0)...GPA(0xbfff_ffff), GPA(0x1_0000_0000)...GPA(0x1_3fff_ffff)]
        for page in [0x1000, 0x2000, 0x9000, 0x1_0000_0000] as [UInt64] {
            writer.pages[GPA(page)] = [UInt8](repeating: UInt8(page >> 12 & 0xff) | 1, count: 4096)
        }
        writer.cpus = [
            CoreCPU(
                registers: ["cr3": 0x1000, "rip": 0xffff_ffff_8100_0000, "cr4": 0x20],
                segments: [
                    CoreSegmentRegister(name: "tr", selector: 0x40, limit: 0x67, flags: 0x8b00, base: 0xfffe_0000)
                ])
        ]
        writer.savedCPUs = [SavedCPU(efer: 0xd01, pat: 0x0007_0406_0007_0406, maxPhysicalAddressBits: 40)]
        writer.layout = "osv"
        let file = try written(writer)
        #expect(file.kind == .core(machine: "x86-64", is64Bit: true))
        #expect(file.emptyRanges == writer.ram)
        #expect(
            file.segments.map(\.range) == [
                GPA(0x1000)...GPA(0x2fff), GPA(0x9000)...GPA(0x9fff), GPA(0x1_0000_0000)...GPA(0x1_0000_0fff),
            ])
        #expect(file.page(at: GPA(0x2000))?.load(as: UInt8.self) == 3)
        #expect(file.page(at: GPA(0x3000)) == nil)
        #expect(
            file.cpus == [
                CoreCPU(
                    registers: file.cpus[0].registers, segments: file.cpus[0].segments)
            ])
        #expect(file.cpus[0]["rip"] == 0xffff_ffff_8100_0000 && file.cpus[0]["cr3"] == 0x1000)
        #expect(file.cpus[0].segments[7] == writer.cpus[0].segments[0])
        #expect(file.savedCPUs == writer.savedCPUs)
        #expect(file.layout == "osv")
        writer.machine = .i386
        #expect(try written(writer).kind == .core(machine: "i386", is64Bit: true))
    }

    /// More segments than a header can count.
    @Test func veryManyTables() throws {
        var writer = CoreWriter()
        for index in 0..<66_000 as Range<UInt64> { writer.pages[GPA(index << 13)] = [UInt8(truncatingIfNeeded: index)] }
        let file = try written(writer)
        #expect(file.segments.count == 66_000)
        #expect(file.page(at: GPA(65_999 << 13))?.load(as: UInt8.self) == UInt8(truncatingIfNeeded: 65_999))
    }

    @Test func anEmptyDumpIsRefused() {
        #expect(throws: CoreError.format("a core without memory")) { try written(CoreWriter()) }
    }
}

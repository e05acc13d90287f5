import Addresses
import Layouts
import Testing

@Suite struct LayoutTests {
    @Test func regionsAreSortedAndApart() {
        for layout in Layout.all {
            for region in layout.regions { #expect(region.first <= region.last, "\(layout.name) \(region.name)") }
            for (lower, upper) in zip(layout.regions, layout.regions.dropFirst()) {
                #expect(lower.last < upper.first, "\(layout.name): \(lower.name), \(upper.name)")
            }
            #expect(Set(layout.regions.map(\.name)).count == layout.regions.count)
            #expect(Layout.named(layout.name) == layout)
        }
    }

    /// The values of the design's table, as numbers of their own.
    @Test(
        arguments: [
            ("Core", 0x20_0000, 0x17f_ffff), ("program 0", 0x1000_0000_0000, 0x1001_ffff_ffff),
            ("namespace 0", 0x1002_0000_0000, 0x1003_ffff_ffff), ("program 1", 0x1004_0000_0000, 0x1005_ffff_ffff),
            ("program 31", 0x1040_0000_0000, 0x1041_ffff_ffff), ("mmap", 0x2000_0000_0000, 0x7fff_ffff_ffff),
            ("main", 0xffff_8000_0000_0000, 0xffff_8fff_ffff_ffff),
            ("page", 0xffff_9000_0000_0000, 0xffff_9fff_ffff_ffff),
            ("mempool", 0xffff_a000_0000_0000, 0xffff_afff_ffff_ffff),
            ("debug", 0xffff_b000_0000_0000, 0xffff_ffff_ffff_ffff),
        ] as [(String, UInt64, UInt64)]) func osv(name: String, first: UInt64, last: UInt64) throws
    {
        let region = try #require(Layout.osv.regions.first { $0.name == name })
        #expect(region.first == GVA(first))
        #expect(region.last == GVA(last))
        #expect(Layout.osv.region(of: GVA(first)) == region)
        #expect(Layout.osv.region(of: GVA(last)) == region)
    }

    @Test func addressesOutside() {
        #expect(Layout.osv.region(of: GVA(0)) == nil)
        #expect(Layout.osv.region(of: GVA(0x180_0000)) == nil)
        #expect(Layout.osv.region(of: GVA(0x1042_0000_0000)) == nil)
        #expect(Layout.osv.region(after: GVA(0))?.name == "Core")
        #expect(Layout.named("nothing") == nil)
    }

    @Test func softwareBits() {
        #expect(Layout.osv.meaning(of: 0x67) == nil)
        #expect(Layout.osv.meaning(of: 1 << 51 | 1 | 1 << 63)?.name == "prot-none")
        #expect(Layout.osv.meaning(of: 1 << 9)?.name == "prot-none")
        #expect(Layout.osv.meaning(of: 1 << 9 | 1) == nil)
        #expect(Layout.osv.meaning(of: 1 << 53 | 0x65)?.name == "cow")
        #expect(Layout.osv.meaning(of: 1 << 53 | 0x67) == nil)
    }

    @Test func arithmetic() {
        #expect(OSv.areaNumber(of: 0xffff_a000_0020_0000) == OSv.Area.mempool.rawValue)
        #expect(OSv.programEnd == 0x1042_0000_0000)
        #expect(OSv.arenaSize(memory: 256 << 20) == 4 << 20)
        #expect(OSv.arenaSize(memory: 32 << 20) == 2 << 20)
    }
}

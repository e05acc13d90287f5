import Inspection
import JSON
import Layouts
import Testing

@Suite struct LayoutsCheckTests {
    func layout(_ regions: [Region]) -> Layout {
        Layout(name: "test", summary: "", source: "", regions: regions, softwareBits: [], absentMask: 0, facts: [])
    }

    func faults(_ regions: [Region]) -> [String] {
        layoutChecks(layout(regions)).filter { $0.fault != nil }.map(\.check)
    }

    @Test func everyLayoutIsSound() throws {
        #expect(layoutsCheckText(Layout.all).passed)
        let json = try JSON.parse(layoutsCheckJSON(Layout.all).bytes)
        #expect(json["schema"]?.text == "vitrine.layouts-check/1")
        #expect(json["passed"]?.boolean == true)
        #expect(json["layouts"]?.elements?.count == Layout.all.count)
    }

    @Test func brokenTablesAreFound() {
        #expect(faults([Region("a", first: 0, last: 0xfff, .paged, "")]) == [])
        #expect(faults([Region("a", first: 0x2000, last: 0xfff, .paged, "")]).contains("sizes"))
        #expect(
            faults([
                Region("a", first: 0, last: 0x1fff, .paged, ""), Region("b", first: 0x1000, last: 0x2fff, .paged, ""),
            ])
                == ["order and overlaps"])
        #expect(faults([Region("a", first: 0x10, last: 0xfff, .paged, "")]) == ["alignment"])
        #expect(faults([Region("a", first: 1 << 47, last: (1 << 47) + 0xfff, .paged, "")]) == ["canonical addresses"])
        let broken = layout([Region("a", first: 0x10, last: 0xfff, .paged, "")])
        #expect(!layoutsCheckText([broken]).passed && layoutsCheckText([broken]).text.contains("FAIL  alignment"))
        #expect(!layoutsCheckJSON([broken]).passed)
    }
}

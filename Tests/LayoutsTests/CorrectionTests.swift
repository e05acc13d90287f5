import Layouts
import Testing

@Suite struct CorrectionTests {
    @Test func everyCorrectionSaysWhatIsWrong() {
        for layout in Layout.all {
            for correction in layout.corrections {
                #expect(!correction.faults.isEmpty, "\(layout.name): \(correction.row)")
                #expect(!correction.reason.isEmpty && !correction.corrected.isEmpty)
            }
        }
        #expect(
            Layout.all.filter { !$0.corrections.isEmpty }.map(\.name) == ["osv", "linux", "resea", "courseos", "panda"])
    }

    /// What arithmetic finds in a row, and that it finds nothing in the row as corrected.
    @Test func arithmetic() {
        func faults(
            first: UInt64? = nil, last: UInt64? = nil, size: UInt64? = nil, alignment: UInt64? = nil,
            next: UInt64? = nil
        ) -> [String] {
            LayoutCorrection(
                "row", first: first, last: last, size: size, alignment: alignment, next: next, corrected: "", reason: ""
            ).faults
        }
        #expect(faults(first: 0x6fff, last: 0x6000) == ["ends before it begins"])
        #expect(faults(first: 0x1000, last: 0x1fff, size: 0x2000) == ["has 0x1000 bytes, not 0x2000"])
        #expect(faults(first: 0x1000, last: 0x1fff, size: 0x1000) == [])
        #expect(faults(last: 0x1040_01ff_ffff, alignment: 1 << 33) == ["0x104002000000 is no multiple of 0x200000000"])
        #expect(faults(last: 0x1041_ffff_ffff, alignment: 1 << 33) == [])
        #expect(
            faults(first: 1 << 32, size: 1 << 40, next: 1 << 40)
                == ["reaches 0x100000000 bytes into what begins at 0x10000000000"])
        #expect(faults(first: 1 << 47, last: 0xffff_7fff_ffff_ffff) == ["no address of it is canonical"])
        #expect(faults(first: 0, last: (1 << 47) - 1) == [])
    }

    @Test func plans() {
        for name in KernelPlan.Name.allCases {
            let plan = KernelPlan.of(name)
            #expect(plan.name == name)
            #expect(KernelPlan.named("\(plan.text)")?.name == name)
            #expect(Layout.named("\(plan.text)") != nil)
        }
        #expect(KernelPlan.named("nothing") == nil)
        #expect(OSC.kernelBase == 0xffff_ffff_c020_0000)
        #expect(OSCInitial.offset(2) - OSCInitial.offset(1) == OSCInitial.size)
    }
}

// What a Linux kernel says of its own regions, and what was found in its tables.

import Addresses
import GuestMemory
import Inspection
import JSON
import Layouts
import PageTables
import Targets
import Testing

/// What the guest's init printed.
struct DebianFacts {
    /// What it looks up in /proc/kallsyms.
    static let symbols = [
        "_text", "_etext", "__start_rodata", "__end_rodata", "_sdata", "__bss_stop", "page_offset_base", "vmalloc_base",
        "vmemmap_base",
    ]
    private(set) var addresses: [String: UInt64] = [:]
    /// Where modules were loaded.
    private(set) var modules: [UInt64] = []
    /// RAM, as the kernel has it.
    private(set) var ram: [ClosedRange<UInt64>] = []
    private(set) var code: UInt64?

    init(_ console: String) {
        for line in console.split(whereSeparator: \.isNewline) {
            let words = line.split(separator: " ")
            if words.count == 3, words[0].count == 16, let address = parseHexadecimal(words[0]) {
                addresses[String(words[2])] = address
            } else if words.count > 5, words[0] == "module" {
                modules += words.compactMap { $0.hasPrefix("0xffff") ? parseHexadecimal($0) : nil }
            } else if words.count == 5 || words.count == 4, words[1] == ":" {
                let bounds = words[0].split(separator: "-").compactMap { parseHexadecimal($0) }
                guard bounds.count == 2 else { continue }
                if line.hasSuffix("System RAM") { ram.append(bounds[0]...bounds[1]) }
                if line.hasSuffix("Kernel code") { code = bounds[0] }
            }
        }
    }
}

/// Compares the regions that were found in a machine's tables with what its kernel says.
func compareNames(_ target: QEMUTarget, facts: DebianFacts, boot: DebianBoot) throws {
    guard case .paging(let format, let root) = try target.registers(vcpu: 0).paging.mode else { return }
    func find(_ root: GPA) -> LinuxKernel? {
        LinuxKernel.find(root: root, format: format, memory: target.memory, slots: target.slots)
    }
    let linux = try #require(find(root))
    try target.checkReads()
    func fact(_ name: String) throws -> UInt64 { try #require(facts.addresses[name], "\(name) is not on the console") }
    func translated(_ va: UInt64) -> UInt64? {
        translate(GVA(va), root: linux.kernelRoot, format: format, memory: target.memory).mapping?.gpa.rawValue
    }
    /// What a variable of the kernel holds.
    func variable(_ name: String) throws -> UInt64 {
        let gpa = try #require(translated(try fact(name)))
        let bytes = try #require(target.memory.bytes(at: GPA(gpa), count: 8))
        return bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
    #expect(linux.directMapBase == GVA(try variable("page_offset_base")))
    #expect(linux.vmallocBase == GVA(try variable("vmalloc_base")))
    #expect(linux.vmemmapBase == GVA(try variable("vmemmap_base")))
    #expect(linux.isMemoryRandomised == boot.isRandomised)

    // The image: its bounds to the page, and where it is in memory.
    func pageEnd(_ address: UInt64) -> GVA { GVA((address + 4095) & ~4095 - 1) }
    #expect(linux.imageBase == GVA(try fact("_text")))
    #expect(linux.imagePhysicalBase == GPA(try #require(facts.code)))
    let (text, rodata) = (try #require(linux.region("kernel text")), try #require(linux.region("kernel rodata")))
    #expect(try text.first == GVA(fact("_text")) && text.last == pageEnd(fact("_etext")))
    #expect(try rodata.first == GVA(fact("__start_rodata")) && rodata.last == pageEnd(fact("__end_rodata")))
    let data = try #require(linux.region("kernel data"))
    #expect(try data.first == GVA(fact("_sdata")) && data.last >= pageEnd(fact("__bss_stop")))

    // All of what the kernel calls RAM is in the direct map, above the hole as below it.
    #expect(facts.ram.count >= (boot.isRandomised ? 2 : 3))
    for range in facts.ram {
        for address in [range.lowerBound, range.lowerBound / 2 + range.upperBound / 2, range.upperBound] {
            let va = linux.directMapBase &+ address
            #expect(translated(va.rawValue) == address && linux.layout.region(of: va)?.name == "direct map")
        }
    }
    if Debian.module != nil {
        #expect(!facts.modules.isEmpty)
        for address in facts.modules {
            #expect(linux.layout.region(of: GVA(address))?.name == "modules" && translated(address) != nil)
        }
    }
    let subject = Subject(
        name: target.name, layout: linux.layout, slots: target.slots, memory: .live(target.memory), format: format,
        root: root, linux: linux)
    try checkTheRest(subject, linux: linux, isIsolated: !boot.isRandomised, find: find)
}

/// What follows from the names: filters, the audit, and the copy of the tables for user mode.
private func checkTheRest(
    _ subject: Subject, linux: LinuxKernel, isIsolated: Bool, find: (GPA) -> LinuxKernel?
) throws {
    var options = PagesOptions()
    options.form = .json
    options.filter = .or(.region("kernel text"), .region("vmemmap"))
    var bytes: [UInt8] = []
    try writePages(subject, options: options) { bytes += $0 }
    let ranges = try #require(try JSON.parse(bytes)["ranges"]?.elements)
    #expect(Set(ranges.compactMap { $0["region"]?.text }) == ["kernel text", "vmemmap"])
    for range in ranges where range["region"]?.text == "kernel text" {
        #expect(range["flags"]?.text?.contains("x") == true && range["flags"]?.text?.contains("w") == false)
    }
    // Every leaf of the upper half has a name; a stock kernel is sound.
    options.filter = .and(.not(.kind(.absent)), .va(GVA(0xff00_0000_0000_0000)...GVA(.max)))
    bytes = []
    try writePages(subject, options: options) { bytes += $0 }
    let upper = try #require(try JSON.parse(bytes)["ranges"]?.elements)
    #expect(upper.count > 100)
    #expect(upper.allSatisfy { $0["region"]?.text != nil })
    let report = Audit.generic(subject)
    #expect(report.passed, "\(report.text)")
    #expect(report.results.allSatisfy { if case .notApplicable = $0.finding { false } else { true } })
    guard isIsolated else { return }
    let copy = try #require(find(GPA(linux.kernelRoot.rawValue | 4096)))
    #expect(copy.isUserCopy && copy.kernelRoot == linux.kernelRoot && copy.regions == linux.regions)
}

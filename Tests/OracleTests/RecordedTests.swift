// The formats against what QEMU said of recorded machines, and against tables made together with the list of what they
// map; nothing runs.

import Addresses
import Foundation
import GuestMemory
import PageTables
import Targets
import Testing

@Suite struct RecordedTests {
    @Test(
        arguments: zip(
            ["debian-4-level", "debian-5-level", "thirty-two-bit", "pae", "four-level", "five-level"],
            ["4-level", "5-level", "32-bit", "PAE", "4-level", "5-level"]))
    func x86(name: String, mode: String) throws {
        let target = try Recording.target(name)
        let space = try target.addressSpace()
        #expect(space.format.name == mode)
        var options = WalkOptions()
        options.everyPath = true
        var gatherer = LeafGatherer()
        #expect(space.walk(in: target.memory, options: options, into: &gatherer).isComplete)
        let recorded = try Recording.lines("\(name).tlb").map { try #require(PrintedRun($0)) }
        let theirs = Set(recorded.flatMap(\.leaves))
        let ours = Set(gatherer.leaves)
        #expect(ours.count == gatherer.leaves.count && ours.count > 1000)
        #expect(ours == theirs, "\(ours.subtracting(theirs).prefix(5)) and \(theirs.subtracting(ours).prefix(5))")
        try translations(name, space, target) { _ in true }
    }

    @Test(arguments: ["arm-short", "arm-split", "arm-courseos"]) func arm(name: String) throws {
        let target = try Recording.target(name)
        let space = try target.addressSpace()
        let report = try ARMReport(String(decoding: Recording.read("\(name).par"), as: UTF8.self))
        let arm = try #require(try target.registers(vcpu: 0).arm)
        try ARMGuestTests().compare(report, space, target.memory, arm: arm)
        // QEMU reads as PL1 does.
        try translations(name, space, target) { ARMGuestTests.usableFlags($0, arm: arm).contains(.readable) }
    }

    /// Every recorded answer of `gva2gpa`.
    func translations(
        _ name: String, _ space: AddressSpace, _ target: CoreTarget, mayRead: (Translation) -> Bool
    ) throws {
        var mapped = 0
        let lines = try Recording.lines("\(name).gpa")
        for words in lines {
            try #require(words.count == 2)
            let address = GVA(try #require(parseHexadecimal(words[0])))
            let expected = words[1] == "-" ? nil : parseHexadecimal(words[1])
            let translation = space.translate(address, in: target.memory)
            let mapping = mayRead(translation) ? translation.mapping : nil
            #expect(mapping?.gpa.rawValue == expected, "VA \(address.hex)")
            if expected != nil { mapped += 1 }
        }
        #expect(mapped > 100 && mapped < lines.count)
    }

    /// Tables of the second stage that Fixtures/second-stage.py made from the manuals, and what it says they map.
    @Test(arguments: ["ept-4", "ept-5", "npt"]) func secondStage(name: String) throws {
        let fixture = try ConstructedTables(name)
        let format: PageTableFormat
        var state = EPTState(pointer: fixture.root.rawValue | 1 << 6 | (name == "ept-5" ? 4 : 3) << 3 | 6)
        state.maxPhysicalAddressBits = 40
        switch name {
        case "npt": format = .nested(.x86FourLevel(maxPhysicalAddressBits: 40))
        case "ept-5":
            state.executeOnly = false
            state.modeBasedExecute = true
            state.gibibytePages = false
            fallthrough
        default: format = try #require(state.format)
        }
        var gatherer = SecondStageGatherer(isEPT: name != "npt")
        var options = WalkOptions()
        options.everyPath = true
        let summary = walk(root: fixture.root, format: format, memory: fixture, options: options, into: &gatherer)
        let wrong = Set(summary.findings.filter { $0.kind == .reservedBits }.map(\.at))
        #expect(wrong == fixture.bad)
        #expect(summary.isComplete && summary.findings.count == fixture.bad.count)
        let theirs = Set(fixture.leaves)
        #expect(gatherer.leaves.count == theirs.count && theirs.count > 500)
        let ours = Set(gatherer.leaves)
        #expect(ours == theirs, "\(ours.subtracting(theirs).prefix(3)) and \(theirs.subtracting(ours).prefix(3))")
    }
}

/// Leaves in the form of second-stage.py.
private struct SecondStageGatherer: WalkConsumer {
    static var wantsEntries: Bool { true }
    let isEPT: Bool
    var leaves: [String] = []

    init(isEPT: Bool) { self.isEPT = isEPT }

    mutating func run(_ run: MappedRun) {}
    mutating func entry(_ entry: WalkEntry) {
        let flags = entry.flags
        guard entry.isLeaf, !flags.contains(.reserved) else { return }
        var letters = ""
        if flags.contains(.readable) { letters += "r" }
        if flags.contains(.writable) { letters += "w" }
        if flags.contains(.executable) && !flags.contains(.noSupervisorExecute) { letters += "x" }
        if flags.contains(.executable) && !flags.contains(.noUserExecute) { letters += "u" }
        if flags.contains(.accessed) { letters += "a" }
        if flags.contains(.dirty) { letters += "d" }
        let type = isEPT ? EPTState.memoryType(ofLeaf: entry.entry.value) : nil
        leaves.append(
            [
                String(entry.va.rawValue, radix: 16), String(entry.target.rawValue, radix: 16),
                String(1 << UInt64(entry.pageShift), radix: 16), letters.isEmpty ? "-" : letters,
                String(type?.type.rawValue ?? 0), type?.ignoresPAT == true ? "1" : "0",
            ].joined(separator: " "))
    }
}

/// What second-stage.py wrote.
private final class ConstructedTables: PhysicalMemory {
    var root = GPA(0)
    var leaves: [String] = []
    var bad: Set<GPA> = []
    private var pages: [GPA: UnsafeMutableRawPointer] = [:]

    init(_ name: String) throws {
        let path = Recording.folder.appending(path: name + ".txt")
        var page: UnsafeMutableRawPointer?
        for line in try String(contentsOf: path, encoding: .utf8).split(separator: "\n") {
            let words = line.split(separator: " ")
            let number = try #require(words.count > 1 ? parseHexadecimal(words[1]) : nil)
            switch words[0] {
            case "root": root = GPA(number)
            case "page":
                page = .allocate(byteCount: 4096, alignment: 4096)
                page?.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
                pages[GPA(number)] = page
            case "leaf": leaves.append(words.dropFirst().joined(separator: " "))
            case "bad": bad.insert(GPA(number))
            default:
                let index = try #require(Int(words[0]))
                page?.storeBytes(of: number, toByteOffset: index * 8, as: UInt64.self)
            }
        }
    }

    deinit { for page in pages.values { page.deallocate() } }

    func page(at address: GPA) -> UnsafeRawPointer? {
        pages[address.alignedDown(to: 4096)].map { UnsafeRawPointer($0) }
    }
}

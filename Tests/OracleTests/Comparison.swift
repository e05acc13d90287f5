// What QEMU says of page tables, and what the walk says, in one form.

import Addresses
import GuestMemory
import PageTables
import Targets
import TestSupport
import Testing

/// A leaf as `info tlb` prints it: its address, the page's, and the leaf's own bits.
struct PrintedLeaf: Hashable, CustomStringConvertible {
    let va: UInt64
    let pa: UInt64
    let flags: String

    var description: String { "\(GVA(va).hex16): \(GPA(pa).hex16) \(flags)" }

    init(va: UInt64, pa: UInt64, flags: String) {
        self.va = va
        self.pa = pa
        self.flags = flags
    }

    /// `ffff888000000000: 0000000000000000 XGPDA--UW`.
    init?(_ line: Substring) {
        let words = line.split(separator: " ")
        guard words.count == 3, words[0].hasSuffix(":"), words[2].count == 9,
            let va = UInt64(words[0].dropLast(), radix: 16), let pa = UInt64(words[1], radix: 16)
        else { return nil }
        // In PAE mode QEMU prints bit 63 as part of the address too.
        self.init(va: va, pa: pa & 0x000f_ffff_ffff_ffff, flags: String(words[2]))
    }

    /// The letters that QEMU prints for a leaf; P is the large-page bit, which is PAT in a 4 KiB page and not printed.
    static func letters(_ value: UInt64, isLarge: Bool) -> String {
        var text = ""
        for (letter, bit) in [
            ("X", 63), ("G", 8), ("P", 7), ("D", 6), ("A", 5), ("C", 4), ("T", 3), ("U", 2), ("W", 1),
        ] as [(String, UInt64)] {
            text += value >> bit & 1 == 1 && (letter != "P" || isLarge) ? letter : "-"
        }
        return text
    }
}

/// Gathers every leaf of a walk in QEMU's form.
struct LeafGatherer: WalkConsumer {
    static var wantsEntries: Bool { true }
    var leaves: [PrintedLeaf] = []
    var repetitions = 0

    mutating func run(_ run: MappedRun) {}
    mutating func repeated(_ table: RepeatedTable) { repetitions += 1 }
    mutating func entry(_ entry: WalkEntry) {
        guard entry.isLeaf else { return }
        // Of a 4 MiB page QEMU prints the low half of the address only.
        let is32Bit = entry.pageShift == 22
        leaves.append(
            PrintedLeaf(
                va: entry.va.rawValue, pa: is32Bit ? entry.target.rawValue & 0xffff_ffff : entry.target.rawValue,
                flags: PrintedLeaf.letters(entry.entry.value, isLarge: entry.pageShift > 12)))
    }
}

/// Compares everything that QEMU can say of a machine that stands still.
///
/// - Returns: how many leaves there are.
@discardableResult
func compare(_ target: QEMUTarget, randomAddresses: Int) throws -> Int {
    let paging = try target.registers(vcpu: 0).paging
    guard case .paging(let format, let root) = paging.mode else {
        Issue.record("no paging: \(paging)")
        return 0
    }
    var options = WalkOptions()
    options.everyPath = true
    var gatherer = LeafGatherer()
    let summary = walk(root: root, format: format, memory: target.memory, options: options, into: &gatherer)
    try target.checkReads()
    #expect(summary.isComplete && gatherer.repetitions == 0)
    let printed = try target.client.human("info tlb").split(whereSeparator: \.isNewline).compactMap { PrintedLeaf($0) }
    let ours = Set(gatherer.leaves)
    let theirs = Set(printed)
    #expect(ours.count == gatherer.leaves.count)
    #expect(ours == theirs, "\(ours.subtracting(theirs).prefix(5)) and \(theirs.subtracting(ours).prefix(5))")
    try compareTranslations(target, format: format, root: root, leaves: gatherer.leaves, count: randomAddresses)
    return ours.count
}

/// Random addresses inside and outside of what is mapped, and the borders of every run, against `gva2gpa`.
private func compareTranslations(
    _ target: QEMUTarget, format: PageTableFormat, root: GPA, leaves: [PrintedLeaf], count: Int
) throws {
    var random = Random(seed: 1)
    var collector = RunCollector()
    _ = walk(root: root, format: format, memory: target.memory, into: &collector)
    var addresses: Set<UInt64> = [0]
    for run in collector.runs.shuffled().prefix(600) {
        for address in [run.va.rawValue, run.va.rawValue &- 1, run.lastVA.rawValue, run.lastVA.rawValue &+ 1] {
            addresses.insert(format.canonical(address))
        }
    }
    for _ in 0..<count {
        addresses.insert(format.canonical(random.next()))
        if let leaf = leaves.randomElement() {
            addresses.insert(format.canonical(leaf.va &+ random.next() % 4096))
            addresses.insert(format.canonical(leaf.va &+ random.next() % (2 << 20)))
        }
    }
    let asked = Array(addresses)
    var answers: [String] = []
    var place = 0
    while place < asked.count {
        let part = asked[place..<min(place + 200, asked.count)]
        answers += try target.client.human(part.map { "gva2gpa \(GVA($0).hex)" })
        place += part.count
    }
    var mapped = 0
    for (address, answer) in zip(asked, answers) {
        let translation = translate(GVA(address), root: root, format: format, memory: target.memory)
        let expected = PrintedRun.gpa(answer)
        if expected != nil { mapped += 1 }
        #expect(translation.mapping?.gpa.rawValue == expected, "VA \(GVA(address).hex): QEMU says \(answer)")
    }
    #expect(mapped > 0 && mapped < asked.count)
}

/// Everything a walk says, to be compared with another.
func dump(_ target: any Target) throws -> [MappedRun] {
    guard case .paging(let format, let root) = try target.registers(vcpu: 0).paging.mode else { return [] }
    var collector = RunCollector()
    let summary = walk(root: root, format: format, memory: target.memory, into: &collector)
    #expect(summary.isComplete)
    return collector.runs
}

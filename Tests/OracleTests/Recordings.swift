// Recorded machines: their page tables in a file, and what QEMU said of them at that moment.
//
//     Fixtures/NAME.core.gz      the tables, as `vitrine save-tables` writes them
//     Fixtures/NAME.tlb.gz       `info tlb`, lines that continue each other joined: VA PA FLAGS COUNT VASTEP PASTEP
//     Fixtures/NAME.gpa.gz       `gva2gpa`: VA and PA or -
//     Fixtures/NAME.par.gz       (ARM) what the guest's processor says, see ARMGuestTests
//
// `VITRINE_RECORD=1 swift test --filter OracleTests` makes them anew, from the machines that the other tests start.

import Addresses
import Cores
import Foundation
import GuestMemory
import PageTables
import Targets
import TestSupport
import Testing

enum Recording {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")
    /// Whether recordings are made.
    static let isOn = ProcessInfo.processInfo.environment["VITRINE_RECORD"] != nil

    /// Keeps a machine that stands still.
    ///
    /// - Parameter report: what an ARM guest printed.
    static func keep(_ name: String, _ target: QEMUTarget, report: String? = nil) throws {
        guard isOn else { return }
        var core: [UInt8] = []
        try CoreWriter(tablesOf: target).write { core += $0 }
        try write("\(name).core", Data(core))
        let space = try target.addressSpace()
        var addresses: Set<UInt64> = [0, 1 << 47, .max, 1 << 31, 0xffff_ffff]
        if let report {
            try write("\(name).par", Data(report.utf8))
            // QEMU has no `info tlb` for ARM: the borders of what its processor was asked about.
            for line in try ARMReport(report).lines { addresses.formUnion([line.va, line.va + 4095]) }
            addresses = addresses.filter { $0 <= 0xffff_ffff }
        } else {
            let printed = try target.client.human("info tlb").split(whereSeparator: \.isNewline).compactMap {
                PrintedLeaf($0)
            }
            let runs = PrintedRun.joined(printed)
            try write("\(name).tlb", Data(runs.map { "\($0)\n" }.joined().utf8))
            var random = Random(seed: 1)
            for run in runs.shuffled().prefix(300) {
                let last = run.first.va &+ (run.count - 1) &* run.vaStep
                addresses.formUnion([
                    run.first.va, run.first.va &- 1, last, last &+ 4095, last &+ 4096, last &+ random.next() % 4096,
                ])
            }
        }
        for _ in 0..<200 { addresses.insert(space.format.canonical(UInt64.random(in: 0 ... .max))) }
        if report != nil { addresses = addresses.filter { $0 <= 0xffff_ffff } }
        let asked = addresses.map { space.format.virtualBits <= 32 ? $0 & 0xffff_ffff : space.format.canonical($0) }
            .sorted()
        var text = ""
        for start in stride(from: 0, to: asked.count, by: 200) {
            let part = asked[start..<min(start + 200, asked.count)]
            for (address, answer) in zip(part, try target.client.human(part.map { "gva2gpa \(GVA($0).hex)" })) {
                text += "\(GVA(address).hex) \(PrintedRun.gpa(answer).map { GPA($0).hex } ?? "-")\n"
            }
        }
        try write("\(name).gpa", Data(text.utf8))
    }

    /// Writes a compressed file; the same contents give the same file.
    private static func write(_ name: String, _ contents: Data) throws {
        let path = folder.appending(path: name)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try contents.write(to: path)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/gzip")
        process.arguments = ["-9nf", path.path]
        try process.run()
        process.waitUntilExit()
    }

    /// The contents of a compressed file.
    static func read(_ name: String) throws -> Data {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/gzip")
        process.arguments = ["-dc", folder.appending(path: name + ".gz").path]
        let pipe = Foundation.Pipe()
        process.standardOutput = pipe
        try process.run()
        let contents = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0 && !contents.isEmpty, "\(name).gz")
        return contents
    }

    static func lines(_ name: String) throws -> [[Substring]] {
        String(decoding: try read(name), as: UTF8.self).split(separator: "\n").map { $0.split(separator: " ") }
    }

    /// The recorded tables.
    static func target(_ name: String) throws -> CoreTarget {
        let path = NSTemporaryDirectory() + "vitrine-recording-\(UUID().uuidString)"
        try read("\(name).core").write(to: URL(fileURLWithPath: path))
        defer { unlink(path) }
        return try CoreTarget(path: path)
    }
}

/// Leaves that QEMU printed one after the other, at equal distances and with equal flags.
struct PrintedRun: CustomStringConvertible {
    let first: PrintedLeaf
    var count: UInt64 = 1
    var vaStep: UInt64 = 0
    var paStep: UInt64 = 0

    var description: String {
        "\(GVA(first.va).hex) \(GPA(first.pa).hex) \(first.flags) \(count) \(GVA(vaStep).hex) \(GPA(paStep).hex)"
    }

    init(first: PrintedLeaf) { self.first = first }

    /// From a line of a recording.
    init?(_ words: [Substring]) {
        guard words.count == 6, let va = parseHexadecimal(words[0]), let pa = parseHexadecimal(words[1]),
            let count = UInt64(words[3]), let vaStep = parseHexadecimal(words[4]),
            let paStep = parseHexadecimal(words[5])
        else { return nil }
        first = PrintedLeaf(va: va, pa: pa, flags: String(words[2]))
        (self.count, self.vaStep, self.paStep) = (count, vaStep, paStep)
    }

    /// Every leaf of it.
    var leaves: [PrintedLeaf] {
        (0..<count).map { PrintedLeaf(va: first.va &+ $0 &* vaStep, pa: first.pa &+ $0 &* paStep, flags: first.flags) }
    }

    static func joined(_ leaves: [PrintedLeaf]) -> [PrintedRun] {
        var runs: [PrintedRun] = []
        for leaf in leaves {
            if var run = runs.last, run.first.flags == leaf.flags {
                if run.count == 1 { (run.vaStep, run.paStep) = (leaf.va &- run.first.va, leaf.pa &- run.first.pa) }
                if leaf.va == run.first.va &+ run.count &* run.vaStep,
                    leaf.pa == run.first.pa &+ run.count &* run.paStep
                {
                    run.count += 1
                    runs[runs.count - 1] = run
                    continue
                }
            }
            runs.append(PrintedRun(first: leaf))
        }
        return runs
    }

    /// `gpa: 0x1234`, and for 0 without 0x; nil for `Unmapped`.
    static func gpa(_ answer: String) -> UInt64? {
        answer.firstRange(of: "gpa: ").flatMap { start in
            parseHexadecimal(answer[start.upperBound...].prefix { $0.isHexDigit || $0 == "x" })
        }
    }
}

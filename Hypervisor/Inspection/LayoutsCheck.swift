// `vitrine layouts --check`: the arithmetic of the tables, and what was wrong in the documents they come from.

import Addresses
import JSON
import Layouts

/// One check of a layout's table.
public struct LayoutCheck: Sendable, Equatable {
    /// What is checked.
    public let check: String
    /// What is wrong, or nil.
    public let fault: String?

    init(_ check: String, _ faults: [String]) {
        self.check = check
        fault = faults.isEmpty ? nil : faults.joined(separator: "; ")
    }
}

/// Checks the arithmetic of a layout: its regions, and the numbers its kernel is linked with.
public func layoutChecks(_ layout: Layout) -> [LayoutCheck] {
    let regions = layout.regions
    let pairs = Array(zip(regions, regions.dropFirst()))
    var checks = [
        LayoutCheck("sizes", regions.filter { $0.last < $0.first }.map { "\($0.name) ends before it begins" }),
        LayoutCheck(
            "order and overlaps",
            pairs.filter { $0.last >= $1.first }.map { "\($0.name) reaches into \($1.name) at \($1.first.hex)" }),
        LayoutCheck(
            "alignment",
            regions.filter { $0.first.rawValue & 4095 != 0 || $0.last.rawValue & 4095 != 4095 }
                .map { "\($0.name), \($0.first.hex)-\($0.last.hex), is not made of whole pages" }),
        LayoutCheck(
            "canonical addresses",
            regions.filter {
                !isCanonical($0.first) || !isCanonical($0.last) || ($0.first.rawValue ^ $0.last.rawValue) >> 63 != 0
            }
            .map { "\($0.name), \($0.first.hex)-\($0.last.hex), lies in the hole or across it" }),
    ]
    guard let plan = KernelPlan.named(layout.name) else { return checks }
    let image = GVA(plan.imageOffset &+ plan.imageBase)
    var faults: [String] = []
    if layout.region(of: image) == nil { faults.append("the image at \(image.hex) is in no region") }
    if layout.region(of: GVA(plan.linearBase)) == nil { faults.append("the window is in no region") }
    if plan.imageBase >= plan.imageLimit { faults.append("the image has no room") }
    if plan.imageLimit > plan.arenaBase { faults.append("the image reaches into the page-table arena") }
    if plan.arenaBase & (2 << 20 - 1) != 0 { faults.append("the arena is not aligned to 2 MiB") }
    if plan.arenaBase + plan.arenaSize(memory: plan.minimumMemory) >= plan.minimumMemory {
        faults.append("the least RAM does not hold the arena")
    }
    let program = layout.region(of: GVA(plan.programBase))
    if program == nil || program?.size ?? 0 < plan.programSize { faults.append("a program does not fit its region") }
    checks.append(LayoutCheck("the kernel's numbers", faults))
    return checks
}

private func isCanonical(_ address: GVA) -> Bool {
    Int64(bitPattern: address.rawValue << 16) >> 16 == Int64(bitPattern: address.rawValue)
}

/// The checks of layouts and the corrections of their documents, as text; whether every check found the table right.
public func layoutsCheckText(_ layouts: [Layout]) -> (text: String, passed: Bool) {
    var buffer = TextBuffer()
    var passed = true
    for (index, layout) in layouts.enumerated() {
        if index > 0 { buffer.newline() }
        buffer.line("\(layout.name), \(layout.regions.count) regions")
        for check in layoutChecks(layout) {
            if let fault = check.fault {
                passed = false
                buffer.line("  FAIL  \(check.check): \(fault)")
            } else {
                buffer.line("  ok    \(check.check)")
            }
        }
        for correction in layout.corrections {
            buffer.line("  wrong in the document: \(correction.row)")
            buffer.line("    found      \(correction.faults.joined(separator: "; "))")
            buffer.line("    corrected  \(correction.corrected)")
            buffer.line("    because    \(correction.reason)")
        }
    }
    return (String(decoding: buffer.take(), as: UTF8.self), passed)
}

/// The same as JSON, schema vitrine.layouts-check/1.
public func layoutsCheckJSON(_ layouts: [Layout]) -> (bytes: [UInt8], passed: Bool) {
    var writer = JSONWriter()
    let passed = layouts.allSatisfy { layoutChecks($0).allSatisfy { $0.fault == nil } }
    writer.object { writer in
        writer.member("schema", "vitrine.layouts-check/1")
        writer.member("passed", passed)
        writer.key("layouts")
        writer.array { writer in
            for layout in layouts {
                writer.object { writer in
                    writer.member("name", layout.name)
                    writer.key("checks")
                    writer.array { writer in
                        for check in layoutChecks(layout) {
                            writer.object { writer in
                                writer.member("check", check.check)
                                writer.member("passed", check.fault == nil)
                                if let fault = check.fault { writer.member("fault", fault) }
                            }
                        }
                    }
                    writer.key("corrections")
                    writer.array { writer in
                        for correction in layout.corrections {
                            writer.object { writer in
                                writer.member("row", correction.row)
                                writer.member("found", correction.faults.joined(separator: "; "))
                                writer.member("corrected", correction.corrected)
                                writer.member("reason", correction.reason)
                            }
                        }
                    }
                }
            }
        }
    }
    writer.newline()
    return (writer.bytes, passed)
}

/// The same as CSV: a line a check.
public func layoutsCheckCSV(_ layouts: [Layout]) -> (bytes: [UInt8], passed: Bool) {
    var writer = CSVWriter(header: ["layout", "check", "passed", "fault"])
    var passed = true
    for layout in layouts {
        for check in layoutChecks(layout) {
            if check.fault != nil { passed = false }
            writer.field(layout.name)
            writer.field(check.check)
            writer.field(check.fault == nil ? "true" : "false")
            writer.field(check.fault ?? "")
            writer.endRecord()
        }
    }
    return (writer.take(), passed)
}

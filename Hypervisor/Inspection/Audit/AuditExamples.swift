// What a rule found wrong: how much, and the first few places.

import Addresses
import JSON
import PageTables

/// A place that a rule is about.
public struct AuditExample: Sendable, Equatable {
    /// The first virtual address.
    public let va: GVA
    /// Bytes.
    public let size: UInt64
    /// The physical address behind the first, or nil if it is about an entry alone.
    public let gpa: GPA?
    /// Effective permissions.
    public let flags: PageFlags
    /// The other address of the same memory, where the rule is about two.
    public var other: (va: GVA, flags: PageFlags)?

    /// Equal in everything.
    public static func == (a: AuditExample, b: AuditExample) -> Bool {
        a.va == b.va && a.size == b.size && a.gpa == b.gpa && a.flags == b.flags && a.other?.va == b.other?.va
            && a.other?.flags == b.other?.flags
    }

    /// `0x1000-0x1fff ur-x at GPA 0x5000, as 0x3000 urw-`.
    var text: String {
        func permissions(_ flags: PageFlags) -> String { String(flags.columns.prefix(4)) }
        var text = "\(va.hex)-\((va &+ (size &- 1)).hex) \(permissions(flags))"
        if let gpa { text += " at GPA \(gpa.hex)" }
        if let other { text += ", also \(other.va.hex) \(permissions(other.flags))" }
        return text
    }

    func write(into writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("va", hex: va.rawValue)
            writer.member("size", size)
            writer.member("gpa", hex: gpa?.rawValue)
            writer.member("flags", flags.letters)
            if let other {
                writer.member("otherVA", hex: other.va.rawValue)
                writer.member("otherFlags", other.flags.letters)
            }
        }
    }
}

/// Gathers examples: counts all, keeps the first few.
struct AuditExamples {
    /// How many are kept.
    static let limit = 5
    private(set) var kept: [AuditExample] = []
    private(set) var count: UInt64 = 0
    private(set) var bytes: UInt64 = 0

    mutating func add(_ example: @autoclosure () -> AuditExample, size: UInt64) {
        count += 1
        bytes = bytes &+ size
        if kept.count < AuditExamples.limit { kept.append(example()) }
    }

    mutating func add(_ run: MappedRun) {
        add(AuditExample(va: run.va, size: run.size, gpa: run.gpa, flags: run.flags), size: run.size)
    }

    /// A part of a run's memory, and the same memory at another run's address.
    mutating func add(_ first: UInt64, _ last: UInt64, of run: MappedRun, also other: MappedRun) {
        add(
            AuditExample(
                va: run.va &+ (first &- run.gpa.rawValue), size: last &- first &+ 1, gpa: GPA(first), flags: run.flags,
                other: (other.va &+ (first &- other.gpa.rawValue), other.flags)), size: last &- first &+ 1)
    }

    /// `3 ranges, 24K: ..., ...; and 1 more`.
    var text: String {
        var text = "\(counted(count, "range")), \(roundSize(bytes)): " + kept.map(\.text).joined(separator: "; ")
        if count > UInt64(kept.count) { text += "; and \(grouped(count - UInt64(kept.count))) more" }
        return text
    }

    /// Right if there is nothing, else wrong.
    func finding(_ nothing: String) -> AuditFinding { count == 0 ? .right(nothing) : .wrong(text) }
}

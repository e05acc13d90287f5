// What an audit needs of a guest: its tables now and then, its kernel's monitor, and its bytes as the host has them.

import Addresses
import Glibc
import GuestMemory
import Layouts
import PageTables
import SystemCalls
import Targets

/// An answer of the kernel's monitor.
public enum MonitorAnswer: Sendable, Equatable {
    /// Lines of `key=value` pairs.
    case lines([[String: String]])
    /// `error: TEXT`.
    case error(String)
}

/// A guest as an audit sees it.
public protocol AuditGuest {
    /// Its tables as they are now; they may change between one look and the next.
    var subject: Subject { get }
    /// Its tables at a boot stage: `A`, `B` or `C`.
    func stage(_ name: String) throws -> Subject
    /// A command of the kernel's monitor.
    func command(_ line: String) throws -> MonitorAnswer
    /// KVM's own translation; nil if it says that nothing is mapped.
    func oracle(_ address: GVA) throws -> GPA?
    /// Bytes at a host virtual address of the guest's process; nil if they may not be read.
    func hostBytes(at address: HVA, count: Int) -> [UInt8]?
}

/// Why a rule could not even be checked.
struct AuditTrouble: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension AuditGuest {
    /// The first line of an answer.
    func first(_ line: String) throws -> [String: String] {
        switch try command(line) {
        case .lines(let lines):
            guard let first = lines.first else { throw AuditTrouble("the kernel answers '\(line)' with nothing") }
            return first
        case .error(let text): throw AuditTrouble("the kernel answers '\(line)' with: \(text)")
        }
    }

    /// A command that has nothing to say.
    func run(_ line: String) throws {
        if case .error(let text) = try command(line) {
            throw AuditTrouble("the kernel answers '\(line)' with: \(text)")
        }
    }

    /// A number of an answer.
    func number(_ key: String, in answer: [String: String], of line: String) throws -> UInt64 {
        guard let text = answer[key], let value = parseHexadecimal(text) else {
            throw AuditTrouble("the kernel's answer to '\(line)' has no \(key)")
        }
        return value
    }
}

extension Subject {
    /// The runs of a range, for a rule. No layout has more tables than this in one range, a guest that loops them has.
    func audited(_ range: ClosedRange<GVA>? = nil) throws(AuditTrouble) -> (
        collector: RunCollector, summary: WalkSummary
    ) {
        let limit = 1 << 15
        let result = runs(in: range, tableLimit: limit)
        guard result.summary.isComplete else { throw AuditTrouble("more than \(limit) tables, or tables that repeat") }
        // What is behind a table that is not walked again is in no run: a rule must not miss it.
        if let again = result.collector.repetitions.first {
            throw AuditTrouble("the table at \(again.table.hex) is reached again and again, at \(again.va.hex) too")
        }
        return result
    }
}

/// A target as an audit sees it.
public final class TargetGuest: AuditGuest {
    private let target: any Target
    private let vcpu: Int
    /// How many seconds the guest's kernel has for each answer.
    private let patience: Double
    /// What the target said when its kernel did not answer: then no rule waits again.
    private var silence: TargetError?
    /// Its tables as they are now.
    public let subject: Subject

    /// A target, and the tables of one of its vCPUs. Its kernel has `patience` seconds for each answer.
    public init(_ target: any Target, subject: Subject, vcpu: Int = 0, patience: Double = 10) {
        self.target = target
        self.subject = subject
        self.vcpu = vcpu
        self.patience = patience
    }

    /// Its tables at a boot stage.
    public func stage(_ name: String) throws -> Subject {
        let tables = try target.stageTables(name)
        return Subject(
            name: target.name, layout: subject.layout, slots: target.slots, memory: .stage(tables),
            format: subject.format, root: GPA(tables.cr3 & X86Bit.address), moment: "stage \(name)")
    }

    /// A command of the kernel's monitor.
    public func command(_ line: String) throws -> MonitorAnswer {
        if let silence { throw silence }
        let lines: [String]
        do throws(TargetError) { lines = try target.exec(line, timeout: patience) } catch {
            if isAnswer(error), case .refused(_, _, let reason) = error { return .error(reason) }
            silence = error
            throw error
        }
        return .lines(
            lines.map { line in
                var pairs: [String: String] = [:]
                for word in line.split(separator: " ") {
                    let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                    if parts.count == 2 { pairs[String(parts[0])] = String(parts[1]) }
                }
                return pairs
            })
    }

    /// Whether an error is the kernel's own answer; else it did not answer in time, or is not there.
    private func isAnswer(_ error: TargetError) -> Bool {
        guard case .refused(_, _, let reason) = error else { return false }
        // As the monitor words it (Monitor/ExecChannel.swift).
        return !reason.contains("did not answer within") && !reason.contains("still owes the answer")
    }

    /// KVM's own translation.
    public func oracle(_ address: GVA) throws -> GPA? { try target.translate(address, vcpu: vcpu) }

    /// Bytes of the guest's process (/proc/PID/mem).
    public func hostBytes(at address: HVA, count: Int) -> [UInt8]? {
        guard let file = try? FileDescriptor(open: "/proc/\(target.pid)/mem", O_RDONLY) else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        let done = bytes.withUnsafeMutableBytes { try? file.read(at: address.rawValue, into: $0) }
        return done == count ? bytes : nil
    }
}

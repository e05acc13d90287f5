// A process of the linux layout as its rules see it: its parts as the kernel tells them, its VMAs, its memory.

import Addresses
import GuestMemory
import Layouts
import PageTables

/// One process and what the kernel says of it.
struct LinuxProcess<Guest: AuditGuest> {
    /// One line of `vmas`.
    struct VMA {
        let start: UInt64
        let end: UInt64
        let permissions: String
        let kind: String
    }

    let process: ProcessGuest<Guest>
    let vmas: [VMA]
    private let bounds: [String: String]

    var number: UInt64 { process.number }
    var subject: Subject { process.subject }

    init(_ process: ProcessGuest<Guest>) throws {
        self.process = process
        bounds = try process.first("bounds")
        guard case .lines(let lines) = try process.command("vmas") else {
            throw AuditTrouble("the kernel does not answer 'vmas'")
        }
        vmas = try lines.map { line in
            let ends = (line["vma"] ?? "").split(separator: "-").compactMap { parseHexadecimal($0) }
            guard ends.count == 2, ends[0] < ends[1] else { throw AuditTrouble("a VMA at \(line["vma"] ?? "nowhere")") }
            return VMA(start: ends[0], end: ends[1], permissions: line["perm"] ?? "", kind: line["kind"] ?? "")
        }
    }

    /// A part's address.
    func bound(_ name: String) throws -> UInt64 { try process.number(name, in: bounds, of: "bounds") }

    /// The VMAs of a kind.
    func vmas(_ kind: String) -> [VMA] { vmas.filter { $0.kind == kind } }

    /// The last address of the program, data and all, rounded up to a page.
    var programEnd: UInt64 { vmas("program").map(\.end).max() ?? 0 }

    /// A word of the process's memory, through its tables.
    func word(_ va: UInt64) throws -> UInt64 {
        guard let gpa = subject.translate(GVA(va)).mapping?.gpa else {
            throw AuditTrouble("\(GVA(va).hex) is not mapped in process \(number)")
        }
        var word: UInt64 = 0
        guard withUnsafeMutableBytes(of: &word, { subject.memory.read(gpa, into: $0) }) else {
            throw AuditTrouble("\(gpa.hex) cannot be read")
        }
        return word
    }

    /// A text of the process's memory, at most 256 bytes of it.
    func text(_ va: UInt64) throws -> String {
        var bytes: [UInt8] = []
        while bytes.count < 256 {
            let at = va &+ UInt64(bytes.count)
            let byte = UInt8(truncatingIfNeeded: try word(at & ~7) >> (8 * (at & 7)))
            if byte == 0 { break }
            bytes.append(byte)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Whether a command is refused.
    func refuses(_ line: String) throws -> Bool {
        if case .error = try process.command(line) { return true }
        return false
    }
}

// A guest as one of its processes sees it, or as its kernel does.

import Addresses
import GuestMemory
import Layouts
import PageTables

extension Subject {
    /// The same guest with another root.
    func rooted(at root: UInt64) -> Subject {
        Subject(
            name: name, layout: layout, slots: slots, memory: memory, format: format, root: GPA(root), moment: moment,
            source: source, hasHostAddresses: hasHostAddresses)
    }

    /// The 512 entries of the root.
    func rootEntries() throws -> [UInt64] {
        guard let page = memory.page(at: root) else { throw AuditTrouble("the root \(root.hex) cannot be read") }
        return (0..<512).map { page.load(fromByteOffset: $0 * 8, as: UInt64.self) }
    }

    /// The entries of the root that are present, by index.
    func presentRootEntries() throws -> [Int: UInt64] {
        Dictionary(uniqueKeysWithValues: try rootEntries().enumerated().filter { $0.element & 1 != 0 }.map { ($0, $1) })
    }

    /// A word of the guest's memory, through the tables.
    func word(at va: UInt64) throws -> UInt64 {
        guard let gpa = translate(GVA(va)).mapping?.gpa else { throw AuditTrouble("\(GVA(va).hex) is not mapped") }
        var word: UInt64 = 0
        guard withUnsafeMutableBytes(of: &word, { memory.read(gpa, into: $0) }) else {
            throw AuditTrouble("\(gpa.hex) cannot be read")
        }
        return word
    }
}

/// Places in a table, for a finding: `[0] [256]`.
func tablePlaces(_ indices: some Sequence<Int>) -> String {
    indices.sorted().map { "[\($0)]" }.joined(separator: " ")
}

/// A guest looked at through the kernel's own root, whatever its vCPUs have loaded.
struct KernelRoot<Guest: AuditGuest>: AuditGuest {
    let guest: Guest
    let subject: Subject

    init(_ guest: Guest) {
        self.guest = guest
        let answer = try? guest.first("stats")
        subject = guest.subject.rooted(
            at: answer?["root"].flatMap { parseHexadecimal($0) } ?? guest.subject.root.rawValue)
    }

    func stage(_ name: String) throws -> Subject { try guest.stage(name) }
    func command(_ line: String) throws -> MonitorAnswer { try guest.command(line) }
    func oracle(_ address: GVA) throws -> GPA? { try guest.oracle(address) }
    func hostBytes(at address: HVA, count: Int) -> [UInt8]? { guest.hostBytes(at: address, count: count) }
}

/// A guest looked at through one process: its root, and commands in its address space.
struct ProcessGuest<Guest: AuditGuest>: AuditGuest {
    let guest: Guest
    /// The process's number.
    let number: UInt64
    let subject: Subject

    func stage(_ name: String) throws -> Subject { try guest.stage(name) }
    func command(_ line: String) throws -> MonitorAnswer { try guest.command("in \(number) \(line)") }
    func oracle(_ address: GVA) throws -> GPA? { nil }
    func hostBytes(at address: HVA, count: Int) -> [UInt8]? { guest.hostBytes(at: address, count: count) }
}

extension AuditGuest {
    /// The processes that run, as `ps` tells them.
    func processes() throws -> [ProcessGuest<Self>] {
        guard case .lines(let lines) = try command("ps") else { throw AuditTrouble("the kernel does not answer 'ps'") }
        var found: [ProcessGuest<Self>] = []
        for line in lines where line["state"] == "running" && line["root"] != nil {
            guard let number = line["program"].flatMap({ UInt64($0) }) else {
                throw AuditTrouble("a line of 'ps' has no number")
            }
            let root = try self.number("root", in: line, of: "ps")
            found.append(ProcessGuest(guest: self, number: number, subject: subject.rooted(at: root)))
        }
        return found
    }

    /// A decimal field of an answer.
    func count(_ key: String, in answer: [String: String], of line: String) throws -> UInt64 {
        guard let value = answer[key].flatMap({ UInt64($0) }) else {
            throw AuditTrouble("the kernel's answer to '\(line)' has no \(key)")
        }
        return value
    }
}

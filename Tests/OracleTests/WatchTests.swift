import Addresses
import Foundation
import GuestMemory
import Inspection
import JSON
import PageTables
import Targets
import Testing

/// Watching a QEMU: nobody tells of writes, its tables are read again.
@Suite(.enabled(if: QEMU.isInstalled, "qemu-system-x86 is not installed")) struct WatchTests {
    /// A debugger's write to a table (QEMU's gdbstub) is seen, as `info tlb` sees it.
    @Test(arguments: ["thirty-two-bit", "pae", "five-level"])
    func aTableIsWritten(image: String) throws {
        let (machine, target) = try PagingGuestTests().start(image)
        let registers = try target.registers(vcpu: 0)
        guard case .paging(let format, let root) = registers.paging.mode else {
            Issue.record("no paging")
            return
        }
        let subject = Subject(
            name: target.name, layout: nil, slots: target.slots, memory: .live(target.memory), format: format,
            root: root)
        var options = WatchOptions()
        options.followedVCPU = 0
        let watcher = try TableWatcher(subject, of: target, options: options)
        var found: [AnnotatedChange] = []
        func look() throws {
            found = []
            try watcher.lookAtRoot { _ in Issue.record("the root did not move") }
            try watcher.look(at: watcher.pages) { if case .change(let change) = $0 { found.append(change) } }
            try target.checkReads()
        }
        try look()
        #expect(found.isEmpty)

        /// The leaves that `info tlb` prints.
        func leaves() throws -> Set<PrintedLeaf> {
            Set(try target.client.human("info tlb").split(whereSeparator: \.isNewline).compactMap { PrintedLeaf($0) })
        }
        /// Every page of what was found, with its physical address; of one side.
        func pages(_ side: (AnnotatedChange) -> AnnotatedRange?) -> [UInt64: UInt64] {
            var pages: [UInt64: UInt64] = [:]
            for change in found {
                guard let range = side(change) else { continue }
                for offset in stride(from: 0, to: range.size, by: Int(range.pageSize)) {
                    let step = range.repeatsPage ? 0 : offset
                    pages[change.va.rawValue + offset] = range.gpa.rawValue + step
                }
            }
            return pages
        }
        /// What was found is what `info tlb` says otherwise now.
        func compare(_ before: Set<PrintedLeaf>, _ after: Set<PrintedLeaf>) {
            func addresses(_ leaves: Set<PrintedLeaf>) -> [UInt64: UInt64] {
                Dictionary(leaves.map { ($0.va, $0.pa) }) { first, _ in first }
            }
            #expect(pages { $0.from } == addresses(before.subtracting(after)))
            #expect(pages { $0.to } == addresses(after.subtracting(before)))
        }

        // A leaf whose page may be written, and where its entry is. Some tables serve at several addresses.
        let first = try leaves()
        let leaf = try #require(
            first.filter { $0.flags.hasSuffix("W") && !$0.flags.contains("P") }.min { $0.va < $1.va })
        let translation = translate(GVA(leaf.va), root: root, format: format, memory: target.memory)
        let entry = try #require(translation.entries.last)
        let debugger = try Debugger(machine)
        for (value, kind) in [
            (0, AnnotatedChange.Kind.removed), (entry.value, .added), (entry.value & ~2, .changed),
        ] {
            try debugger.write(value, at: entry.at.rawValue, size: format.entrySize)
            try look()
            #expect(!found.isEmpty && found.allSatisfy { $0.kind == kind })
        }
        let before = try leaves()
        compare(first, before)
        // An entry that refers to a table: all that is below it.
        let above = try #require(translation.entries.dropLast().last)
        try debugger.write(0, at: above.at.rawValue, size: format.entrySize)
        try look()
        let without = try leaves()
        #expect(before.count > without.count)
        compare(before, without)
        try look()
        #expect(found.isEmpty)
    }
}

/// Physical memory by QEMU's gdbstub, the one way to write it from outside.
private final class Debugger {
    private let socket: Int32
    private let machine: QEMU

    init(_ machine: QEMU) throws {
        self.machine = machine
        let path = machine.folder + "/gdb.sock"
        let client = try QMPClient(path: machine.secondSocket, name: "second")
        _ = try client.human("gdbserver unix:\(path),server=on,wait=off")
        socket = Foundation.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0, "the gdbstub does not listen")
        try command("?")
        try command("Qqemu.PhyMemMode:1")
    }

    deinit { close(socket) }

    func write(_ value: UInt64, at address: UInt64, size: Int) throws {
        let bytes = withUnsafeBytes(of: value.littleEndian) { Array($0.prefix(size)) }
        let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        try #require(try command("M\(String(address, radix: 16)),\(size):\(hex)") == "OK")
    }

    /// One packet of the remote serial protocol and its answer.
    @discardableResult
    private func command(_ text: String) throws -> String {
        let sum = text.utf8.reduce(UInt8(0)) { $0 &+ $1 }
        let packet = "$\(text)#" + (sum < 16 ? "0" : "") + String(sum, radix: 16)
        _ = send(socket, packet, packet.utf8.count, Int32(MSG_NOSIGNAL))
        var answer: [UInt8] = []
        var byte: UInt8 = 0
        while recv(socket, &byte, 1, 0) == 1 {
            answer.append(byte)
            if answer.count >= 3, answer[answer.count - 3] == UInt8(ascii: "#") { break }
        }
        _ = send(socket, "+", 1, Int32(MSG_NOSIGNAL))
        let body = answer.drop { $0 != UInt8(ascii: "$") }.dropFirst().dropLast(3)
        return String(decoding: body, as: UTF8.self)
    }
}

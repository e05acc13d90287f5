// `info tlb` and `info mem`: what the live page tables map, in the words of QEMU 7.2, from our own walk.

import Addresses
import GuestMemory
import PageTables

/// Writes one line for each leaf.
struct LeafLines: WalkConsumer {
    static var wantsEntries: Bool { true }
    /// The lines so far.
    private(set) var text = ""

    /// More text than this is not written: a guest can map one table a hundred million times.
    static let limit = 2 << 20

    var isFinished: Bool { text.utf8.count > LeafLines.limit }

    mutating func run(_ run: MappedRun) {}

    mutating func entry(_ entry: WalkEntry) {
        guard entry.isLeaf, !isFinished else { return }
        // Bits of a leaf (Intel SDM volume 3, table 5-20); QEMU shows bit 7 as P, in a 4 KiB page as well.
        let letters: [(UInt64, Character)] = [
            (1 << 63, "X"), (1 << 8, "G"), (1 << 7, "P"), (1 << 6, "D"), (1 << 5, "A"), (1 << 4, "C"), (1 << 3, "T"),
            (1 << 2, "U"), (1 << 1, "W"),
        ]
        let value = entry.entry.value
        let flags = String(letters.map { value & $0.0 != 0 ? $0.1 : "-" })
        text += "\(hexDigits(entry.va.rawValue, 16)): \(hexDigits(entry.target.rawValue, 16)) \(flags)\n"
    }
}

/// Writes one line for each stretch of pages that follow each other and allow the same.
struct StretchLines: WalkConsumer {
    static var wantsEntries: Bool { true }
    private(set) var text = ""
    private var current: (start: UInt64, end: UInt64, isUser: Bool, isWritable: Bool)?

    var isFinished: Bool { text.utf8.count > LeafLines.limit }

    mutating func run(_ run: MappedRun) {}

    mutating func entry(_ entry: WalkEntry) {
        guard entry.isLeaf, !isFinished else { return }
        let isUser = entry.flags.contains(.user)
        let isWritable = entry.flags.contains(.writable)
        let start = entry.va.rawValue
        let end = start &+ 1 << UInt64(entry.pageShift & 63)
        if let last = current, last.end == start, last.isUser == isUser, last.isWritable == isWritable {
            current?.end = end
            return
        }
        finish()
        current = (start, end, isUser, isWritable)
    }

    /// Writes the last stretch.
    mutating func finish() {
        guard let stretch = current else { return }
        current = nil
        text +=
            "\(hexDigits(stretch.start, 16))-\(hexDigits(stretch.end, 16)) "
            + "\(hexDigits(stretch.end &- stretch.start, 16)) \(stretch.isUser ? "u" : "-")r\(stretch.isWritable ? "w" : "-")\n"
    }
}

/// The answers of the human monitor that are read from page tables.
enum HumanPages {
    /// So many tables are read at most, those that are reached again included.
    private static let tableLimit = 1 << 16

    /// `info tlb`.
    static func leaves(_ state: PagingState, _ memory: GuestRAM) -> String {
        walk(state, memory, LeafLines()) { $0.text }
    }

    /// `info mem`.
    static func stretches(_ state: PagingState, _ memory: GuestRAM) -> String {
        walk(state, memory, StretchLines()) { lines in
            lines.finish()
            return lines.text
        }
    }

    /// `gva2gpa`; nil: not mapped.
    static func physical(_ address: UInt64, _ state: PagingState, _ memory: GuestRAM) -> UInt64? {
        switch state.mode {
        case .pagingOff: return address
        case .unsupported: return nil
        case .paging(let format, let root):
            return translate(GVA(address), root: root, format: format, memory: memory).mapping?.gpa.rawValue
        }
    }

    private static func walk<Lines: WalkConsumer>(
        _ state: PagingState, _ memory: GuestRAM, _ lines: Lines, _ text: (inout Lines) -> String
    ) -> String {
        switch state.mode {
        case .pagingOff: return "PG disabled\n"
        case .unsupported(let name): return "\(name) is not described\n"
        case .paging(let format, let root):
            var lines = lines
            var options = WalkOptions()
            options.everyPath = true
            options.tableLimit = tableLimit
            let summary = PageTables.walk(root: root, format: format, memory: memory, options: options, into: &lines)
            let end = summary.isComplete && !lines.isFinished ? "" : "... there is more: see vitrine pages\n"
            return text(&lines) + end
        }
    }
}

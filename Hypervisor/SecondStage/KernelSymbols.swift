// Kernel symbols by name, where the kernel shows their addresses (/proc/kallsyms, kernel.kptr_restrict).

import Glibc
import SystemCalls

enum KernelSymbols {
    /// The addresses of symbols; those that are hidden or not there are left out.
    static func addresses(of names: Set<String>) -> [String: UInt64] {
        guard let file = try? FileDescriptor(open: "/proc/kallsyms", O_RDONLY) else { return [:] }
        var text = SymbolText(names)
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while !text.isComplete {
            let count = read(file.rawValue, &buffer, buffer.count)
            guard count > 0 else { break }
            text.read(buffer.prefix(count))
        }
        return text.found
    }

    /// page_offset_base: where the kernel maps all of physical memory (arch/x86/kernel/head64.c).
    static func directMapBase(_ memory: any KernelMemory) throws(SecondStageError) -> UInt64? {
        guard let address = addresses(of: ["page_offset_base"])["page_offset_base"] else { return nil }
        return try memory.words([address])[0]
    }
}

/// The text of /proc/kallsyms, in pieces of any size.
package struct SymbolText {
    private let names: Set<String>
    /// The addresses that were found, by name.
    package private(set) var found: [String: UInt64] = [:]
    /// A line that has not ended.
    private var rest: [UInt8] = []
    /// Whether every name was found.
    package var isComplete: Bool { found.count == names.count }

    /// Looks for these names.
    package init(_ names: Set<String>) { self.names = names }

    /// Takes the next piece.
    package mutating func read(_ piece: ArraySlice<UInt8>) {
        rest += piece
        let end = rest.lastIndex(of: 10) ?? -1
        for line in rest[..<max(0, end)].split(separator: 10) {
            // "ffffffff81000000 T _text", a module's name may follow.
            let words = line.split(whereSeparator: { $0 == 32 || $0 == 9 })
            guard words.count >= 3 else { continue }
            let name = String(decoding: words[2], as: UTF8.self)
            guard names.contains(name), found[name] == nil else { continue }
            let address = UInt64(String(decoding: words[0], as: UTF8.self), radix: 16) ?? 0
            if address != 0 { found[name] = address }
        }
        rest.removeFirst(end + 1)
    }
}

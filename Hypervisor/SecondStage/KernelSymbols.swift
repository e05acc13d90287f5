// Kernel symbols by name, where the kernel shows their addresses (/proc/kallsyms, kernel.kptr_restrict).

import Glibc
import SystemCalls

enum KernelSymbols {
    /// The addresses of symbols; those that are hidden or not there are left out.
    static func addresses(of names: Set<String>) -> [String: UInt64] {
        guard let file = try? FileDescriptor(open: "/proc/kallsyms", O_RDONLY) else { return [:] }
        var found: [String: UInt64] = [:]
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        var rest: [UInt8] = []
        while true {
            let count = read(file.rawValue, &buffer, buffer.count)
            guard count > 0 else { return found }
            rest += buffer.prefix(count)
            let end = rest.lastIndex(of: 10) ?? -1
            for line in rest[..<max(0, end)].split(separator: 10) {
                // "ffffffff81000000 T _text", a module's name may follow.
                let words = line.split(whereSeparator: { $0 == 32 || $0 == 9 })
                guard words.count >= 3 else { continue }
                let name = String(decoding: words[2], as: UTF8.self)
                guard names.contains(name), found[name] == nil else { continue }
                let address = UInt64(String(decoding: words[0], as: UTF8.self), radix: 16) ?? 0
                if address != 0 { found[name] = address }
                if found.count == names.count { return found }
            }
            rest.removeFirst(end + 1)
        }
    }

    /// page_offset_base: where the kernel maps all of physical memory (arch/x86/kernel/head64.c).
    static func directMapBase(_ memory: any KernelMemory) throws(SecondStageError) -> UInt64? {
        guard let address = addresses(of: ["page_offset_base"])["page_offset_base"] else { return nil }
        return try memory.words([address])[0]
    }
}

// `--explain`: how the names of a Linux kernel's regions were found, as text and JSON.

import Addresses
import JSON
import Layouts

extension LinuxKernel {
    /// Where the names come from, in a line.
    private var origin: String {
        let root = isUserCopy ? "the kernel's root \(kernelRoot.hex); this is its copy for user mode" : "these tables"
        return "Linux, found in \(root); KASLR moved " + (isMemoryRandomised ? "its regions" : "none of its regions")
    }

    /// The regions with what is known of them, in lines of at most 100 columns.
    var explanation: String {
        var buffer = TextBuffer()
        buffer.line(origin)
        for region in regions {
            buffer.add("  \(region.name)")
            buffer.tab(to: 18)
            buffer.add("\(region.first.hex16)-\(region.last.hex16)  \(region.certainty.rawValue)")
            buffer.newline()
            var line = ""
            for word in region.evidence.split(separator: " ") {
                if 20 + line.count + 1 + word.count > 100 {
                    buffer.line(String(repeating: " ", count: 20) + line)
                    line = ""
                }
                line += (line.isEmpty ? "" : " ") + word
            }
            if !line.isEmpty { buffer.line(String(repeating: " ", count: 20) + line) }
        }
        return String(decoding: buffer.take(), as: UTF8.self)
    }

    /// The same for programs: the members of an object.
    func write(into writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("system", "linux")
            writer.member("kernelRoot", hex: kernelRoot.rawValue)
            writer.member("userCopy", isUserCopy)
            writer.member("randomised", isMemoryRandomised)
            writer.member("directMapBase", hex: directMapBase.rawValue)
            writer.member("vmallocBase", hex: vmallocBase?.rawValue)
            writer.member("vmemmapBase", hex: vmemmapBase?.rawValue)
            writer.member("imageBase", hex: imageBase.rawValue)
            writer.member("imagePhysicalBase", hex: imagePhysicalBase.rawValue)
            writer.key("regions")
            writer.array { writer in
                for region in regions {
                    writer.object { writer in
                        writer.member("name", region.name)
                        writer.member("va", hex: region.first.rawValue)
                        writer.member("size", (region.last &- region.first) &+ 1)
                        writer.member("certainty", region.certainty.rawValue)
                        writer.member("evidence", region.evidence)
                        writer.member("purpose", region.purpose)
                    }
                }
            }
        }
    }
}

extension Subject {
    /// Where the names of regions come from, in lines.
    var explanation: String {
        if let linux { return linux.explanation }
        guard let layout else { return "no names: no layout is known, and the tables do not look like Linux's\n" }
        return "names of layout \(layout.name): \(layout.source)\n"
    }
}

// A guest as libvirt describes one: the domain XML for the options of `vitrine run` (libvirt.org/formatdomain.html).

import Machine
import Options

/// The domain XML for a guest.
public struct DomainXML {
    private let options: RunOptions
    private let emulator: String
    private let hasOwnKernel: Bool

    /// A domain that runs what these options describe.
    ///
    /// - Parameters:
    ///   - words: options of `vitrine run`, parsed but not yet read.
    ///   - emulator: the absolute path of vitrine-qemu.
    /// - Throws: `usage` for an option that has no place in a domain, and for a path that is not absolute.
    public init(_ words: inout Arguments, emulator: String) throws(MonitorError) {
        for (name, instead) in [
            ("detach", "libvirt starts a domain on its own"), ("wait-ready", "see virsh console"),
            ("ready-fd", "libvirt starts the process"), ("restore", "see virsh restore"),
            ("paused", "see virsh start --paused"),
            ("gdb", "see vitrine gdb"), ("core-on-panic", "see virsh dump --memory-only"),
        ] where words.flag(name) {
            throw .usage("--\(name) has no place in a domain: \(instead)")
        }
        if words.value("console") == "stdio" {
            throw .usage("--console stdio has no place in a domain: pty (virsh console), file:PATH and none have")
        }
        hasOwnKernel = words.flag("kernel")
        var options = try RunOptions(&words)
        if !options.wasNamed { options.name = "vitrine-\(options.machine.layout)" }
        if !words.flag("console") { options.console = .pty }
        self.options = options
        self.emulator = emulator
        for path in [emulator, options.machine.kernel, options.machine.initrd].compactMap({ $0 })
        where !path.hasPrefix("/") {
            throw .usage("\(path): a domain needs absolute paths")
        }
        guard options.machine.memory & 1023 == 0 else {
            throw .usage("--memory \(options.machine.memory): libvirt counts memory in KiB")
        }
    }

    /// The text, with a line end at its end.
    public var text: String {
        let machine = options.machine
        let extra = emulatorWords
        let space = extra.isEmpty ? "" : " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
        var lines = [
            "<domain type='kvm'\(space)>", "  <name>\(DomainXML.escaped(options.name))</name>",
            "  <uuid>\(DomainXML.uuid(of: options.name))</uuid>",
            "  <memory unit='KiB'>\(machine.memory >> 10)</memory>",
        ]
        if let size = machine.hugePages {
            lines += [
                "  <memoryBacking>", "    <hugepages>", "      <page size='\(size.rawValue >> 10)' unit='KiB'/>",
                "    </hugepages>", "  </memoryBacking>",
            ]
        }
        lines += [
            "  <vcpu>\(machine.vcpus)</vcpu>", "  <os>",
            "    <type arch='x86_64' machine='vitrine-\(machine.layout)'>hvm</type>",
        ]
        if hasOwnKernel { lines.append("    <kernel>\(DomainXML.escaped(machine.kernel))</kernel>") }
        if let initrd = machine.initrd { lines.append("    <initrd>\(DomainXML.escaped(initrd))</initrd>") }
        if !machine.commandLine.isEmpty {
            lines.append("    <cmdline>\(DomainXML.escaped(machine.commandLine))</cmdline>")
        }
        lines += [
            "  </os>", "  <on_poweroff>destroy</on_poweroff>", "  <on_reboot>restart</on_reboot>",
            "  <on_crash>\(options.keepsCrashed ? "preserve" : "destroy")</on_crash>", "  <devices>",
            "    <emulator>\(DomainXML.escaped(emulator))</emulator>", "    <controller type='usb' model='none'/>",
            "    <memballoon model='none'/>",
        ]
        lines += console + ["  </devices>"]
        if !extra.isEmpty {
            lines += ["  <qemu:commandline>"] + extra.map { "    <qemu:arg value='\(DomainXML.escaped($0))'/>" }
            lines.append("  </qemu:commandline>")
        }
        return (lines + ["</domain>"]).map { $0 + "\n" }.joined()
    }

    /// What only our emulator knows.
    private var emulatorWords: [String] {
        var words = options.machine.programs.flatMap { ["-x-vitrine-program", $0] }
        if let stage = options.machine.stopAt { words += ["-x-vitrine-stop-at", stage.rawValue] }
        return words
    }

    private var console: [String] {
        switch options.console {
        case .file(let path):
            return ["    <serial type='file'>", "      <source path='\(DomainXML.escaped(path))'/>", "    </serial>"]
        case .none: return ["    <serial type='null'/>"]
        default: return ["    <serial type='pty'/>"]
        }
    }

    /// A text as XML has it; what XML cannot say is left out.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "'": result += "&apos;"
            case "\"": result += "&quot;"
            default: if scalar.value >= 0x20 || scalar == "\t" { result.unicodeScalars.append(scalar) }
            }
        }
        return result
    }

    /// The same UUID for the same name, so that to define a domain again is to change it (RFC 9562, version 8).
    static func uuid(of name: String) -> String {
        // FNV-1a, 64 bits, twice with different beginnings.
        func hash(_ basis: UInt64) -> UInt64 {
            name.utf8.reduce(basis) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        }
        var high = hash(0xcbf2_9ce4_8422_2325)
        var low = hash(high ^ 0x5649_5452_494e_4521)
        high = high & ~0xf000 | 0x8000
        low = low & ~(3 << 62) | 1 << 63
        let digits = Array(hexDigits(high, 16) + hexDigits(low, 16))
        let cuts = [0, 8, 12, 16, 20, 32]
        return zip(cuts, cuts.dropFirst()).map { String(digits[$0..<$1]) }.joined(separator: "-")
    }
}

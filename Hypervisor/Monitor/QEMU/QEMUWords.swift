// Every option of QEMU 7.2 (its documentation, "Invocation"), and what becomes of it here.

import Options

/// What becomes of an option.
enum QEMUWord {
    /// It is read; whether it takes a value.
    case read(value: Bool)
    /// It is accepted and changes nothing; whether it takes a value.
    case ignored(value: Bool)
    /// It asks for something that is not there; what.
    case refused(value: Bool, String)

    /// Whether a value follows.
    var takesValue: Bool {
        switch self {
        case .read(let value), .ignored(let value), .refused(let value, _): return value
        }
    }
}

extension QEMUWord {
    /// The option of a name without its dashes, or nil if there is none.
    static func named(_ name: String) -> QEMUWord? { all[name] }

    /// The names of the options that are read, or of those that are accepted only.
    static func names(read: Bool) -> [String] {
        let names = all.filter { _, word in
            switch word {
            case .read: return read
            case .ignored: return !read
            case .refused: return false
            }
        }
        return names.keys.sorted()
    }

    private static let all: [String: QEMUWord] = {
        var all: [String: QEMUWord] = [:]
        for name in [
            "name", "machine", "M", "accel", "cpu", "m", "smp", "overcommit", "uuid", "display", "chardev", "mon",
            "qmp",
            "monitor", "serial", "kernel", "initrd", "append", "device", "audiodev", "audio", "msg", "pidfile",
            "mem-path", "object", "incoming", "sandbox", "add-fd", "numa", "vga", "parallel", "x-vitrine-program",
            "x-vitrine-stop-at", "action",
        ] { all[name] = .read(value: true) }
        for name in [
            "S", "enable-kvm", "nographic", "daemonize", "no-shutdown", "no-reboot", "nodefaults", "version", "h",
            "help",
        ] { all[name] = .read(value: false) }
        for name in ["rtc", "boot", "k", "global", "L", "compat", "trace", "d", "dfilter", "D"] {
            all[name] = .ignored(value: true)
        }
        for name in [
            "no-user-config", "no-acpi", "no-hpet", "no-fd-bootchk", "win2k-hack", "mem-prealloc",
        ] { all[name] = .ignored(value: false) }
        let missing: [(String, [String])] = [
            (
                "no disks",
                [
                    "drive", "blockdev", "hda", "hdb", "hdc", "hdd", "cdrom", "fda", "fdb", "sd", "mtdblock", "pflash",
                    "snapshot",
                ]
            ),
            ("no network", ["netdev", "net", "nic"]),
            ("no TPM", ["tpmdev"]),
            (
                "no firmware: a kernel is entered directly",
                ["bios", "acpitable", "smbios", "fw_cfg", "dtb", "option-rom"]
            ),
            ("no display", ["spice", "vnc", "g", "full-screen", "win-grab", "curses", "sdl", "gtk"]),
            ("no USB", ["usb", "usbdevice", "bt"]),
            ("no PCI", ["watchdog", "watchdog-action", "soundhw", "virtfs", "fsdev", "virtfs_synth", "iscsi"]),
            ("no debugger stub", ["gdb", "s"]),
            ("no states of a machine by name", ["loadvm"]),
            (
                "no emulated processor",
                ["icount", "semihosting", "semihosting-config", "singlestep", "tb-size", "plugin", "old-param"]
            ),
            ("no configuration files", ["readconfig", "writeconfig", "dump-vmstate", "preconfig", "set", "prom-env"]),
            ("no change of user or root folder", ["chroot", "runas", "enable-fips"]),
            ("no Xen", ["xen-domid", "xen-attach", "xen-domid-restrict"]),
            ("no debug console", ["debugcon"]),
        ]
        let flags: Set = [
            "snapshot", "full-screen", "win-grab", "curses", "sdl", "gtk", "usb", "s", "semihosting", "singlestep",
            "old-param", "preconfig", "enable-fips", "xen-attach", "xen-domid-restrict", "virtfs_synth",
        ]
        for (what, names) in missing {
            for name in names { all[name] = .refused(value: !flags.contains(name), "this machine has \(what)") }
        }
        return all
    }()

    /// Splits a command line into options with their values, in order.
    static func split(_ words: [String]) throws(UsageError) -> [(name: String, word: QEMUWord, value: String)] {
        var options: [(name: String, word: QEMUWord, value: String)] = []
        var rest = words[...]
        while let text = rest.popFirst() {
            guard text.utf8.first == UInt8(ascii: "-"), text.utf8.count > 1 else {
                throw UsageError(
                    "\(text): this machine has no disks; options begin with a dash (see vitrine-qemu -help)")
            }
            // One dash or two.
            let name = String(text.dropFirst(text.hasPrefix("--") ? 2 : 1))
            guard let word = named(name) else {
                throw UsageError("-\(name): there is no such option (see vitrine-qemu -help)")
            }
            var value = ""
            if word.takesValue {
                guard let next = rest.popFirst() else { throw UsageError("-\(name) needs a value") }
                value = next
            }
            options.append((name, word, value))
        }
        return options
    }
}

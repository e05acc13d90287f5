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

// Plain lists, looked through from the front: a dictionary of a type of one's own costs the process a tenth of a millisecond before
// its guest's first instruction.
extension QEMUWord {
    /// The option of a name without its dashes, or nil if there is none.
    static func named(_ name: String) -> QEMUWord? {
        if readValues.contains(name) { return .read(value: true) }
        if readFlags.contains(name) { return .read(value: false) }
        if ignoredValues.contains(name) { return .ignored(value: true) }
        if ignoredFlags.contains(name) { return .ignored(value: false) }
        guard let what = missing(name) else { return nil }
        return .refused(value: !refusedFlags.contains(name), "this machine has \(what)")
    }

    /// The names of the options that are read, or of those that are accepted only.
    static func names(read: Bool) -> [String] {
        (read ? readValues + readFlags : ignoredValues + ignoredFlags).sorted()
    }

    private static let readValues = [
        "name", "machine", "M", "accel", "cpu", "m", "smp", "overcommit", "uuid", "display", "chardev", "mon", "qmp",
        "monitor", "serial", "kernel", "initrd", "append", "device", "audiodev", "audio", "msg", "pidfile", "mem-path",
        "object", "incoming", "sandbox", "add-fd", "numa", "vga", "parallel", "x-vitrine-program", "x-vitrine-stop-at",
        "action",
    ]
    private static let readFlags = [
        "S", "enable-kvm", "nographic", "daemonize", "no-shutdown", "no-reboot", "nodefaults", "version", "h", "help",
    ]
    private static let ignoredValues = ["rtc", "boot", "k", "global", "L", "compat", "trace", "d", "dfilter", "D"]
    private static let ignoredFlags = [
        "no-user-config", "no-acpi", "no-hpet", "no-fd-bootchk", "win2k-hack", "mem-prealloc",
    ]
    /// Of those that are refused, the ones without a value.
    private static let refusedFlags = [
        "snapshot", "full-screen", "win-grab", "curses", "sdl", "gtk", "usb", "s", "semihosting", "singlestep",
        "old-param", "preconfig", "enable-fips", "xen-attach", "xen-domid-restrict", "virtfs_synth",
    ]

    /// What a refused option asks for that is not there; nil if there is no such option.
    private static func missing(_ name: String) -> String? {
        switch name {
        case "drive", "blockdev", "hda", "hdb", "hdc", "hdd", "cdrom", "fda", "fdb", "sd", "mtdblock", "pflash",
            "snapshot":
            return "no disks"
        case "netdev", "net", "nic": return "no network"
        case "tpmdev": return "no TPM"
        case "bios", "acpitable", "smbios", "fw_cfg", "dtb", "option-rom":
            return "no firmware: a kernel is entered directly"
        case "spice", "vnc", "g", "full-screen", "win-grab", "curses", "sdl", "gtk": return "no display"
        case "usb", "usbdevice", "bt": return "no USB"
        case "watchdog", "watchdog-action", "soundhw", "virtfs", "fsdev", "virtfs_synth", "iscsi": return "no PCI"
        case "gdb", "s": return "no debugger stub"
        case "loadvm": return "no states of a machine by name"
        case "icount", "semihosting", "semihosting-config", "singlestep", "tb-size", "plugin", "old-param":
            return "no emulated processor"
        case "readconfig", "writeconfig", "dump-vmstate", "preconfig", "set", "prom-env":
            return "no configuration files"
        case "chroot", "runas", "enable-fips": return "no change of user or root folder"
        case "xen-domid", "xen-attach", "xen-domid-restrict": return "no Xen"
        case "debugcon": return "no debug console"
        default: return nil
        }
    }

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

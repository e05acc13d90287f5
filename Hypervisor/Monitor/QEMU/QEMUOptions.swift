// The command line of vitrine-qemu: QEMU's words, as libvirt builds them, made into the options that vitrine-vmm has.

import GuestFolders
import KVM
import Layouts
import Machine
import Options
import Sandbox
import SystemCalls

/// What a command line in QEMU's words asks for.
public struct QEMUOptions: Sendable {
    /// The machine and its console; without meaning for `-machine none`.
    public internal(set) var run: RunOptions
    /// `-machine none`: there is no machine, only a monitor that answers what there could be.
    public internal(set) var isProbe = false
    /// Where monitors listen.
    public internal(set) var monitors: [Monitor] = []
    /// The file that gets the process id.
    public internal(set) var pidFile: String?
    /// Whether to go on in the background.
    public internal(set) var isDaemon = false
    /// Whether lines on standard error begin with the time.
    public internal(set) var hasTimestamp = false
    /// The descriptors that the process was started with and has no use for yet (`migrate-incoming` names one).
    var inheritedDescriptors: Set<Int32> = []
    /// The folder in which libvirt makes the files of a memory peek (`pmemsave`); nil: it is not known.
    public internal(set) var peekFolder: String?
    /// The machine's UUID as it was given.
    public internal(set) var uuid: String?
    /// The guest's name as it was given; nil: none was.
    public internal(set) var guestName: String?
    /// What was given and changes nothing.
    public internal(set) var ignored: [String] = []
    /// The character devices, by name: what is at their other ends.
    var chardevs: [QEMUChardev] = []
    /// The character device of the serial port.
    var serial: QEMUChardev?
    /// The name of the serial port's device.
    var serialDevice: String?
    /// The machine type.
    var machineType = QEMUMachineType.all[0]

    /// Where a monitor listens.
    public enum Monitor: Sendable, Equatable {
        /// At a path, which is made.
        case path(String)
        /// At a socket that listens already.
        case descriptor(Int32)
    }

    /// Parses the words of a command line. Files are looked at when the machine is made.
    public init(words: [String]) throws(MonitorError) {
        run = RunOptions(
            name: "vitrine-qemu", machine: MachineConfiguration(memory: 128 << 20, kernel: ""), console: .none)
        do throws(UsageError) {
            var reader = QEMUReader(try QEMUWord.split(words))
            try reader.read(into: &self)
        } catch {
            throw .usage(error.description)
        }
        if !isProbe, run.machine.kernel.isEmpty { run.machine.kernel = try RunOptions.image(of: run.machine.layout) }
    }
}

/// Reads a command line that is split already.
struct QEMUReader {
    private let given: [(name: String, word: QEMUWord, value: String)]
    private var sets: [Int: Int32] = [:]
    private var memory = QEMUMemory()
    private var commandLine = ""
    private var startsPaused = false
    private var isBare = false
    private var isGraphic = true
    private var serialOption: String?
    private var vcpus = 1

    init(_ given: [(name: String, word: QEMUWord, value: String)]) { self.given = given }

    mutating func read(into options: inout QEMUOptions) throws(UsageError) {
        // What others refer to comes first, wherever it stands.
        for (name, _, value) in given where name == "add-fd" { try readDescriptorSet(value) }
        for (name, _, value) in given where name == "chardev" {
            let chardev = try QEMUChardev(value, sets: sets)
            guard !options.chardevs.contains(where: { $0.id == chardev.id }) else {
                throw UsageError("-chardev \(chardev.id): there are two of that name")
            }
            options.chardevs.append(chardev)
        }
        for (name, word, value) in given {
            switch word {
            case .read: try read(name, value, into: &options)
            case .ignored(let takesValue): options.ignored.append("-\(name)\(takesValue ? " " + value : "")")
            case .refused(let takesValue, let why):
                throw UsageError("-\(name)\(takesValue ? " " + value : ""): \(why)")
            }
        }
        try finish(&options)
    }

    private mutating func finish(_ options: inout QEMUOptions) throws(UsageError) {
        if let serialOption {
            options.serial = try QEMUChardev.short("-serial", serialOption)
            if let chardev = options.serial { options.chardevs.append(chardev) }
        } else if options.serial == nil, !isGraphic, !isBare, !options.isProbe {
            options.serial = try QEMUChardev.short("-serial", "stdio")
        }
        options.run.console = options.serial?.console ?? .none
        if options.isDaemon, options.run.console == .stdio {
            throw UsageError("-daemonize and a console on standard input contradict each other")
        }
        try memory.finish(&options.run.machine)
        options.run.machine.vcpus = vcpus
        let words = commandLine.split(separator: " ")
        let named = words.last { $0.hasPrefix("layout=") }.map { String($0.dropFirst(7)) }
        let layout = options.machineType.layout ?? named ?? RunOptions.layouts[0]
        if let named, named != layout {
            throw UsageError(
                "-machine \(options.machineType.name) has the layout \(layout), -append asks for layout=\(named)")
        }
        guard RunOptions.layouts.contains(layout) else {
            let message = unknownName(layout, among: RunOptions.layouts, what: "layout")
            throw UsageError("-append: \(message); there are: \(RunOptions.layouts.joined(separator: ", "))")
        }
        options.run.machine.layout = layout
        options.run.machine.commandLine = words.filter { !$0.hasPrefix("layout=") }.joined(separator: " ")
        if startsPaused {
            guard options.run.machine.stopAt == nil else {
                throw UsageError("-S and -x-vitrine-stop-at contradict each other")
            }
            options.run.machine.stopAt = .entry
            options.run.staysPaused = true
        }
        options.run.keepsCrashed = options.run.keepsCrashed || options.run.staysAfterPowerOff
    }

    private mutating func read(
        _ name: String, _ text: String, into options: inout QEMUOptions
    ) throws(UsageError) {
        switch name {
        case "S": startsPaused = true
        case "daemonize": options.isDaemon = true
        case "no-shutdown": options.run.staysAfterPowerOff = true
        case "no-reboot": options.run.endsAtReset = true
        case "nodefaults": isBare = true
        case "nographic": isGraphic = false
        case "add-fd", "chardev", "enable-kvm", "version", "h", "help": break
        case "kernel": options.run.machine.kernel = text
        case "initrd": options.run.machine.initrd = text
        case "append": commandLine = text
        case "x-vitrine-program": options.run.machine.programs.append(RunOptions.program(text))
        case "x-vitrine-stop-at": options.run.machine.stopAt = try stage(text)
        case "pidfile": options.pidFile = text
        case "incoming":
            guard text == "defer" else {
                throw UsageError("-incoming \(text): a guest comes by migrate-incoming (-incoming defer)")
            }
            options.run.isIncoming = true
        case "uuid": options.uuid = text
        case "serial": serialOption = text
        case "m": try memory.read(text)
        case "mem-path": try memory.readPath(text)
        case "object": try readObject(text, into: &options)
        case "smp": try readProcessors(text)
        case "cpu": try readProcessorModel(text, into: &options)
        case "accel": try readAccelerator(text)
        case "machine", "M": try readMachine(text, into: &options)
        case "name": try readName(text, into: &options)
        case "device": try readDevice(text, into: &options)
        case "mon", "qmp": try readMonitor(name, text, into: &options)
        case "msg":
            var value = try QEMUValue("-msg", text, first: "timestamp")
            options.hasTimestamp = try value.flag("timestamp") ?? false
            _ = try value.flag("guest-name")
            try value.end()
        case "overcommit":
            var value = try QEMUValue("-overcommit", text, first: "mem-lock")
            try value.refuse("mem-lock", "guest memory is not locked; use huge pages, which are never swapped out")
            try value.refuse("cpu-pm", "a guest that waits gives its processor away")
            try value.end()
        case "numa":
            throw UsageError("-numa \(text): this machine has one node, which nobody has to ask for")
        case "action": try readAction(text, into: &options)
        case "sandbox":
            try readSandbox(text, into: &options)
        default: try readNone(name, text)
        }
    }

    /// Options of which only the value that asks for nothing is possible.
    private mutating func readNone(_ name: String, _ text: String) throws(UsageError) {
        let isNothing: Bool
        switch name {
        case "audiodev", "audio":
            var value = try QEMUValue("-\(name)", text, first: "driver")
            isNothing = value.take("driver") == "none"
        case "display", "vga", "parallel", "monitor": isNothing = text == "none" || text == "null"
        default: isNothing = false
        }
        guard isNothing else {
            throw UsageError("-\(name) \(text): this machine has none of that; only 'none' is possible")
        }
    }

    private func stage(_ text: String) throws(UsageError) -> Stage {
        for stage in Stage.allCases where stage.rawValue.lowercased() == text.lowercased() { return stage }
        throw UsageError(
            "-x-vitrine-stop-at \(text): stages are \(Stage.allCases.map(\.rawValue).joined(separator: ", "))")
    }

    private mutating func readDescriptorSet(_ text: String) throws(UsageError) {
        var value = try QEMUValue("-add-fd", text, first: "set")
        guard let descriptor = try value.number("fd", in: 3...1_048_576),
            let set = try value.number("set", in: 0...1_048_576)
        else { throw UsageError("-add-fd \(text): set= and fd= are needed") }
        _ = value.take("opaque")
        try value.end()
        sets[set] = Int32(descriptor)
    }

    private mutating func readProcessors(_ text: String) throws(UsageError) {
        var value = try QEMUValue("-smp", text, first: "cpus")
        let most = 65536
        let sockets = try value.number("sockets", in: 1...most)
        let dies = try value.number("dies", in: 1...most)
        let clusters = try value.number("clusters", in: 1...1)
        let cores = try value.number("cores", in: 1...most)
        let threads = try value.number("threads", in: 1...most)
        let product = [sockets, dies, clusters, cores, threads].reduce(1) {
            $0.multipliedReportingOverflow(by: $1 ?? 1).0
        }
        vcpus = try value.number("cpus", in: 1...most) ?? product
        guard (1...most).contains(vcpus) else { throw UsageError("-smp \(text): a number from 1 to \(most) is needed") }
        if let all = try value.number("maxcpus", in: 1...most), all != vcpus {
            throw UsageError("-smp \(text): vCPUs cannot be added later; maxcpus must be \(vcpus)")
        }
        try value.end()
    }

    private func readAccelerator(_ text: String) throws(UsageError) {
        var value = try QEMUValue("-accel", text, first: "accel")
        let names = (value.take("accel") ?? "").split(separator: ":")
        guard names.contains("kvm") else {
            throw UsageError("-accel \(text): guests run by KVM, none is emulated (<domain type='kvm'>)")
        }
        if let extra = value.rest.first { throw UsageError("-accel \(text): '\(extra)' is not known here") }
    }

    private func readProcessorModel(_ text: String, into options: inout QEMUOptions) throws(UsageError) {
        var value = try QEMUValue("-cpu", text, first: "model")
        let model = value.take("model") ?? ""
        guard model == "host" || model == "max" else {
            throw UsageError(
                "-cpu \(model): guests have the host's own processor; use <cpu mode='host-passthrough'/> or no <cpu>")
        }
        _ = try value.flag("migratable")
        if let extra = value.rest.first {
            throw UsageError("-cpu \(text): '\(extra)': features are neither added nor taken away")
        }
    }

    private func readMachine(_ text: String, into options: inout QEMUOptions) throws(UsageError) {
        var value = try QEMUValue("-machine", text, first: "type")
        let name = value.take("type") ?? QEMUMachineType.all[0].name
        if let accelerator = value.take("accel") { try readAccelerator(accelerator) }
        if name == "none" {
            options.isProbe = true
        } else if let type = QEMUMachineType.all.first(where: { $0.name == name }) {
            options.machineType = type
        } else {
            let names = QEMUMachineType.all.map(\.name)
            throw UsageError(
                "-machine: \(unknownName(name, among: names, what: "machine")); there are: \(names.joined(separator: ", "))"
            )
        }
        try value.refuse("usb", "this machine has no USB")
        try value.refuse("nvdimm", "this machine has no NVDIMM")
        try value.refuse("graphics", "this machine has no display")
        try value.refuse("smm", "this machine has no firmware that would use it")
        try value.refuse(
            "dump-guest-core", "guest memory is never part of a core of this process; see virsh dump --memory-only")
        if let chips = value.take("kernel_irqchip") ?? value.take("kernel-irqchip"), chips != "on" {
            throw UsageError("-machine kernel_irqchip=\(chips): the interrupt controllers are the kernel's (on)")
        }
        for key in ["pflash0", "pflash1", "firmware", "confidential-guest-support", "memory-encryption", "dtb"] {
            if let given = value.take(key) {
                throw UsageError("-machine \(key)=\(given): this machine has no such thing")
            }
        }
        // There is one memory; which backend it is made of is clear.
        _ = value.take("memory-backend")
        options.ignored += value.rest.map { "-machine \($0)" }
    }

    private func readName(_ text: String, into options: inout QEMUOptions) throws(UsageError) {
        var value = try QEMUValue("-name", text, first: "guest")
        options.guestName = value.take("guest")
        if let name = options.guestName { options.run.name = name }
        _ = try value.flag("debug-threads")
        _ = value.take("process")
        try value.end()
    }

    private func readAction(_ text: String, into options: inout QEMUOptions) throws(UsageError) {
        var value = try QEMUValue("-action", text, first: "panic")
        switch value.take("reboot") {
        case nil, "reset": break
        case "shutdown": options.run.endsAtReset = true
        case let action?: throw UsageError("-action reboot=\(action): reset and shutdown are possible")
        }
        switch value.take("shutdown") {
        case nil, "poweroff": break
        case "pause": options.run.staysAfterPowerOff = true
        case let action?: throw UsageError("-action shutdown=\(action): poweroff and pause are possible")
        }
        switch value.take("panic") {
        case nil, "shutdown": break
        case "pause": options.run.keepsCrashed = true
        case let action?: throw UsageError("-action panic=\(action): shutdown and pause are possible")
        }
        _ = value.take("watchdog")
        try value.end()
    }

    private mutating func readObject(_ text: String, into options: inout QEMUOptions) throws(UsageError) {
        var value = try QEMUValue("-object", text, first: "qom-type")
        let type = try value.need("qom-type")
        let id = try value.need("id")
        switch type {
        case "secret":
            // libvirt makes the files of a memory peek beside a domain's secret (.../lib/libvirt/qemu/domain-1-name).
            options.peekFolder = value.take("file").map(Reach.folder)
            options.ignored.append("-object secret,id=\(id): nothing here is encrypted")
        case "memory-backend-ram", "memory-backend-memfd", "memory-backend-file":
            try memory.readBackend(type, &value)
        default: throw UsageError("-object \(type): there is no such object here")
        }
    }

    private mutating func readSandbox(_ text: String, into options: inout QEMUOptions) throws(UsageError) {
        var value = try QEMUValue("-sandbox", text, first: "enable")
        let word = try value.need("enable")
        guard let mode = SandboxMode(rawValue: word) else {
            throw UsageError("-sandbox \(text): on, off and log are possible")
        }
        options.run.sandbox = mode
        // What QEMU can allow besides is never allowed here; who forbids it asks for nothing more.
        for key in ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"] {
            guard let word = value.take(key), mode != .off, word != "deny" else { continue }
            options.ignored.append("-sandbox \(key)=\(word): it stays forbidden")
        }
        try value.end()
    }

    private mutating func readDevice(_ text: String, into options: inout QEMUOptions) throws(UsageError) {
        var value = try QEMUValue("-device", text, first: "driver")
        let driver = try value.need("driver")
        switch driver {
        case "isa-serial":
            let id = try value.need("chardev")
            options.serialDevice = value.take("id")
            guard try value.number("index", in: 0...3) ?? 0 == 0 else {
                throw UsageError(
                    "-device \(text): there is one serial port to connect, index 0; the second is the kernel's monitor")
            }
            try value.end()
            guard options.serial == nil else {
                throw UsageError("-device \(text): the serial port is connected already")
            }
            guard let chardev = options.chardevs.first(where: { $0.id == id }) else {
                throw UsageError("-device \(text): there is no -chardev \(id)")
            }
            options.serial = chardev
        default:
            throw UsageError("-device \(driver): \(QEMUReader.why(driver))")
        }
    }

    /// What a device that is not there would have needed.
    private static func why(_ driver: String) -> String {
        let missing: [(String, String)] = [
            ("net", "network cards"), ("e1000", "network cards"), ("rtl8139", "network cards"), ("blk", "disks"),
            ("scsi", "disks"), ("ide", "disks"), ("ahci", "disks"), ("nvme", "disks"), ("cd", "disks"), ("hd", "disks"),
            ("pci", "PCI"), ("ioh3420", "PCI"), ("vga", "display"), ("VGA", "display"), ("gpu", "display"),
            ("qxl", "display"), ("usb", "USB"), ("tpm", "TPM"),
            ("balloon", "balloon: memory that is not touched costs nothing"),
            ("rng", "random number device"), ("vfio", "devices of the host"),
        ]
        let found = missing.first { driver.contains($0.0) }?.1
        return found.map { "this machine has no \($0)" } ?? "there is no such device here; there are: isa-serial"
    }

    private func readMonitor(_ option: String, _ text: String, into options: inout QEMUOptions) throws(UsageError) {
        let end: QEMUChardev.End?
        if option == "qmp" {
            end = try QEMUChardev.short("-qmp", text)?.end
        } else {
            var value = try QEMUValue("-mon", text, first: "chardev")
            let id = try value.need("chardev")
            let mode = value.take("mode") ?? "readline"
            guard mode == "control" else {
                throw UsageError("-mon mode=\(mode): monitors speak QMP (mode=control); see human-monitor-command")
            }
            _ = value.take("id")
            _ = try value.flag("pretty")
            try value.end()
            guard let chardev = options.chardevs.first(where: { $0.id == id }) else {
                throw UsageError("-mon \(text): there is no -chardev \(id)")
            }
            end = chardev.end
        }
        switch end {
        case nil: break
        case .listen(let path): options.monitors.append(.path(path))
        case .listening(let number): options.monitors.append(.descriptor(number))
        default: throw UsageError("-\(option) \(text): a monitor is a UNIX socket that listens (server=on)")
        }
    }
}

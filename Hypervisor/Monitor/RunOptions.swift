// The options of `vitrine run`, parsed in one place for `vitrine` and `vitrine-vmm`.

import Addresses
import Glibc
import GuestFolders
import GuestImages
import Layouts
import Machine
import Options
import Sandbox
import SavedGuests
import SystemCalls

/// Where the guest's console goes.
public enum ConsoleChoice: Equatable, Sendable {
    /// Standard input and output.
    case stdio
    /// A pseudo-terminal, whose path is told.
    case pty
    /// Output into a file, no input.
    case file(String)
    /// Output behind what a file holds, no input.
    case append(String)
    /// Output to a descriptor that is open, no input.
    case descriptor(Int32)
    /// To who connects to a UNIX socket at a path, which is made.
    case listen(String)
    /// To who connects to a UNIX socket that listens already.
    case listening(Int32)
    /// To who listens at a UNIX socket.
    case connect(String)
    /// Nowhere; the last 64 KiB are kept for `vitrine console`.
    case none
}

/// What `vitrine run` was asked for.
public struct RunOptions: Sendable {
    /// The guest's name.
    public var name: String
    /// Whether the name was given; it is made up otherwise.
    public var wasNamed: Bool
    /// What the machine is made of.
    public var machine: MachineConfiguration
    /// Where the console goes.
    public var console: ConsoleChoice
    /// Whether the guest runs on its own, without a terminal.
    public var isDetached: Bool
    /// With `isDetached`: wait up to that many seconds for stage ready (or the one of `--stop-at`).
    public var waitReady: Double?
    /// `waitReady` as it was given.
    public var waitText: String
    /// Whether a guest that panicked or crashed stays for inspection.
    public var keepsCrashed: Bool
    /// A saved guest to restore; what the machine is made of was read from it.
    public var restoredFile: String?
    /// Whether the machine is to wait for a guest that `migrate-incoming` brings.
    public var isIncoming = false
    /// Whether a restored guest is not to run, even if it ran when it was saved.
    public var staysPaused = false
    /// Where a core goes when the guest's kernel panics.
    public var panicCore: String?
    /// How the process is confined before the guest's first instruction.
    public var sandbox = SandboxMode.on
    /// A descriptor that gets the result of the start: `ok`, or the exit status, a blank and a message.
    public var readyDescriptor: Int32?

    /// Where GDB is served; by a process of its own (`vitrine gdb --listen`).
    public var gdb: ListenAddress?
    /// Whether a guest that powered off stays as it is, to be reset or ended from outside (QEMU's `-no-shutdown`).
    public var staysAfterPowerOff = false
    /// Whether a guest that asks for a reset is at its end (QEMU's `-no-reboot`).
    public var endsAtReset = false

    /// The name of the boot stage at which the guest is to be held, if any.
    public var stopStage: String? { machine.stopAt?.rawValue }

    /// The layouts there are, the default first.
    public static let layouts = KernelPlan.Name.allCases.map { "\(KernelPlan.of($0).text)" }

    /// The options, for help and parsing.
    public static let descriptions: [OptionDescription] = [
        OptionDescription("name", "NAME", "the guest's name; guest-PID if not given"),
        OptionDescription("layout", "NAME", "the memory layout: \(layouts.joined(separator: ", "))"),
        OptionDescription("kernel", "FILE", "a kernel of your own instead of the layout's"),
        OptionDescription("initrd", "FILE", "an initial RAM disk, handed to the kernel as module 0"),
        OptionDescription("append", "TEXT", "added to the kernel's command line (ring=3, args=...)"),
        OptionDescription("memory", "SIZE", "RAM, 256M if not given; what the guest does not touch costs nothing"),
        OptionDescription("cpus", "N", "vCPUs, 1 if not given"),
        OptionDescription(
            "program", "FILE", "a program to load, or the name of a built one (hello); may be repeated", repeated: true),
        OptionDescription("huge-pages", "2M|1G", "back RAM by huge pages of this size"),
        OptionDescription(
            "console", "stdio|pty|file:PATH|none", "where COM1 goes; stdio, or none with --detach"),
        OptionDescription("detach", nil, "let the guest run on its own; returns when it runs"),
        OptionDescription("wait-ready", "SECONDS", "with --detach: wait for stage ready (or that of --stop-at)"),
        OptionDescription("stop-at", "entry|A|B|C|ready", "pause at a boot stage"),
        OptionDescription("keep", nil, "in the foreground: keep a guest that crashed, for inspection"),
        OptionDescription(
            "gdb", "unix:PATH|tcp:PORT", "serve GDB there while the guest runs; with --stop-at entry it waits for one"),
        OptionDescription("core-on-panic", "FILE", "write an ELF core when the guest panics or crashes"),
        OptionDescription("seed", "N", "what random gaps follow from (layout linux); as seed=N in --append"),
        sandboxDescription,
        OptionDescription("restore", "FILE", "internal: the saved guest to restore (vitrine restore)", hidden: true),
        OptionDescription("paused", nil, "internal: what is restored does not run (vitrine restore)", hidden: true),
        OptionDescription("ready-fd", "N", "internal: where the result of the start goes", hidden: true),
    ]

    /// The option of `run` and `restore`.
    public static let sandboxDescription = OptionDescription(
        "sandbox", "on|off|log", "confine the guest's process (vitrine sandbox); on if not given; log: only log")

    /// Options for a machine that someone else has described.
    init(name: String, machine: MachineConfiguration, console: ConsoleChoice) {
        self.name = name
        self.machine = machine
        self.console = console
        wasNamed = true
        isDetached = false
        waitText = ""
        keepsCrashed = false
    }

    /// Parses the words of a command line.
    public init(words: [String]) throws(MonitorError) {
        var arguments: Arguments
        do throws(UsageError) {
            arguments = try Arguments(words, known: RunOptions.descriptions)
        } catch {
            throw .usage(error.description)
        }
        try self.init(&arguments)
    }

    /// The descriptor of `--ready-fd N`, found even if the rest of the line is wrong.
    public static func readyDescriptor(in words: [String]) -> Int32? {
        guard let index = words.firstIndex(of: "--ready-fd"), index + 1 < words.count else { return nil }
        return Int32(words[index + 1])
    }

    /// Reads and checks the options; files are looked at when the machine is made.
    public init(_ arguments: inout Arguments) throws(MonitorError) {
        do throws(UsageError) {
            try arguments.end()
            wasNamed = arguments.flag("name")
            name = arguments.value("name") ?? "guest-\(getpid())"
            restoredFile = arguments.value("restore")
            staysPaused = arguments.flag("paused")
            panicCore = arguments.value("core-on-panic").map(Files.absolute)
            let layout = arguments.value("layout") ?? RunOptions.layouts[0]
            guard RunOptions.layouts.contains(layout) else {
                let message = unknownName(layout, among: RunOptions.layouts, what: "layout")
                throw UsageError("\(message); there are: \(RunOptions.layouts.joined(separator: ", "))")
            }
            machine = MachineConfiguration(layout: layout, kernel: "")
            if let text = arguments.value("memory") {
                guard let memory = parseSize(text) else {
                    throw UsageError("--memory \(text): a size is needed, such as 256M or 6G")
                }
                machine.memory = memory
            }
            machine.vcpus = try arguments.number("cpus", in: 1...65536) ?? 1
            machine.programs = arguments.values("program").map(RunOptions.program)
            machine.initrd = arguments.value("initrd")
            machine.commandLine = arguments.value("append") ?? ""
            if let seed = try arguments.number("seed", in: 0...Int.max) {
                machine.commandLine = ["seed=\(seed)", machine.commandLine].filter { !$0.isEmpty }.joined(
                    separator: " ")
            }
            if let text = arguments.value("sandbox") {
                guard let mode = SandboxMode(rawValue: text) else {
                    throw UsageError("--sandbox \(text): on, off and log are possible")
                }
                sandbox = mode
            }
            machine.hugePages = try RunOptions.hugePages(arguments)
            machine.stopAt = try RunOptions.stage(arguments)
            isDetached = arguments.flag("detach")
            keepsCrashed = isDetached || arguments.flag("keep")
            console = try RunOptions.console(arguments, isDetached: isDetached)
            waitReady = try RunOptions.seconds("wait-ready", arguments)
            waitText = arguments.value("wait-ready") ?? ""
            if let text = arguments.value("gdb") {
                guard let address = ListenAddress(parsing: text) else {
                    throw UsageError(
                        "--gdb \(text): an address is unix:PATH or tcp:PORT (tcp:127.0.0.1:PORT; of this machine only)")
                }
                gdb = address
            }
            if waitReady != nil && !isDetached { throw UsageError("--wait-ready needs --detach") }
            readyDescriptor = try arguments.number("ready-fd", in: 0...65535).map { Int32($0) }
        } catch {
            throw .usage(error.description)
        }
        if let path = restoredFile { try takeMachine(of: path) }
        do throws(GuestFolderError) { try RuntimeFolder.checkName(name) } catch { throw .folder(error) }
        if restoredFile != nil { return }
        if let kernel = arguments.value("kernel") {
            machine.kernel = kernel
        } else {
            machine.kernel = try RunOptions.image(of: machine.layout)
        }
    }

    /// The path of a layout's kernel.
    static func image(of layout: String) throws(MonitorError) -> String {
        let image = "vitrine-\(layout).elf"
        guard let path = GuestImages.path(of: image) else {
            throw .unable(
                "the guest image \(image) is in none of \(GuestImages.folders().joined(separator: ", ")); "
                    + "build it (swift build), or name its folder in VITRINE_IMAGES")
        }
        return path
    }

    /// Takes over what a saved guest says of its machine, and its name if none was given.
    private mutating func takeMachine(of path: String) throws(MonitorError) {
        do throws(SavedGuestError) {
            let (_, description) = try openSavedGuest(path)
            machine = try MachineConfiguration(description)
            if !wasNamed { name = description.name }
            wasNamed = true
        } catch {
            throw .saved(error)
        }
    }

    /// The file of a program: the path as it is, or one of the programs built with Vitrine if no such file is there.
    static func program(_ text: String) -> String {
        guard !text.contains("/"), (try? Files.status(of: text)) == nil else { return text }
        return GuestImages.path(of: "programs/\(text).elf") ?? text
    }

    /// The value of an option as a number of seconds, 0 to a million, or nil if it was not given.
    public static func seconds(_ name: String, _ arguments: Arguments) throws(UsageError) -> Double? {
        guard let text = arguments.value(name) else { return nil }
        guard let seconds = Double(text), seconds >= 0, seconds <= 1_000_000 else {
            throw UsageError("--\(name) \(text): a number of seconds is needed")
        }
        return seconds
    }

    private static func hugePages(_ arguments: Arguments) throws(UsageError) -> HugePageSize? {
        guard let text = arguments.value("huge-pages") else { return nil }
        guard let size = parseSize(text).flatMap({ HugePageSize(rawValue: $0) }) else {
            throw UsageError("--huge-pages \(text): 2M and 1G are possible")
        }
        return size
    }

    private static func stage(_ arguments: Arguments) throws(UsageError) -> Stage? {
        guard let text = arguments.value("stop-at") else { return nil }
        for stage in Stage.allCases where stage.rawValue.lowercased() == text.lowercased() { return stage }
        throw UsageError("--stop-at \(text): stages are \(Stage.allCases.map(\.rawValue).joined(separator: ", "))")
    }

    private static func console(_ arguments: Arguments, isDetached: Bool) throws(UsageError) -> ConsoleChoice {
        switch arguments.value("console") {
        case nil: return isDetached ? .none : .stdio
        case "stdio":
            guard !isDetached else {
                throw UsageError("--console stdio and --detach contradict each other (see vitrine console)")
            }
            return .stdio
        case "pty": return .pty
        case "none": return .none
        case let text?:
            guard text.hasPrefix("file:"), text.utf8.count > 5 else {
                throw UsageError("--console \(text): stdio, pty, file:PATH and none are possible")
            }
            return .file(String(text.dropFirst(5)))
        }
    }
}

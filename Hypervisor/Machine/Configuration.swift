// What a machine is made of.

/// The size of the host pages behind guest memory.
public enum HugePageSize: UInt64, Sendable {
    /// 2 MiB.
    case size2M = 0x20_0000
    /// 1 GiB.
    case size1G = 0x4000_0000
}

/// A moment of the guest's boot. A to ready are reported by the guest on port 0x700.
public enum Stage: String, CaseIterable, Sendable, Comparable {
    /// Before the first instruction.
    case entry
    /// The boot tables.
    case A
    /// The temporary tables.
    case B
    /// The tables of the layout.
    case C
    /// The kernel's monitor answers.
    case ready

    /// In the order of boot.
    public static func < (a: Stage, b: Stage) -> Bool { a.order < b.order }

    var order: Int {
        switch self {
        case .entry: return 0
        case .A: return 1
        case .B: return 2
        case .C: return 3
        case .ready: return 4
        }
    }
}

/// What a machine is made of. Nothing is checked before `Machine.init`.
public struct MachineConfiguration: Sendable {
    /// The layout's name, as the guest is told on its command line: `osv`.
    public var layout: String
    /// RAM in bytes, a multiple of 4 KiB (2 MiB or 1 GiB with huge pages).
    public var memory: UInt64
    /// The number of vCPUs, at least 1.
    public var vcpus: Int
    /// The path of the kernel's ELF file.
    public var kernel: String
    /// The path of an initrd, which then is module 0.
    public var initrd: String?
    /// The paths of programs, handed to the kernel as modules in this order.
    public var programs: [String]
    /// What is appended to `layout=NAME cpus=N` on the kernel's command line.
    public var commandLine: String
    /// Take guest memory from hugetlbfs pages of this size.
    public var hugePages: HugePageSize?
    /// Pause when the guest reports this stage.
    public var stopAt: Stage?

    /// A configuration with the usual defaults.
    public init(
        layout: String = "osv", memory: UInt64 = 256 << 20, vcpus: Int = 1, kernel: String, initrd: String? = nil,
        programs: [String] = [], commandLine: String = "", hugePages: HugePageSize? = nil, stopAt: Stage? = nil
    ) {
        self.layout = layout
        self.memory = memory
        self.vcpus = vcpus
        self.kernel = kernel
        self.initrd = initrd
        self.programs = programs
        self.commandLine = commandLine
        self.hugePages = hugePages
        self.stopAt = stopAt
    }
}
